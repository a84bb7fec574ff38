"""Scores of one predicted object against its true masks, and the masks that need no model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sameo_model.data.types import AmodalImage, AmodalInstance
from sameo_model.evaluation.boundary import boundary_f
from sameo_model.evaluation.crops import (
    box_to_crop,
    convex_hull,
    mask_iou,
    rle_to_crop,
    subtract,
)
from sameo_model.runtime.types import FloatArray, ImageHW, MaskCrop

OCCLUDED_ABOVE = 0.05


@dataclass(frozen=True, slots=True)
class InstanceScore:
    """How well one object was segmented; every IoU is a fraction, NaN where it is undefined.

    Attributes:
        image_id: Number of the image in its data set.
        annotation_id: Number of the object's annotation.
        category: Class name, "" where the data set has none.
        occlusion_rate: Hidden area over amodal area of the true masks.
        amodal_area: Pixels of the true amodal mask.
        predicted_iou: The model's own estimate of `iou_full`.
        iou_full: Predicted against true amodal mask.
        iou_hidden: The same with the true visible mask taken from both; NaN for an object that
            is not occluded (rate of 0.05 or less).
        iou_visible: Predicted against true visible mask; NaN without a visible decoder or where
            nothing of the object is visible.
        boundary_f: F-score of the amodal contour (`boundary.boundary_f`).
        baseline_visible: IoU of the true visible mask with the true amodal mask.
        baseline_box: IoU of the filled prompt box with the true amodal mask.
        baseline_hull: IoU of the convex hull of the true visible mask with the amodal mask.
    """

    image_id: int
    annotation_id: int
    category: str
    occlusion_rate: float
    amodal_area: int
    predicted_iou: float
    iou_full: float
    iou_hidden: float
    iou_visible: float
    boundary_f: float
    baseline_visible: float
    baseline_box: float
    baseline_hull: float

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
    image: AmodalImage,
    instance: AmodalInstance,
    predicted: PredictedObject,
    box_xyxy: FloatArray,
) -> InstanceScore:
    """Score one prediction.

    Args:
        image: Image that the object is in.
        instance: True masks; both must be known.
        predicted: The model's answer.
        box_xyxy: float32 (4,), the prompt, pixels of the image.
    """
    assert instance.amodal_rle is not None
    assert instance.visible_rle is not None
    amodal, visible = rle_to_crop(instance.amodal_rle), rle_to_crop(instance.visible_rle)
    area = amodal.area
    occlusion_rate = (area - amodal.intersection_area(visible)) / area
    is_occluded = occlusion_rate > OCCLUDED_ABOVE
    iou_hidden = hidden_iou(predicted.amodal, amodal, visible) if is_occluded else math.nan
    iou_visible = math.nan
    if predicted.visible is not None and visible.mask.size:
        iou_visible = mask_iou(predicted.visible, visible)
    return InstanceScore(
        image_id=image.image_id,
        annotation_id=instance.annotation_id,
        category=instance.category,
        occlusion_rate=occlusion_rate,
        amodal_area=area,
        predicted_iou=predicted.predicted_iou,
        iou_full=mask_iou(predicted.amodal, amodal),
        iou_hidden=iou_hidden,
        iou_visible=iou_visible,
        boundary_f=boundary_f(predicted.amodal, amodal, image.image_hw),
        **_baselines(amodal, visible, box_xyxy, image.image_hw),
    )


def hidden_iou(predicted: MaskCrop, amodal: MaskCrop, visible: MaskCrop) -> float:
    """Return the IoU of the hidden parts: both masks without the true visible pixels."""
    predicted_hidden, true_hidden = subtract(predicted, visible), subtract(amodal, visible)
    return mask_iou(predicted_hidden, true_hidden)


def _baselines(
    amodal: MaskCrop, visible: MaskCrop, box_xyxy: FloatArray, image_hw: ImageHW
) -> dict[str, float]:
    return {
        "baseline_visible": mask_iou(visible, amodal),
        "baseline_box": mask_iou(box_to_crop(box_xyxy, image_hw), amodal),
        "baseline_hull": mask_iou(convex_hull(visible), amodal),
    }
