"""Contours of masks and how well two of them agree within a small distance."""

from __future__ import annotations

import math

import cv2
import numpy as np

from sameo_model.runtime.types import BoolArray, ImageHW, MaskCrop

TOLERANCE_SHARE = 0.003
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.uint8)


def tolerance_px(image_hw: ImageHW) -> int:
    """Return how far contours may lie apart: 0.003 of the image's diagonal, rounded up."""
    return math.ceil(TOLERANCE_SHARE * math.hypot(*image_hw))


def contour(mask: BoolArray) -> BoolArray:
    """Return the pixels of a mask with a 4-neighbour outside of it; the border counts as outside.

    Args:
        mask: bool (h, w).

    Returns:
        bool (h, w).
    """
    grey = np.ascontiguousarray(mask).view(np.uint8)
    inner = cv2.erode(grey, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=(0.0,))
    return mask & ~inner.view(np.bool_)


def near(contour_mask: BoolArray, radius_px: int) -> BoolArray:
    """Return the pixels within a Euclidean distance of a contour: a dilation with a disk."""
    offsets = np.arange(-radius_px, radius_px + 1)
    disk = (np.hypot(offsets[:, None], offsets) <= radius_px).astype(np.uint8)
    return cv2.dilate(contour_mask.view(np.uint8), disk).view(np.bool_)


def contour_matches(
    predicted: MaskCrop, truth: MaskCrop, radius_px: int
) -> tuple[int, int, int, int]:
    """Count contour pixels that lie near the other mask's contour.

    Args:
        radius_px: Largest distance, pixels.

    Returns:
        Matched predicted pixels, all predicted pixels, matched true pixels, all true pixels.
    """
    first, second = (contour(mask) for mask in _on_common_window(predicted, truth))
    return (
        int(np.count_nonzero(first & near(second, radius_px))),
        int(np.count_nonzero(first)),
        int(np.count_nonzero(second & near(first, radius_px))),
        int(np.count_nonzero(second)),
    )


def boundary_f(predicted: MaskCrop, truth: MaskCrop, image_hw: ImageHW) -> float:
    """Return the F-score of a predicted contour.

    Precision is the share of predicted contour pixels within `tolerance_px` of the true contour,
    recall the share of true contour pixels within it of the predicted one.

    Returns:
        In [0, 1]; 0 where one of the masks is empty, 1 where both are.
    """
    if not predicted.area or not truth.area:
        return float(predicted.area == truth.area)
    hits, num_predicted, found, num_true = contour_matches(predicted, truth, tolerance_px(image_hw))
    return f_score(hits / num_predicted, found / num_true)


def f_score(precision: float, recall: float) -> float:
    """Return the harmonic mean of precision and recall; 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _on_common_window(first: MaskCrop, second: MaskCrop) -> tuple[BoolArray, BoolArray]:
    boxes = [crop.box_xyxy for crop in (first, second) if crop.mask.size] or [(0, 0, 0, 0)]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    window_hw = (max(box[3] for box in boxes) - top, max(box[2] for box in boxes) - left)
    window = MaskCrop(left, top, np.zeros(window_hw, dtype=np.bool_))
    return window.cut(first), window.cut(second)
