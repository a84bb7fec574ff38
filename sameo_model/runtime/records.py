"""Predictions as JSON: one record of COCO's form for each object."""

from __future__ import annotations

from typing import Any

import numpy as np

from sameo_model.runtime.box_source import BoxPrompt
from sameo_model.runtime.masks import crop_to_rle
from sameo_model.runtime.types import ImageHW, Prediction


def prediction_record(
    prediction: Prediction, row: int, prompt: BoxPrompt, image_hw: ImageHW
) -> dict[str, Any]:
    """Return one object of a prediction as COCO's results have it, with what was asked for.

    Args:
        row: Which of its objects.
        prompt: The box that prompted it.
        image_hw: Height and width of the image, pixels.

    Returns:
        `segmentation` (amodal) and, where it is known, `visible_mask` as run lengths, `bbox` of the
        amodal mask, `score` (detection score times predicted IoU), `prompt_box`,
        `detection_score`, `predicted_iou`, `occlusion_ratio`; `category_id` and `class` where the
        prompt has them.
    """
    amodal = prediction.amodal_masks[row]
    height, width = amodal.mask.shape
    predicted_iou = float(prediction.predicted_iou[row])
    ratio = float(prediction.occlusion_ratio[row])
    category = {} if prompt.category_id is None else {"category_id": prompt.category_id}
    result: dict[str, Any] = {
        **category,
        "bbox": [amodal.x, amodal.y, width, height],
        "score": prompt.score * predicted_iou,
        "segmentation": crop_to_rle(amodal, image_hw),
    }
    if prediction.visible_masks is not None:
        result["visible_mask"] = crop_to_rle(prediction.visible_masks[row], image_hw)
    return {
        **result,
        "prompt_box": list(prompt.box_xyxy),
        **({"class": prompt.class_id} if prompt.class_id else {}),
        "detection_score": prompt.score,
        "predicted_iou": predicted_iou,
        "occlusion_ratio": None if np.isnan(ratio) else ratio,
    }
