"""Sentences about detections that can be read, but are probably not what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sameo_model.data.prompts import PromptKind
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.detections import Detection, boxes_of
from sameo_model.runtime.boxes import box_ious

_FIT_IOU = 0.5
# Boxes meet fewer of the objects by chance alone.
_CHANCE = 0.02


def note_repeats(detections: Sequence[Detection]) -> list[str]:
    """Note detections that are there twice, of which AP counts one as false."""
    different = {
        (
            one.image_id,
            one.category_id,
            one.score,
            one.box_xyxy,
            one.mask_rle and one.mask_rle["counts"],
        )
        for one in detections
    }
    if len(different) == len(detections):
        return []
    return [
        f"{len(detections) - len(different)} of {len(detections)} detections are there already, "
        f"with image, class, score, box and mask, and count as false; is the file joined twice?"
    ]


def note_boxes_elsewhere(
    images: Iterable[AmodalImage],
    detections: Mapping[int, Sequence[Detection]],
    box_kind: PromptKind,
) -> list[str]:
    """Note that hardly any object has a box that fits, as where images were resized.

    Args:
        detections: By image id.
        box_kind: What the detections' boxes enclose.
    """
    num_objects = num_met = 0
    for image in images:
        if found := detections.get(image.image_id):
            truth = _true_boxes(image, box_kind)
            ious = box_ious(boxes_of(found).astype(float), truth)
            num_objects += len(truth)
            num_met += int((ious.max(axis=0) >= _FIT_IOU).sum())
    if not num_objects or num_met > _CHANCE * num_objects:
        return []
    return [
        f"{num_met} of {num_objects} objects have a box with an IoU of {_FIT_IOU} or more; are the "
        f"boxes those of images of another size?"
    ]


def _true_boxes(image: AmodalImage, box_kind: PromptKind) -> np.ndarray:
    """Return the boxes of all objects, float64 (N, 4), x1, y1, x2, y2."""
    boxes = [one.box_xywh(box_kind) for one in image.instances]
    corners = np.array([box for box in boxes if box is not None], dtype=float).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners
