"""From what all cells of the detector say to one row for each object (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.boxes import box_ious
from sameo_model.runtime.types import FloatArray, MaskCrop

MOST_CANDIDATES = 400
SUPPRESSION_IOU = 0.6
"""Visible boxes of different objects rarely overlap more: 0.4 % of those in rendered clutter."""
INSIDE_SHARE = 0.85
"""A mask of which so much lies inside a better one shows the same object, or a part of it."""


def choose_boxes(
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    *,
    min_score: float,
    max_boxes: int,
    iou_threshold: float = SUPPRESSION_IOU,
) -> npt.NDArray[np.int64]:
    """Choose the best of the boxes that overlap.

    Args:
        boxes_xyxy: float (A, 4), x1, y1, x2, y2 of visible parts, one box per cell.
        scores: float (A,).
        min_score: Boxes with a lower score are left out.
        max_boxes: Most boxes to choose.
        iou_threshold: A box goes if its IoU with a better one that stays is above this.

    Returns:
        int64 (N,), indices into `boxes_xyxy`, best score first.
    """
    candidates = np.flatnonzero(scores >= min_score)
    if len(candidates) > MOST_CANDIDATES:
        best = np.argpartition(-scores[candidates], MOST_CANDIDATES)[:MOST_CANDIDATES]
        candidates = candidates[best]
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    chosen = boxes_xyxy[candidates]
    overlap = box_ious(chosen, chosen) > iou_threshold
    is_alive = np.ones(len(candidates), dtype=bool)
    kept: list[int] = []
    for row in range(len(candidates)):
        if len(kept) == max_boxes:
            break
        if is_alive[row]:
            kept.append(row)
            is_alive &= ~overlap[row]
    return candidates[kept].astype(np.int64)


def choose_masks(masks: Sequence[MaskCrop]) -> npt.NDArray[np.intp]:
    """Choose the masks that are neither empty nor nearly inside a better one.

    Args:
        masks: Visible parts, best first.

    Returns:
        int (N,), indices into `masks`, ascending.
    """
    areas = [int(np.count_nonzero(mask.mask)) for mask in masks]
    kept: list[int] = []
    for row, mask in enumerate(masks):
        limit = INSIDE_SHARE * areas[row]
        if areas[row] and all(mask.intersection_area(masks[other]) < limit for other in kept):
            kept.append(row)
    return np.array(kept, dtype=np.intp)
