"""Depth of one frame, checked against its image."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sameo_model.runtime.types import FloatArray, ImageHW
from sameo_ros.core.camera_model import CameraModel
from sameo_ros.core.depth_cache import DepthCache
from sameo_ros.core.frame_cache import Frame
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters
from sameo_ros.messages.conversions import depth_to_m

_MAX_MEDIAN_M = 100.0
_SAMPLE_STEP = 8
_DEPTH_REMEDY = "use depth that is registered to colour"
_INFO_REMEDY = "use that of the colour image"


def read_depth(
    cache: DepthCache,
    frame: Frame,
    image_hw: ImageHW,
    settings: SameoParameters,
    image_topic: str = "",
) -> SceneDepth | None:
    """Read the depth that belongs to an image.

    Args:
        frame: The image.
        image_hw: Its height and width, pixels.
        settings: `depth_tolerance_s` and `rectified` count.
        image_topic: Name of the images' topic; counts for `rectified: auto`.

    Returns:
        The depth, or None if no depth image is near enough in time.

    Raises:
        ValueError: If depth image or camera_info cannot be used; the message says why.
    """
    image, camera_info = cache.find(frame.stamp_ns, time.monotonic(), settings.depth_tolerance_s)
    if image is None:
        return None
    depth_m = depth_to_m(image)
    depth_hw = depth_m.shape[0], depth_m.shape[1]
    _check_size("depth image", depth_hw, image_hw, _DEPTH_REMEDY)
    frame_id = frame.message.header.frame_id
    complaint = _doubt_unit(depth_m) or _doubt_frame("depth image", image, frame_id, _DEPTH_REMEDY)
    if camera_info is None:
        return SceneDepth(depth_m, None, complaint)
    camera = CameraModel.from_message(camera_info, settings.rectified, image_topic)
    _check_size("camera_info", camera.image_hw, image_hw, _INFO_REMEDY)
    complaint = complaint or _doubt_frame("camera_info", camera_info, frame_id, _INFO_REMEDY)
    return SceneDepth(depth_m, camera, complaint)


def _doubt_unit(depth_m: FloatArray) -> str:
    """Say that depth is too large for metres; "" if it is not."""
    sample = depth_m[::_SAMPLE_STEP, ::_SAMPLE_STEP].astype(np.float64)
    median_m = np.median(sample[np.isfinite(sample)]) if np.isfinite(sample).any() else 0.0
    if median_m <= _MAX_MEDIAN_M:
        return ""
    return (
        f"32FC1 depth must be in metres; its median is {median_m:.0f}: send metres, or "
        "millimetres as 16UC1"
    )


def _doubt_frame(subject: str, message: Any, frame_id: str, remedy: str) -> str:
    """Say that a message is of another frame than the colour image; "" if it is not."""
    other = message.header.frame_id
    if not other or not frame_id or other == frame_id:
        return ""
    return (
        f"{subject} must have the frame_id of the colour image, {frame_id!r}; got {other!r}: "
        f"{remedy}"
    )


def _check_size(subject: str, size_hw: ImageHW, image_hw: ImageHW, remedy: str) -> None:
    if size_hw != image_hw:
        raise ValueError(
            f"{subject} must have the size of the colour image, {image_hw[1]}x{image_hw[0]}; got "
            f"{size_hw[1]}x{size_hw[0]}: {remedy}"
        )
