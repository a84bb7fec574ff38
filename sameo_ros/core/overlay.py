"""An answer drawn on its image, as ~/overlay and the demo show it."""

from __future__ import annotations

import numpy as np

from sameo_model.runtime.overlay import draw_overlay, format_label
from sameo_model.runtime.types import Uint8Array
from sameo_ros.core.answer import Answer


def draw_answer(image_rgb: Uint8Array, answer: Answer, style: str = "full") -> Uint8Array:
    """Draw an answer over its image: visible part solid, hidden part hatched, box and label.

    Args:
        image_rgb: uint8 (H, W, 3), RGB; it is not changed.
        answer: The masks of that image.
        style: `full`, or `masks` to leave boxes and labels out.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    prediction, detections = answer.prediction, answer.detections
    labels = [
        format_label(index, detections.class_ids[index], float(prediction.occlusion_ratio[row]))
        for row, index in enumerate(answer.indices)
    ]
    boxes_xyxy = detections.boxes_xyxy[answer.indices]
    if style == "masks":
        boxes_xyxy = np.full_like(boxes_xyxy, np.nan)  # a box that is none is not drawn
    return draw_overlay(
        image_rgb,
        prediction.amodal_masks,
        prediction.visible_masks,
        boxes_xyxy,
        labels,
    )
