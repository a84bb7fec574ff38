"""ROS messages as values of ours, and our values as ROS messages.

Messages are duck-typed: nothing here imports ROS.
"""

from sameo_ros.core.answer import Answer, DetectedBoxes
from sameo_ros.messages.detections import (
    DetectionMessageTypes,
    detections_to_boxes,
    fill_detections,
)
from sameo_ros.messages.masks import MaskMessageTypes, crop_to_mask, fill_mask_array

__all__ = [
    "Answer",
    "DetectedBoxes",
    "DetectionMessageTypes",
    "MaskMessageTypes",
    "crop_to_mask",
    "detections_to_boxes",
    "fill_detections",
    "fill_mask_array",
]
