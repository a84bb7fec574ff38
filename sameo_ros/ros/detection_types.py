"""Which type of message the detections topic carries."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import Any

from sameo_ros.messages.detector_conventions import VISION_TYPE, YOLO_TYPE

_NAMES = {"auto": VISION_TYPE, "vision_msgs": VISION_TYPE, "yolo_msgs": YOLO_TYPE}


def first_type(detections_type: str) -> str:
    """Return the type that is read before a publisher is seen."""
    return _NAMES[detections_type]


def choose_type(offered: Collection[str], current: str) -> tuple[str, str]:
    """Choose what to read on a topic by what its publishers offer.

    Returns:
        The type to read, and what is wrong with that in one sentence, "" if nothing.
    """
    if VISION_TYPE in offered:
        both = (
            "detections come as vision_msgs and as yolo_msgs on one topic: only the first are read"
        )
        return VISION_TYPE, both if YOLO_TYPE in offered else ""
    if YOLO_TYPE not in offered:
        return current, ""
    try:
        load_class(YOLO_TYPE)
    except ValueError as error:
        return current, str(error)
    return YOLO_TYPE, ""


def load_class(name: str) -> Any:
    """Return the class of a type, such as vision_msgs/msg/Detection2DArray.

    Raises:
        ValueError: If its package is not installed.
    """
    package, _, kind = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except ImportError as error:
        raise ValueError(
            f"detections of type {name} need the package {package}, which is not installed; build "
            "it and source its workspace before the node starts"
        ) from error
