"""Mask messages as JSON, figures and a table: what the recorder writes and the demo prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from sameo_model.runtime.masks import crop_to_rle
from sameo_model.runtime.overlay import draw_overlay, format_label
from sameo_model.runtime.types import ImageHW, MaskCrop, Uint8Array
from sameo_ros.messages.detections import detections_to_boxes
from sameo_ros.messages.detector_conventions import accept_detections
from sameo_ros.messages.masks import crop_to_mask

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def masks_to_json(message: Any, image_name: str, latency_ms: float | None) -> dict[str, Any]:
    """Turn a sameo_ros/AmodalMaskArray into what JSON can hold.

    The fields of the messages keep their names; a mask's image becomes a COCO RLE over the whole
    camera image (`segmentation`), and an unknown ratio becomes null.

    Args:
        message: The sameo_ros/AmodalMaskArray.
        image_name: Name of the file that the image came from.
        latency_ms: Time from the image's stamp to the message's arrival, milliseconds; None, in
            JSON null, where the stamp is of another clock.
    """
    stamp = message.header.stamp
    image_hw = message.image_height, message.image_width
    return {
        "image": image_name,
        "latency_ms": None if latency_ms is None else round(latency_ms, 1),
        "header": {
            "stamp": {"sec": stamp.sec, "nanosec": stamp.nanosec},
            "frame_id": message.header.frame_id,
        },
        "image_height": message.image_height,
        "image_width": message.image_width,
        "model": message.model,
        "masks": [_mask_to_json(mask, image_hw) for mask in message.masks],
    }


def draw_panels(image_rgb: Uint8Array, detections: Any, message: Any) -> Uint8Array:
    """Draw original, visible masks and amodal masks side by side, each under its title.

    Args:
        image_rgb: uint8 (H, W, 3), RGB, the camera image.
        detections: The vision_msgs/Detection2DArray or yolo_msgs/DetectionArray that was answered.
        message: The sameo_ros/AmodalMaskArray that answers it.

    Returns:
        uint8 (H', 3 W, 3), RGB.
    """
    amodal_masks = [crop_to_mask(mask.amodal) for mask in message.masks]
    visible_masks = [crop_to_mask(mask.visible) for mask in message.masks]
    boxes_xyxy = detections_to_boxes(accept_detections(detections)).boxes_xyxy
    boxes_xyxy = boxes_xyxy[[mask.detection_index for mask in message.masks]]
    labels = [
        format_label(mask.detection_index, mask.class_id, mask.occlusion_ratio)
        for mask in message.masks
    ]
    names = [format_label(mask.detection_index, mask.class_id) for mask in message.masks]
    panels = {
        "camera image and boxes": _draw_boxes(image_rgb, boxes_xyxy, names),
        "visible": draw_overlay(image_rgb, visible_masks, None, boxes_xyxy, names),
        "amodal, hidden part hatched": draw_overlay(
            image_rgb, amodal_masks, visible_masks, boxes_xyxy, labels
        ),
    }
    return np.hstack([_add_title(panel, title) for title, panel in panels.items()])


def format_table(records: Sequence[dict[str, Any]]) -> str:
    """Format records of `masks_to_json` as a table, one line per object.

    Args:
        records: At least one record.
    """
    rows = [("object", "class", "predicted IoU", "occlusion ratio", "latency")]
    for record in records:
        latency_ms = record["latency_ms"]
        for mask in record["masks"]:
            ratio = mask["occlusion_ratio"]
            rows.append(
                (
                    f"{record['image']}#{mask['detection_index']}",
                    mask["class_id"],
                    f"{mask['predicted_iou']:.2f}",
                    "unknown" if ratio is None else f"{ratio:.2f}",
                    "unknown" if latency_ms is None else f"{latency_ms:.0f} ms",
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
             for row in rows]  # fmt: skip
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _mask_to_json(mask: Any, image_hw: ImageHW) -> dict[str, Any]:
    ratio = float(mask.occlusion_ratio)
    return {
        "detection_index": mask.detection_index,
        "detection_id": mask.detection_id,
        "class_id": mask.class_id,
        "detection_score": mask.detection_score,
        "predicted_iou": mask.predicted_iou,
        "score": mask.score,
        "amodal": _crop_to_json(mask.amodal, image_hw),
        "visible": _crop_to_json(mask.visible, image_hw),
        "occlusion_ratio": None if math.isnan(ratio) else ratio,
        "occluded_by": list(mask.occluded_by),
    }


def _crop_to_json(message: Any, image_hw: ImageHW) -> dict[str, Any]:
    crop = crop_to_mask(message)
    return {
        "x": message.x,
        "y": message.y,
        "width": message.image.width,
        "height": message.image.height,
        "segmentation": crop_to_rle(crop, image_hw),
    }


def _draw_boxes(image_rgb: Uint8Array, boxes_xyxy: Any, labels: Sequence[str]) -> Uint8Array:
    nothing = [MaskCrop.empty() for _ in labels]
    return draw_overlay(image_rgb, nothing, None, boxes_xyxy, labels)


def _add_title(panel: Uint8Array, title: str) -> Uint8Array:
    height, width = panel.shape[:2]
    strip = np.full((max(18, height // 18), width, 3), 255, dtype=np.uint8)
    scale = strip.shape[0] / 34
    origin = strip.shape[0] // 4, round(strip.shape[0] * 0.7)
    cv2.putText(strip, title, origin, _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([strip, panel])
