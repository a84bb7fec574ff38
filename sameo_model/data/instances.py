"""From the fields of one original record to a checked instance; the defect rules apply here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from sameo_model.data.box_agreement import (
    BOX_TOLERANCE_PX,
    BoxedMask,
    box_distance_px,
    compare,
    compare_areas,
    is_box,
)
from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.rle import intersect_rles, make_instance, rle_area, rle_box_xywh
from sameo_model.data.segmentation import parse_segmentation
from sameo_model.data.source import is_size
from sameo_model.data.types import AmodalInstance, CrowdRegion, Rle

# Ids of several files are shifted behind each other in 64 bits.
MAX_ID = 2**53


class AbsentVisible(Enum):
    """What it means that a record has no visible mask."""

    SKIP = "the set always has one, so the record is defective"
    UNOCCLUDED = "the object is not covered: visible equals amodal"
    UNKNOWN = "the visible part is not annotated"


@dataclass(frozen=True, slots=True)
class RawInstance:
    """Fields of an original record, masks still in the form of the file."""

    annotation_id: Any  # number of the record, or whatever else stands there
    category_id: int
    amodal: Any  # whole extent as polygons or run lengths; None in modal sets
    visible: Any  # visible part; None if the record has none
    category: str = ""  # class name where the record holds it, else ""
    amodal_box_xywh: Any = None  # annotated box, used for checking only
    visible_box_xywh: Any = None  # the same of the visible part
    is_modal: bool = False  # the record knows the visible part alone
    is_stuff: bool = False  # marked as stuff
    source_id: str = ""  # identity in the source
    # occlusion rate as the file has it, used for reproducing others' buckets only
    stated_rate: Any = None


def check_instance(
    raw: RawInstance, image_hw: tuple[int, int], absent_visible: AbsentVisible, defects: DefectLog
) -> AmodalInstance | None:
    """Apply the defect rules to one record.

    Args:
        image_hw: Height and width of its image in pixels.
        absent_visible: What a missing visible mask means in this data set.

    Returns:
        The instance, or None if it was skipped.
    """
    example = raw.source_id or raw.annotation_id
    if not is_size(image_hw):
        defects.add(Defect.MALFORMED_RECORD, example)
        return None
    amodal_rle = None
    if not raw.is_modal:
        amodal_rle = _amodal_part(raw.amodal, image_hw, defects, example)
        if amodal_rle is None:
            _compare_boxes(raw, None, None, image_hw, defects)
            return None
    visible_rle: Rle | None
    if raw.visible is not None or amodal_rle is None:
        visible_rle = _visible_part(raw.visible, amodal_rle, image_hw, defects, example)
        if visible_rle is None:
            _compare_boxes(raw, amodal_rle, None, image_hw, defects)
            return None
    elif absent_visible is AbsentVisible.SKIP:
        defects.add(Defect.ABSENT_VISIBLE, example)
        return None
    else:
        visible_rle = amodal_rle if absent_visible is AbsentVisible.UNOCCLUDED else None
    _compare_boxes(raw, amodal_rle, visible_rle, image_hw, defects)
    _check_box(raw.amodal_box_xywh, amodal_rle, defects, example)
    _check_box(raw.visible_box_xywh, visible_rle, defects, example)
    return make_instance(
        _annotation_id(raw.annotation_id, defects),
        raw.category,
        raw.category_id,
        amodal_rle,
        visible_rle,
        is_stuff=raw.is_stuff,
        source_id=raw.source_id,
        stated_occlusion_rate=_rate(raw.stated_rate),
    )


def check_crowd(
    raw: RawInstance, image_hw: tuple[int, int], defects: DefectLog
) -> CrowdRegion | None:
    """Count a crowd region, which is no object, and return it; None if it has no usable mask."""
    defects.add(Defect.CROWD, raw.source_id or raw.annotation_id)
    if not is_size(image_hw):
        return None
    segmentation = raw.visible if raw.amodal is None else raw.amodal
    # What is wrong inside a region that is left out anyway is not counted.
    rle = parse_segmentation(segmentation, image_hw, DefectLog(), raw.annotation_id)
    if rle is None or not rle_area(rle):
        return None
    return CrowdRegion(0, raw.category, rle, raw.category_id)


def _rate(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= 1 else None


def _amodal_part(
    segmentation: Any, image_hw: tuple[int, int], defects: DefectLog, example: object
) -> Rle | None:
    before = _num_skipped_masks(defects)
    rle = parse_segmentation(segmentation, image_hw, defects, example)
    if rle is None:
        if _num_skipped_masks(defects) == before:
            defects.add(Defect.EMPTY_SEGMENTATION, example)
        return None
    if not rle_area(rle):
        defects.add(Defect.EMPTY_AMODAL, example)
        return None
    return rle


def _visible_part(
    segmentation: Any,
    amodal_rle: Rle | None,
    image_hw: tuple[int, int],
    defects: DefectLog,
    example: object,
) -> Rle | None:
    before = _num_skipped_masks(defects)
    rle = parse_segmentation(segmentation, image_hw, defects, example)
    if rle is not None and amodal_rle is not None:
        rle = _clip(rle, amodal_rle, defects, example)
    if rle is not None and rle_area(rle):
        return rle
    if _num_skipped_masks(defects) == before:
        defects.add(Defect.EMPTY_VISIBLE, example)
    return None


def _num_skipped_masks(defects: DefectLog) -> int:
    counts = defects.counts
    return counts[Defect.BAD_RUN_LENGTHS.name] + counts[Defect.OBJECT_CUT.name]


def _clip(visible_rle: Rle, amodal_rle: Rle, defects: DefectLog, example: object) -> Rle:
    """Return the visible mask inside the amodal one; the same object if nothing is hidden."""
    if visible_rle["counts"] == amodal_rle["counts"]:
        defects.agreement.num_pairs += 1
        return amodal_rle
    clipped = intersect_rles(visible_rle, amodal_rle)
    amodal, visible, shared = map(rle_area, (amodal_rle, visible_rle, clipped))
    compare_areas(defects.agreement, amodal, visible, shared)
    if shared != visible:
        defects.add(Defect.VISIBLE_OUTSIDE_AMODAL, example)
    return amodal_rle if shared == amodal else clipped


def _compare_boxes(
    raw: RawInstance,
    amodal_rle: Rle | None,
    visible_rle: Rle | None,
    image_hw: tuple[int, int],
    defects: DefectLog,
) -> None:
    masks = [BoxedMask(raw.amodal_box_xywh, raw.amodal, amodal_rle)]
    if amodal_rle is not None or raw.is_modal:
        masks.append(BoxedMask(raw.visible_box_xywh, raw.visible, visible_rle))
    compare(defects.agreement, masks, image_hw)


def _check_box(box_xywh: Any, rle: Rle | None, defects: DefectLog, example: object) -> None:
    if box_xywh is None or rle is None:
        return
    if not is_box(box_xywh):
        defects.add(Defect.BOX_UNLIKE_MASK, example)
        return
    if box_xywh[2] <= 0 or box_xywh[3] <= 0:
        defects.add(Defect.ZERO_SIZE_BOX, example)
    elif box_distance_px(box_xywh, rle_box_xywh(rle)) > BOX_TOLERANCE_PX:
        defects.add(Defect.BOX_UNLIKE_MASK, example)


def _annotation_id(value: Any, defects: DefectLog) -> int:
    # bool is an int in Python, but no identity.
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ID:
        return value
    if value is not None:
        defects.add(Defect.UNUSABLE_ID, value)
    return 0
