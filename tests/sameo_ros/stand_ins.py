"""Plain objects with the fields of ROS messages, for tests without ROS."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np

from sameo_ros.messages.detections import DetectionMessageTypes
from sameo_ros.messages.masks import MaskMessageTypes


def stamp(seconds: float = 0.0) -> Any:
    whole = int(seconds)
    return SimpleNamespace(sec=whole, nanosec=round((seconds - whole) * 1e9))


def header(seconds: float = 1.0, frame_id: str = "camera") -> Any:
    return SimpleNamespace(stamp=stamp(seconds), frame_id=frame_id)


def empty_image() -> Any:
    return SimpleNamespace(
        header=header(0.0, ""), height=0, width=0, encoding="", is_bigendian=0, step=0,
        data=array("B"),
    )  # fmt: skip


def image(pixels: np.ndarray, encoding: str, padding: int = 0, seconds: float = 1.0) -> Any:
    """Return a sensor_msgs/Image with `padding` bytes of 99 behind each row."""
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return SimpleNamespace(
        header=header(seconds),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(pixels.dtype.byteorder == ">"),
        step=padded.shape[1],
        data=array("B", padded.tobytes()),
    )


def hypothesis(class_id: str, score: float) -> Any:
    return SimpleNamespace(hypothesis=SimpleNamespace(class_id=class_id, score=score))


def detection(
    centre_xy: tuple[float, float] = (0.0, 0.0),
    size_wh: tuple[float, float] = (0.0, 0.0),
    theta: float = 0.0,
    results: list[Any] | None = None,
    detection_id: str = "",
) -> Any:
    position = SimpleNamespace(x=centre_xy[0], y=centre_xy[1])
    centre = SimpleNamespace(position=position, theta=theta)
    box = SimpleNamespace(center=centre, size_x=size_wh[0], size_y=size_wh[1])
    return SimpleNamespace(header=None, bbox=box, results=results or [], id=detection_id)


def detections(*items: Any, seconds: float = 1.0) -> Any:
    return SimpleNamespace(header=header(seconds), detections=list(items))


def box_detection(x1: float, y1: float, x2: float, y2: float, **fields: Any) -> Any:
    return detection(((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1, y2 - y1), **fields)


def crop_message() -> Any:
    return SimpleNamespace(x=0, y=0, image=empty_image())


MASK_TYPES = MaskMessageTypes(mask_array=SimpleNamespace, mask=SimpleNamespace, crop=crop_message)
DETECTION_TYPES = DetectionMessageTypes(detection=detection, result=lambda: hypothesis("", 0.0))
