"""From the boxes of all cells of the detector to those of objects (numpy only)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import FloatArray

MOST_CANDIDATES = 400
SUPPRESSION_IOU = 0.6
"""Visible boxes of different objects rarely overlap more: 0.4 % of those in rendered clutter."""


def choose_boxes(
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    *,
    min_score: float,
    max_boxes: int,
    iou_threshold: float = SUPPRESSION_IOU,
) -> npt.NDArray[np.int64]:
    """Choose the boxes that stand for objects: the best of those that overlap.

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
    overlap = _ious(boxes_xyxy[candidates]) > iou_threshold
    is_alive = np.ones(len(candidates), dtype=bool)
    kept: list[int] = []
    for row in range(len(candidates)):
        if len(kept) == max_boxes:
            break
        if is_alive[row]:
            kept.append(row)
            is_alive &= ~overlap[row]
    return candidates[kept].astype(np.int64)


def _ious(boxes_xyxy: FloatArray) -> FloatArray:
    """Return the IoU of each pair, float (N, N), 0 for boxes without area."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    sides = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    shared = sides.clip(min=0).prod(axis=-1)
    areas = (high - low).clip(min=0).prod(axis=-1)
    union = areas[:, None] + areas[None] - shared
    ious: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ious
