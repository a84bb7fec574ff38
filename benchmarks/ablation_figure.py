"""Figure 6 in miniature: a front object whose box makes a network draw what lies behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.crops import rle_to_crop
from sameo_model.evaluation.instance_scores import OCCLUDED_ABOVE
from sameo_model.evaluation.mask_metrics import PromptedImage
from sameo_model.evaluation.torch_predictor import TorchPredictor
from sameo_model.runtime.overlay import draw_overlay
from sameo_model.runtime.types import FloatArray, MaskCrop, Uint8Array

PANEL_HEIGHT = 360
MARGIN = 0.6  # of the box's size around it
MIN_IOU = 0.75  # of the second network's mask in the picture, which is to be right


@dataclass(frozen=True)
class FrontObject:
    """An unoccluded object that hides part of another one.

    Attributes:
        image: the image that shows it.
        box_xyxy: float32 (4,), its tight box, pixels.
        crop: its true mask.
        mask: bool (H, W), the same.
        behind: bool (H, W), what is seen of the objects that it hides in part.
    """

    image: AmodalImage
    box_xyxy: FloatArray
    crop: MaskCrop
    mask: NDArray[np.bool_]
    behind: NDArray[np.bool_]

    def over_prediction(self, predicted: MaskCrop) -> float:
        """Return the area drawn on the objects behind, as a share of the object's own."""
        drawn = predicted.to_image(self.image.image_hw)
        return float((drawn & self.behind).sum() / self.mask.sum())

    def iou(self, predicted: MaskCrop) -> float:
        """Return the IoU of a prediction."""
        drawn = predicted.to_image(self.image.image_hw)
        return float((drawn & self.mask).sum() / (drawn | self.mask).sum())


def measure_over_prediction(images: Sequence[AmodalImage], predictor: TorchPredictor) -> float:
    """Return the mean over-prediction over all front objects; NaN if there are none."""
    shares = [
        item.over_prediction(crop)
        for items, crops in _predict(images, predictor)
        for item, crop in zip(items, crops, strict=True)
    ]
    return float(np.mean(shares)) if shares else float("nan")


def draw_over_prediction(
    images: Sequence[AmodalImage], over_predicting: TorchPredictor, balanced: TorchPredictor
) -> Uint8Array:
    """Draw the front object behind which the first network draws most and the second is right.

    Returns:
        uint8 (PANEL_HEIGHT, W, 3), RGB: truth, first and second network side by side.

    Raises:
        ValueError: If no image shows a front object.
    """
    best: tuple[tuple[bool, float], FrontObject, list[MaskCrop]] | None = None
    pairs = zip(_predict(images, over_predicting), _predict(images, balanced), strict=True)
    for (items, first), (_, second) in pairs:
        for item, wide, right in zip(items, first, second, strict=True):
            gain = item.over_prediction(wide) - item.over_prediction(right)
            merit = (item.iou(right) >= MIN_IOU, gain)
            if best is None or merit > best[0]:
                best = merit, item, [wide, right]
    if best is None:
        raise ValueError("the images must show an object in front of another one, got none")
    _, item, crops = best
    pixels, box_xyxy = item.image.load_rgb(), item.box_xyxy
    panels = [
        _panel(draw_overlay(pixels, [crop], None, box_xyxy[None], [""]), box_xyxy)
        for crop in (item.crop, *crops)
    ]
    return np.concatenate(panels, axis=1)


def _predict(
    images: Sequence[AmodalImage], predictor: TorchPredictor
) -> Iterator[tuple[list[FrontObject], list[MaskCrop]]]:
    for image in images:
        items = find_front_objects(image)
        if items:
            boxes = np.stack([item.box_xyxy for item in items])
            embedding = predictor.encode(image.load_rgb())
            yield items, predictor.decode(embedding, boxes, visible=False).amodal_masks


def find_front_objects(image: AmodalImage) -> list[FrontObject]:
    """Return the unoccluded objects of an image that hide part of another one."""
    prompted = PromptedImage.build(image, "visible", 0.0, 0)
    amodal = [item.amodal_mask() for item in prompted.instances]
    found = []
    for row, instance in enumerate(prompted.instances):
        rate, rle = instance.occlusion_rate, instance.amodal_rle
        if rle is None or rate is None or rate > OCCLUDED_ABOVE:
            continue
        behind = np.zeros(image.image_hw, bool)
        for other, item in enumerate(prompted.instances):
            if other != row and (amodal[other] & amodal[row]).any():
                behind |= item.visible_mask() & ~amodal[row]
        if behind.any():
            box_xyxy, crop = prompted.boxes_xyxy[row], rle_to_crop(rle)
            found.append(FrontObject(image, box_xyxy, crop, amodal[row], behind))
    return found


def _panel(picture: Uint8Array, box_xyxy: FloatArray) -> Uint8Array:
    margin = MARGIN * (box_xyxy[2:] - box_xyxy[:2])
    x1, y1 = np.maximum(box_xyxy[:2] - margin, 0).astype(int)
    x2, y2 = np.ceil(box_xyxy[2:] + margin).astype(int)
    window = np.ascontiguousarray(picture[y1:y2, x1:x2])
    width = max(1, round(window.shape[1] * PANEL_HEIGHT / window.shape[0]))
    return np.asarray(cv2.resize(window, (width, PANEL_HEIGHT)), np.uint8)
