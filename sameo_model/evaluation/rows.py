"""The rows of the table: every way of answering the same boxes that is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sameo_model.data.prompts import PromptKind
from sameo_model.data.rle import encode_mask, intersect_rles, rle_area
from sameo_model.data.types import AmodalImage, Rle
from sameo_model.evaluation.crops import box_to_crop, crop_to_rle
from sameo_model.evaluation.detections import Detection, boxes_of
from sameo_model.evaluation.instance_scores import PredictedObject
from sameo_model.runtime.boxes import box_ious

FRONT_END = "front_end"
VISIBLE_DECODER = "visible_decoder"
TRUE_VISIBLE = "true_visible"
SAMEO_PLAIN = "sameo_no_rescore"
SAMEO = "sameo"
LABELS = {
    FRONT_END: "front end's own masks",
    VISIBLE_DECODER: "visible decoder",
    TRUE_VISIBLE: "true visible masks",
    SAMEO_PLAIN: "SAMEO, front end's scores",
    SAMEO: "SAMEO",
}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    # by image id, the same boxes in the same order in every row; one without a mask takes no part
    detections: Mapping[int, Sequence[Detection]]
    knows_visible: bool = True  # whether the detections say what is visible of their objects


def front_end_row(detections: Mapping[int, Sequence[Detection]], box_kind: PromptKind) -> Row:
    """Return the masks that the front end brought.

    Args:
        box_kind: `visible` for a detector that segments what can be seen: its masks are the
            visible masks too, where it gives no others.
    """
    if box_kind == "visible":
        detections = {
            image_id: [
                replace(item, visible_rle=item.visible_rle or item.mask_rle) for item in items
            ]
            for image_id, items in detections.items()
        }
    known = (
        item.visible_rle is not None
        for items in detections.values()
        for item in items
        if item.mask_rle is not None
    )
    return Row(FRONT_END, detections, all(known))


def true_visible_row(
    images: Sequence[AmodalImage],
    detections: Mapping[int, Sequence[Detection]],
    box_kind: PromptKind,
) -> Row:
    """Answer each box with the true visible mask of the object whose box it overlaps most.

    A box that overlaps no object gets an empty mask, or what a crowd region has inside it, where
    at least half of the box is such a region. This is what a perfect segmentation of what
    can be seen would reach with these boxes and scores.
    """
    chosen = {
        image.image_id: _true_visible(image, detections.get(image.image_id, ()), box_kind)
        for image in images
    }
    return Row(TRUE_VISIBLE, chosen)


def _true_visible(
    image: AmodalImage, detections: Sequence[Detection], box_kind: PromptKind
) -> list[Detection]:
    boxes, masks = [], []
    for instance in image.instances:
        box_xywh = instance.box_xywh(box_kind)
        if instance.visible_rle is not None and box_xywh is not None:
            x, y, width, height = box_xywh
            boxes.append((x, y, x + width, y + height))
            masks.append(instance.visible_rle)
    empty = encode_mask(np.zeros(image.image_hw, dtype=np.uint8))
    ious = box_ious(boxes_of(detections).astype(float), np.array(boxes, dtype=float).reshape(-1, 4))
    result = []
    for item, row in zip(detections, ious, strict=True):
        best = row.max(initial=0.0)
        mask = masks[row.argmax()] if best > 0 else empty
        if best < 0.5:
            mask = _crowd_inside(image, item) or mask
        result.append(item.with_masks(mask, mask))
    return result


def _crowd_inside(image: AmodalImage, item: Detection) -> Rle | None:
    """Return the part of a crowd region inside a box, None unless it fills half of the box."""
    if not image.crowds:
        return None
    filled = box_to_crop(np.array(item.box_xyxy), image.image_hw)
    box_rle = crop_to_rle(filled, image.image_hw)
    parts = [intersect_rles(box_rle, crowd.rle) for crowd in image.crowds]
    largest = max(parts, key=rle_area)
    return largest if filled.area and 2 * rle_area(largest) >= filled.area else None


def names_of_model_rows(has_visible_decoder: bool) -> list[str]:
    """Return the names of what `model_rows` returns for a model that answers at least one box."""
    return [VISIBLE_DECODER, SAMEO_PLAIN, SAMEO] if has_visible_decoder else [SAMEO_PLAIN, SAMEO]


def model_rows(
    images: Sequence[AmodalImage],
    detections: Mapping[int, Sequence[Detection]],
    answers: Mapping[int, Sequence[PredictedObject]],
) -> list[Row]:
    """Return what a model answers to the boxes.

    Args:
        answers: By image id, one for each detection.

    Returns:
        The amodal masks with the front end's scores and with scores multiplied by the predicted
        IoU (equation 6), and before them the visible masks where the model has a visible decoder.
    """
    plain: dict[int, list[Detection]] = {}
    rescored: dict[int, list[Detection]] = {}
    visible: dict[int, list[Detection]] = {}
    for image in images:
        found = detections.get(image.image_id, ())
        for item, answer in zip(found, answers.get(image.image_id, ()), strict=True):
            amodal_rle = crop_to_rle(answer.amodal, image.image_hw)
            visible_rle = None
            if answer.visible is not None:
                visible_rle = crop_to_rle(answer.visible, image.image_hw)
            masked = item.with_masks(amodal_rle, visible_rle)
            plain.setdefault(image.image_id, []).append(masked)
            score = item.score * answer.predicted_iou
            rescored.setdefault(image.image_id, []).append(replace(masked, score=score))
            if visible_rle is not None:
                modal = item.with_masks(visible_rle, visible_rle)
                visible.setdefault(image.image_id, []).append(modal)
    rows = [Row(SAMEO_PLAIN, plain, bool(visible)), Row(SAMEO, rescored, bool(visible))]
    return [Row(VISIBLE_DECODER, visible), *rows] if visible else rows
