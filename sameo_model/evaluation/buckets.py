"""Ranges of size or occlusion by which AP is also told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sameo_model.data.rle import rle_area
from sameo_model.data.types import AmodalInstance
from sameo_model.evaluation.crops import rle_to_crop
from sameo_model.evaluation.detections import Detection

Range = tuple[str, float, float]


@dataclass(frozen=True)
class Buckets:
    """A measure of objects and its ranges; the first range holds everything."""

    name: str
    ranges: tuple[Range, ...]  # label, lowest and highest value, both included
    truth_measure: Callable[[AmodalInstance], float]  # the measure of a true object
    # the measure of a detection; one that matched nothing counts against the buckets that hold its
    # own measure only
    detection_measure: Callable[[Detection], float]


def amodal_area(instance: AmodalInstance) -> float:
    """Return the pixels of the true amodal mask."""
    assert instance.amodal_rle is not None
    return float(rle_area(instance.amodal_rle))


def detection_area(detection: Detection) -> float:
    """Return the pixels of the detection's mask."""
    assert detection.mask_rle is not None
    return float(rle_area(detection.mask_rle))


def visible_share(instance: AmodalInstance) -> float:
    """Return visible over amodal area of a true object; 1 where nothing is known of it.

    The annotations' own `occlude_rate` counts before the masks, as in AISFormer's evaluation.
    """
    if instance.stated_occlusion_rate is not None:
        return 1.0 - instance.stated_occlusion_rate
    return 1.0 if instance.occlusion_rate is None else min(1.0 - instance.occlusion_rate, 1.0)


def detection_visible_share(detection: Detection) -> float:
    """Return the share of the mask that the front end says is visible; 1 if it does not say.

    What the file states counts before the masks. NaN, which AISFormer writes for an empty mask,
    lies in no range and outside of none: pycocotools then counts the detection in every bucket.
    """
    if detection.visible_share is not None:
        return detection.visible_share
    assert detection.mask_rle is not None
    if detection.visible_rle is None:
        return 1.0
    amodal, visible = rle_to_crop(detection.mask_rle), rle_to_crop(detection.visible_rle)
    return amodal.intersection_area(visible) / amodal.area if amodal.area else 1.0


_EVERYTHING = ("all", 0.0, 1e10)
ALL_SIZES = Buckets("none", (_EVERYTHING,), amodal_area, detection_area)
BUCKETS = {
    "none": ALL_SIZES,
    "coco": Buckets(
        "coco",
        (
            _EVERYTHING,
            ("small", 0.0, 32.0**2),
            ("medium", 32.0**2, 96.0**2),
            ("large", 96.0**2, 1e10),
        ),
        amodal_area,
        detection_area,
    ),
    # AISFormer's evaluation puts the visible share in the place of the area; what it prints as
    # small, medium and large is AP on objects of which at most 85, 75 and 60 % are visible.
    "aisformer": Buckets(
        "aisformer",
        (
            ("all", 0.0, 1.0),
            ("visible <= 0.85", 0.0, 0.85),
            ("visible <= 0.75", 0.0, 0.75),
            ("visible <= 0.60", 0.0, 0.6),
        ),
        visible_share,
        detection_visible_share,
    ),
}
