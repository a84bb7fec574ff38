"""Masks into and out of sameo_ros/AmodalMaskArray.

Messages are duck-typed, and the constructors of those to fill are handed in: the node hands in the
generated classes, offline tools their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sameo_model.runtime.types import MaskCrop, Uint8Array
from sameo_ros.core.answer import Answer
from sameo_ros.messages.conversions import fill_image


@dataclass(frozen=True)
class MaskMessageTypes:
    """Constructors, without arguments, of the messages to fill."""

    mask_array: Callable[[], Any]
    mask: Callable[[], Any]
    crop: Callable[[], Any]


def fill_mask_array(message: Any, types: MaskMessageTypes, answer: Answer, header: Any) -> None:
    """Fill a sameo_ros/AmodalMaskArray but for its `model`.

    Args:
        message: The sameo_ros/AmodalMaskArray to fill.
        header: std_msgs/Header of the image; shared, not copied.
    """
    prediction, detections = answer.prediction, answer.detections
    visible_masks = prediction.visible_masks
    message.header = header
    message.image_height, message.image_width = answer.image_hw
    masks = []
    for row, index in enumerate(answer.indices):
        mask = types.mask()
        mask.detection_index = index
        mask.detection_id = detections.detection_ids[index]
        mask.class_id = detections.class_ids[index]
        mask.detection_score = float(detections.scores[index])
        mask.predicted_iou = float(prediction.predicted_iou[row])
        mask.score = mask.detection_score * mask.predicted_iou
        mask.occlusion_ratio = float(prediction.occlusion_ratio[row])
        mask.occluded_by = answer.occluded_by[row]
        mask.amodal = _to_crop(types, prediction.amodal_masks[row], header)
        visible = MaskCrop.empty() if visible_masks is None else visible_masks[row]
        mask.visible = _to_crop(types, visible, header)
        masks.append(mask)
    message.masks = masks


def crop_to_mask(message: Any) -> MaskCrop:
    """Read a sameo_ros/MaskCrop.

    Args:
        message: A sameo_ros/MaskCrop: mono8, 255 on the mask and 0 beside it.
    """
    image = message.image
    pixels: Uint8Array = np.frombuffer(memoryview(image.data), dtype=np.uint8)
    mask = pixels.reshape(image.height, image.step)[:, : image.width] > 0
    return MaskCrop(int(message.x), int(message.y), mask)


def _to_crop(types: MaskMessageTypes, crop: MaskCrop, header: Any) -> Any:
    message = types.crop()
    message.x, message.y = crop.x, crop.y
    pixels = crop.mask.view(np.uint8) * np.uint8(255)
    fill_image(message.image, pixels, "mono8", header)
    return message
