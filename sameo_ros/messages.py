"""Boxes out of vision_msgs/Detection2DArray, masks into sameo_ros/AmodalMaskArray.

Messages are duck-typed, and the constructors of those to fill are handed in: the node hands in the
generated classes, offline tools their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.boxes import BoxPrompt
from sameo_model.runtime.types import ImageHW, MaskCrop, Prediction
from sameo_ros.conversions import Uint8Array, fill_image
from sameo_ros.scene_depth import SceneDepth


@dataclass(frozen=True, eq=False)
class DetectedBoxes:
    """What the node takes from a Detection2DArray of N detections, in their order.

    Attributes:
        boxes_xyxy: float32 (N, 4), x1, y1, x2, y2, pixels of the image; as the detector sent them,
            in any range and maybe not finite.
        class_ids: N classes of the best hypotheses, "" without any.
        scores: float32 (N,), scores of the best hypotheses, clipped to [0, 1]; 1 without any, 0
            for NaN.
        detection_ids: N ids that the detector gave, "" without.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    class_ids: list[str]
    scores: npt.NDArray[np.float32]
    detection_ids: list[str]

    def __len__(self) -> int:
        """Return N."""
        return len(self.class_ids)


@dataclass(frozen=True, eq=False)
class Answer:
    """Masks for the K usable boxes of one image, rows in the order of the detections.

    Attributes:
        image_hw: Height and width of the image, pixels.
        detections: All N detections that were asked for.
        indices: K positions in `detections`, ascending.
        prediction: Masks and scores of the K boxes.
        occluded_by: For each of the K boxes the positions in `detections` of what hides it.
        depth: Depth of the image, where there is any.
    """

    image_hw: ImageHW
    detections: DetectedBoxes
    indices: list[int]
    prediction: Prediction
    occluded_by: list[list[int]]
    depth: SceneDepth | None = None


@dataclass(frozen=True)
class MaskMessageTypes:
    """Constructors, without arguments, of the messages to fill."""

    mask_array: Callable[[], Any]
    mask: Callable[[], Any]
    crop: Callable[[], Any]


@dataclass(frozen=True)
class DetectionMessageTypes:
    """Constructors, without arguments, of the messages to fill."""

    detection: Callable[[], Any]
    result: Callable[[], Any]


def detections_to_boxes(message: Any) -> DetectedBoxes:
    """Take boxes, classes, scores and ids from a vision_msgs/Detection2DArray.

    A rotated box becomes its axis-aligned hull; one whose angle is not finite becomes NaN. The
    hypothesis with the highest score counts.

    Args:
        message: A vision_msgs/Detection2DArray; centres and sizes in pixels, theta in radians.
    """
    detections = message.detections
    hypotheses = [_best_hypothesis(detection.results) for detection in detections]
    boxes = [_box_to_xyxy(detection.bbox) for detection in detections]
    return DetectedBoxes(
        boxes_xyxy=_to_float32(boxes).reshape(-1, 4),
        class_ids=[class_id for class_id, _ in hypotheses],
        scores=_to_float32([score for _, score in hypotheses]),
        detection_ids=[str(detection.id) for detection in detections],
    )


def fill_detections(
    message: Any, types: DetectionMessageTypes, prompts: Sequence[BoxPrompt], name: str, header: Any
) -> None:
    """Fill a vision_msgs/Detection2DArray.

    Args:
        message: The vision_msgs/Detection2DArray to fill.
        types: Constructors of the messages inside.
        prompts: The boxes.
        name: Beginning of the detections' ids: the i-th is `<name>#<i>`.
        header: std_msgs/Header of the image; shared, not copied.
    """
    message.header = header
    for i, prompt in enumerate(prompts):
        x1, y1, x2, y2 = prompt.box_xyxy
        detection = types.detection()
        detection.header = header
        detection.id = f"{name}#{i}"
        detection.bbox.center.position.x = (x1 + x2) / 2
        detection.bbox.center.position.y = (y1 + y2) / 2
        detection.bbox.size_x, detection.bbox.size_y = x2 - x1, y2 - y1
        result = types.result()
        result.hypothesis.class_id, result.hypothesis.score = prompt.class_id, prompt.score
        detection.results.append(result)
        message.detections.append(detection)


def fill_mask_array(message: Any, types: MaskMessageTypes, answer: Answer, header: Any) -> None:
    """Fill a sameo_ros/AmodalMaskArray but for its `model`.

    Args:
        message: The sameo_ros/AmodalMaskArray to fill.
        types: Constructors of the messages inside.
        answer: What to say.
        header: std_msgs/Header of the image; shared, not copied.
    """
    prediction, detections = answer.prediction, answer.detections
    visible_masks = prediction.visible_masks
    message.header = header
    message.image_height, message.image_width = answer.image_hw
    masks = []
    for row, index in enumerate(answer.indices):
        mask = types.mask()
        mask.detection_index = index
        mask.detection_id = detections.detection_ids[index]
        mask.class_id = detections.class_ids[index]
        mask.detection_score = float(detections.scores[index])
        mask.predicted_iou = float(prediction.predicted_iou[row])
        mask.score = mask.detection_score * mask.predicted_iou
        mask.occlusion_ratio = float(prediction.occlusion_ratio[row])
        mask.occluded_by = answer.occluded_by[row]
        mask.amodal = _to_crop(types, prediction.amodal_masks[row], header)
        visible = MaskCrop.empty() if visible_masks is None else visible_masks[row]
        mask.visible = _to_crop(types, visible, header)
        masks.append(mask)
    message.masks = masks


def crop_to_mask(message: Any) -> MaskCrop:
    """Read a sameo_ros/MaskCrop.

    Args:
        message: A sameo_ros/MaskCrop: mono8, 255 on the mask and 0 beside it.
    """
    image = message.image
    pixels: Uint8Array = np.frombuffer(memoryview(image.data), dtype=np.uint8)
    mask = pixels.reshape(image.height, image.step)[:, : image.width] > 0
    return MaskCrop(int(message.x), int(message.y), mask)


def _to_crop(types: MaskMessageTypes, crop: MaskCrop, header: Any) -> Any:
    message = types.crop()
    message.x, message.y = crop.x, crop.y
    pixels = crop.mask.view(np.uint8) * np.uint8(255)
    fill_image(message.image, pixels, "mono8", header)
    return message


def _best_hypothesis(results: Sequence[Any]) -> tuple[str, float]:
    hypotheses = [result.hypothesis for result in results]
    if not hypotheses:
        return "", 1.0
    best = max(hypotheses, key=_score)
    return str(best.class_id), _score(best)


def _score(hypothesis: Any) -> float:
    score = float(hypothesis.score)
    return 0.0 if math.isnan(score) else min(max(score, 0.0), 1.0)


def _box_to_xyxy(bbox: Any) -> tuple[float, float, float, float]:
    x, y, theta = bbox.center.position.x, bbox.center.position.y, bbox.center.theta
    half_w, half_h = bbox.size_x / 2, bbox.size_y / 2
    if not math.isfinite(theta):
        x = math.nan
    elif theta != 0 and half_w > 0 and half_h > 0:  # else turning would hide a wrong size
        cos, sin = abs(math.cos(theta)), abs(math.sin(theta))
        half_w, half_h = half_w * cos + half_h * sin, half_w * sin + half_h * cos
    return x - half_w, y - half_h, x + half_w, y + half_h


def _to_float32(values: Sequence[Any]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float64).astype(np.float32)
