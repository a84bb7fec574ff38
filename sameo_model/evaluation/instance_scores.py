"""Scores of one predicted object against its true masks, and the masks that need no model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sameo_model.data.types import AmodalImage, AmodalInstance
from sameo_model.evaluation.boundary import boundary_f
from sameo_model.evaluation.crops import box_to_crop, convex_hull, rle_to_crop
from sameo_model.runtime.types import FloatArray, ImageHW, MaskCrop

OCCLUDED_ABOVE = 0.05
AMODAL_SCORES = (
    *("occlusion_rate", "iou_full", "iou_hidden", "boundary_f"),
    *("baseline_visible", "baseline_box", "baseline_hull"),
)


@dataclass(frozen=True, slots=True)
class InstanceScore:
    """How well one object was segmented; every IoU is a fraction, NaN where it is undefined."""

    image_id: int
    annotation_id: int
    category: str  # class name, "" where the data set has none
    # hidden area over amodal area of the true masks; NaN where the amodal mask is not annotated, as
    # is every score that compares with it
    occlusion_rate: float
    amodal_area: int  # pixels of the true amodal mask, 0 where it is not annotated
    visible_side_px: int  # longer side of the true visible mask's tight box, pixels
    predicted_iou: float  # the model's own estimate of `iou_full`
    iou_full: float  # predicted against true amodal mask
    # the same with the true visible mask taken from both; NaN for an object that is not occluded
    # (rate of 0.05 or less)
    iou_hidden: float
    # predicted against true visible mask; NaN without a visible decoder or where nothing of the
    # object is visible
    iou_visible: float
    boundary_f: float  # F-score of the amodal contour (`boundary.boundary_f`)
    boundary_f_visible: float  # the same of the visible mask; NaN where `iou_visible` is
    # IoU of the predicted amodal with the predicted visible mask; NaN without the latter. Where
    # nothing hides an object it should be 1.
    agreement: float
    baseline_visible: float  # IoU of the true visible mask with the true amodal mask
    baseline_box: float  # IoU of the filled prompt box with the true amodal mask
    baseline_hull: float  # IoU of the convex hull of the true visible mask with the amodal mask

    @property
    def is_occluded(self) -> bool:
        """Whether the object counts as occluded: more than 5 % of it is hidden."""
        return self.occlusion_rate > OCCLUDED_ABOVE


@dataclass(frozen=True, slots=True)
class PredictedObject:
    """What a model answered for one box: masks as crops and its own estimate of the IoU."""

    amodal: MaskCrop
    visible: MaskCrop | None
    predicted_iou: float


def score_instance(
    image: AmodalImage, instance: AmodalInstance, predicted: PredictedObject, box_xyxy: FloatArray
) -> InstanceScore:
    """Score one prediction.

    Args:
        instance: True masks; the visible one must be known.
        box_xyxy: float32 (4,), the prompt, pixels of the image.
    """
    assert instance.visible_rle is not None
    visible = rle_to_crop(instance.visible_rle)
    return InstanceScore(
        image_id=image.image_id,
        annotation_id=instance.annotation_id,
        category=instance.category,
        visible_side_px=max(visible.mask.shape),
        predicted_iou=predicted.predicted_iou,
        **_visible_scores(predicted, visible, image.image_hw),
        **_amodal_scores(instance, predicted, visible, box_xyxy, image.image_hw),
    )


def _visible_scores(
    predicted: PredictedObject, visible: MaskCrop, image_hw: ImageHW
) -> dict[str, Any]:
    if predicted.visible is None:
        return dict.fromkeys(("iou_visible", "boundary_f_visible", "agreement"), math.nan)
    is_seen = visible.mask.size > 0
    return {
        "iou_visible": predicted.visible.iou(visible) if is_seen else math.nan,
        "boundary_f_visible": (
            boundary_f(predicted.visible, visible, image_hw) if is_seen else math.nan
        ),
        "agreement": predicted.amodal.iou(predicted.visible),
    }


def _amodal_scores(
    instance: AmodalInstance,
    predicted: PredictedObject,
    visible: MaskCrop,
    box_xyxy: FloatArray,
    image_hw: ImageHW,
) -> dict[str, Any]:
    if instance.amodal_rle is None:
        return {"amodal_area": 0, **dict.fromkeys(AMODAL_SCORES, math.nan)}
    amodal = rle_to_crop(instance.amodal_rle)
    area = amodal.area
    occlusion_rate = (area - amodal.intersection_area(visible)) / area
    is_occluded = occlusion_rate > OCCLUDED_ABOVE
    return {
        "amodal_area": area,
        "occlusion_rate": occlusion_rate,
        "iou_full": predicted.amodal.iou(amodal),
        "iou_hidden": hidden_iou(predicted.amodal, amodal, visible) if is_occluded else math.nan,
        "boundary_f": boundary_f(predicted.amodal, amodal, image_hw),
        "baseline_visible": visible.iou(amodal),
        "baseline_box": amodal.iou(box_to_crop(box_xyxy, image_hw)),
        "baseline_hull": amodal.iou(convex_hull(visible)),
    }


def hidden_iou(predicted: MaskCrop, amodal: MaskCrop, visible: MaskCrop) -> float:
    """Return the IoU of the hidden parts: both masks without the true visible pixels."""
    return predicted.subtract(visible).iou(amodal.subtract(visible))
