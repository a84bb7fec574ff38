"""Choose the boxes for the decoder, and combine its masks with the detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sameo_model.runtime import Prediction
from sameo_model.runtime.boxes import BoxFault, check_boxes
from sameo_model.runtime.scores import PERCENT_RULE
from sameo_model.runtime.types import ImageHW
from sameo_ros.core.answer import Answer, DetectedBoxes
from sameo_ros.core.occlusion import find_occluders
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters


@dataclass(frozen=True, eq=False)
class ChosenBoxes:
    """The K boxes that the decoder gets."""

    indices: list[int]  # K positions in the detections, ascending
    boxes_xyxy: npt.NDArray[np.float32]  # float32 (K, 4), clipped to the image, pixels
    # One sentence for each box that was rejected, its score's among them. A box below
    # `min_detection_score`, or of a class that is not asked for, is left out on request and makes
    # no sentence.
    complaints: list[str]


def choose_boxes(
    detections: DetectedBoxes, image_hw: ImageHW, parameters: SameoParameters
) -> ChosenBoxes:
    """Choose the boxes that can be used, by score where there are more than `max_boxes`.

    Args:
        detections: Boxes in pixels of the image.
        image_hw: Height and width of the image, pixels.
        parameters: `min_detection_score` and `max_boxes` count.
    """
    checked = check_boxes(detections.boxes_xyxy, image_hw)
    complaints = [
        f"box {i} of {len(detections)} is left out: {PERCENT_RULE}"
        for i in np.flatnonzero(np.isnan(detections.scores))
    ]
    is_wanted = detections.scores >= np.float32(parameters.min_detection_score)
    if detections.is_wanted is not None:
        is_wanted &= detections.is_wanted
    wanted = np.flatnonzero(is_wanted)
    complaints += [
        f"box {i} of {len(detections)} is left out: it {BoxFault(checked.faults[i]).reason}"
        for i in wanted
        if not checked.usable[i]
    ]
    usable = wanted[checked.usable[wanted]]
    by_score = usable[np.argsort(-detections.scores[usable], kind="stable")]
    complaints += [
        f"box {i} of {len(detections)} is left out: max_boxes is {parameters.max_boxes}"
        for i in by_score[parameters.max_boxes :]
    ]
    indices = np.sort(by_score[: parameters.max_boxes])
    return ChosenBoxes([int(i) for i in indices], checked.boxes_xyxy[indices], complaints)


def build_answer(
    detections: DetectedBoxes,
    indices: list[int],
    prediction: Prediction,
    image_hw: ImageHW,
    depth: SceneDepth | None = None,
) -> Answer:
    """Join masks with the detections that they belong to and find out what hides what.

    Args:
        detections: All detections of the image.
        indices: K positions in the detections, in the order of the prediction's rows.
        prediction: Masks of the K boxes.
        image_hw: Height and width of the image, pixels.
        depth: Depth of the image, where there is any; it rules out some occluders.
    """
    depth_m = None if depth is None else depth.depth_m
    occluders = find_occluders(prediction.amodal_masks, prediction.visible_masks, depth_m)
    occluded_by = [[indices[j] for j in rows] for rows in occluders]
    return Answer(image_hw, detections, indices, prediction, occluded_by, depth)
