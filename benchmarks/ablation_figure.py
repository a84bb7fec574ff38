"""Figure 6 in miniature: a front object whose box makes a network draw what lies behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.crops import rle_to_crop
from sameo_model.evaluation.instance_scores import OCCLUDED_ABOVE
from sameo_model.evaluation.mask_metrics import PromptedImage
from sameo_model.evaluation.torch_predictor import TorchPredictor
from sameo_model.runtime.overlay import draw_overlay
from sameo_model.runtime.types import FloatArray, MaskCrop, Uint8Array

PANEL_HEIGHT = 360
MARGIN = 0.6  # of the box's size around it


def draw_over_prediction(
    images: Sequence[AmodalImage], over_predicting: TorchPredictor, balanced: TorchPredictor
) -> Uint8Array:
    """Find the unoccluded object that the first network draws most beyond and the second least.

    Returns:
        uint8 (PANEL_HEIGHT, W, 3), RGB: truth, first and second network side by side.
    """
    worst = max(
        (
            candidate
            for image in images
            for candidate in _candidates(image, over_predicting, balanced)
        ),
        key=lambda candidate: candidate[0],
    )
    _, image, box_xyxy, crops = worst
    pixels = image.load_rgb()
    panels = [
        _panel(draw_overlay(pixels, [crop], None, box_xyxy[None], [""]), box_xyxy) for crop in crops
    ]
    return np.concatenate(panels, axis=1)


def _candidates(
    image: AmodalImage, first: TorchPredictor, second: TorchPredictor
) -> Iterator[tuple[float, AmodalImage, FloatArray, list[MaskCrop]]]:
    """Yield each unoccluded object: how much more the first network draws beyond it, and masks."""
    prompted = PromptedImage.build(image, "visible", 0.0, 0)
    rows = [
        row
        for row, item in enumerate(prompted.instances)
        if item.occlusion_rate is not None and item.occlusion_rate <= OCCLUDED_ABOVE
    ]
    if not rows:
        return
    pixels, boxes = image.load_rgb(), prompted.boxes_xyxy[rows]
    answers = [model.decode(model.encode(pixels), boxes).amodal_masks for model in (first, second)]
    for number, row in enumerate(rows):
        rle = prompted.instances[row].amodal_rle
        if rle is not None:
            truth = rle_to_crop(rle)
            excess = [_area_beyond(masks[number], truth, image.image_hw) for masks in answers]
            gain = (excess[0] - excess[1]) / max(1, int(truth.mask.sum()))
            yield gain, image, boxes[number], [truth, answers[0][number], answers[1][number]]


def _area_beyond(crop: MaskCrop, truth: MaskCrop, image_hw: tuple[int, int]) -> int:
    return int((_whole(crop, image_hw) & ~_whole(truth, image_hw)).sum())


def _whole(crop: MaskCrop, image_hw: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(image_hw, bool)
    height, width = crop.mask.shape
    mask[crop.y : crop.y + height, crop.x : crop.x + width] = crop.mask
    return mask


def _panel(picture: Uint8Array, box_xyxy: FloatArray) -> Uint8Array:
    margin = MARGIN * (box_xyxy[2:] - box_xyxy[:2])
    x1, y1 = np.maximum(box_xyxy[:2] - margin, 0).astype(int)
    x2, y2 = np.ceil(box_xyxy[2:] + margin).astype(int)
    window = np.ascontiguousarray(picture[y1:y2, x1:x2])
    width = max(1, round(window.shape[1] * PANEL_HEIGHT / window.shape[0]))
    return np.asarray(cv2.resize(window, (width, PANEL_HEIGHT)), np.uint8)
