"""Detections of a front end, in one form whatever file they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sameo_model.data.types import Rle
from sameo_model.runtime.boxes import box_ious
from sameo_model.runtime.types import FloatArray

BoxXyxy = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Detection:
    """One box of a front end, with its mask where it has one."""

    image_id: int
    category_id: int  # number of the class in the annotations; 0 if it is not known
    score: float  # confidence, finite; the order within the data set is what AP looks at
    # x1, y1, x2, y2 in pixels of the image; the tight box of the mask where the front end gave none
    box_xyxy: BoxXyxy
    mask_rle: Rle | None = None  # the mask that is scored, or None for a front end with boxes alone
    visible_rle: Rle | None = None  # what the front end says is visible of it, or None
    # visible over amodal area as the front end states it, NaN for an empty mask, or None
    visible_share: float | None = None
    # box of the whole object, where the front end draws one beside that of the visible part
    amodal_box_xyxy: BoxXyxy | None = None

    def with_masks(self, mask_rle: Rle, visible_rle: Rle | None) -> Detection:
        """Return the same box with masks of another origin."""
        return replace(self, mask_rle=mask_rle, visible_rle=visible_rle, visible_share=None)


def group_by_image(detections: Iterable[Detection]) -> dict[int, list[Detection]]:
    """Return the detections of each image, in their order."""
    groups: dict[int, list[Detection]] = {}
    for detection in detections:
        groups.setdefault(detection.image_id, []).append(detection)
    return groups


def boxes_of(detections: Sequence[Detection]) -> FloatArray:
    """Return the boxes, float32 (N, 4), x1, y1, x2, y2 in pixels."""
    boxes = [detection.box_xyxy for detection in detections]
    return np.array(boxes, dtype=np.float32).reshape(-1, 4)


def amodal_boxes_of(detections: Sequence[Detection]) -> FloatArray:
    """Return the boxes of whole objects, float32 (N, 4); each detection must have one."""
    boxes = [detection.amodal_box_xyxy for detection in detections]
    return np.array(boxes, dtype=np.float32).reshape(-1, 4)


def scores_of(detections: Sequence[Detection]) -> FloatArray:
    """Return the scores, float64 (N,)."""
    return np.array([detection.score for detection in detections], dtype=float)


def suppress_duplicates(detections: Sequence[Detection], iou_threshold: float) -> list[Detection]:
    """Keep the best of boxes that overlap, whatever their class (greedy NMS).

    Args:
        iou_threshold: A box goes if its IoU with a better one that stays is above this.

    Returns:
        Those that stay, best score first.
    """
    ranked = sorted(detections, key=lambda detection: -detection.score)
    boxes = boxes_of(ranked).astype(float)
    ious = box_ious(boxes, boxes)
    kept: list[int] = []
    for row in range(len(ranked)):
        if not kept or ious[row, kept].max() <= iou_threshold:
            kept.append(row)
    return [ranked[row] for row in kept]
