"""From what all cells of the detector say to one row for each object (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.backends.base import CellBoxes
from sameo_model.runtime.boxes import box_ious
from sameo_model.runtime.types import Detections, FloatArray, ImageHW, MaskCrop

MOST_CANDIDATES = 400
SAME_IOU = 0.8
"""Visible boxes that overlap more show one object."""
SOFTNESS = 0.5
"""Sigma of soft suppression: an overlap of IoU 0.6 with a better box halves a score."""
VOTER_IOU = 0.7
VOTER_SCORE = 0.3
"""Which cells have a say in where a chosen box lies: overlap with it, and score."""
INSIDE_SHARE = 0.85
"""A mask of which so much lies inside a better one shows the same object, or a part of it."""


def choose_boxes(
    boxes_xyxy: FloatArray, scores: FloatArray, *, min_score: float, max_boxes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Choose the best of the boxes that overlap, by soft suppression (Bodla et al., ICCV 2017).

    Each chosen box lowers the scores of those that overlap it by exp(-IoU^2 / 0.5).

    Args:
        boxes_xyxy: float (A, 4), x1, y1, x2, y2 of visible parts, one box per cell.
        scores: float (A,).
        min_score: Boxes whose lowered score is below are left out.

    Returns:
        int64 (N,), indices into `boxes_xyxy`, and float32 (N,), their lowered scores, best first.
    """
    candidates = np.flatnonzero(scores >= min_score)
    if len(candidates) > MOST_CANDIDATES:
        best = np.argpartition(-scores[candidates], MOST_CANDIDATES)[:MOST_CANDIDATES]
        candidates = candidates[best]
    iou = box_ious(boxes_xyxy[candidates], boxes_xyxy[candidates])
    remaining = np.where(iou > SAME_IOU, 0.0, np.exp(-(iou**2) / SOFTNESS))
    lowered = scores[candidates].astype(np.float64)
    rows: list[int] = []
    kept: list[float] = []
    while len(rows) < min(max_boxes, len(candidates)):
        row = int(lowered.argmax())
        if lowered[row] < min_score or not lowered[row]:
            break
        rows.append(row)
        kept.append(lowered[row])
        lowered *= remaining[row]
        lowered[row] = 0.0
    return candidates[rows].astype(np.int64), np.array(kept, np.float32)


def to_detections(
    cells: CellBoxes, side: int, image_hw: ImageHW, *, min_score: float, max_boxes: int
) -> Detections:
    """Turn what all cells say into one row for each object, in pixels of the image.

    Args:
        side: Side of the square to which the image was squashed, pixels.
        image_hw: Height and width of the image, pixels.
        min_score: As for `choose_boxes`.
        max_boxes: As for `choose_boxes`.
    """
    rows, lowered = choose_boxes(
        cells.boxes, cells.scores, min_score=min_score, max_boxes=max_boxes
    )
    size = np.array([image_hw[1], image_hw[0]] * 2, np.float32)
    visible, amodal = (
        (boxes * (size / side)).clip(0, size).astype(np.float32)
        for boxes in average_boxes(rows, cells)
    )
    return Detections(visible, amodal, lowered)


def average_boxes(rows: npt.NDArray[np.int64], cells: CellBoxes) -> tuple[FloatArray, FloatArray]:
    """Average each chosen box with what other cells say about the same object.

    Box voting (Gidaris and Komodakis, ICCV 2015): cells whose visible box overlaps the chosen one
    by an IoU of at least 0.7 count with score x IoU^2, in the amodal box too. Cells with a score
    below 0.3 have no say, and a chosen one among them that no other overlaps stays as it is.

    Args:
        rows: int64 (N,), chosen cells, from `choose_boxes`.
        cells: All cells, with their scores before suppression.

    Returns:
        float32 (N, 4) visible and (N, 4) amodal boxes, in the pixels of `cells`.
    """
    voters = np.flatnonzero(cells.scores >= VOTER_SCORE)
    ious = box_ious(cells.boxes[rows], cells.boxes[voters])
    weights = np.where(ious >= VOTER_IOU, cells.scores[voters] * ious**2, 0.0)
    total = weights.sum(axis=1, keepdims=True)

    def average(boxes: FloatArray) -> FloatArray:
        averaged = weights @ boxes[voters] / np.maximum(total, 1e-9)
        return np.where(total > 0, averaged, boxes[rows]).astype(np.float32)

    return average(cells.boxes), average(cells.amodal_boxes)


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
