"""Depth of one frame, checked against its image."""

from __future__ import annotations

import time

from sameo_model.runtime.types import ImageHW
from sameo_ros.core.camera_model import CameraModel
from sameo_ros.core.depth_cache import DepthCache
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters
from sameo_ros.messages.conversions import depth_to_m


def read_depth(
    cache: DepthCache,
    stamp_ns: int,
    image_hw: ImageHW,
    settings: SameoParameters,
    image_topic: str = "",
) -> SceneDepth | None:
    """Read the depth that belongs to an image.

    Args:
        stamp_ns: Stamp of the image, nanoseconds.
        image_hw: Its height and width, pixels.
        settings: Say how far the stamps may differ and whether the images are rectified.
        image_topic: Name of the images' topic, which counts where `rectified` is auto.

    Returns:
        The depth, or None if no depth image is near enough in time.

    Raises:
        ValueError: If depth image or camera_info cannot be used; the message says why.
    """
    image, camera_info = cache.find(stamp_ns, time.monotonic(), settings.depth_tolerance_s)
    if image is None:
        return None
    depth_m = depth_to_m(image)
    depth_hw = depth_m.shape[0], depth_m.shape[1]
    _check_size("depth image", depth_hw, image_hw, "use depth that is registered to colour")
    if camera_info is None:
        return SceneDepth(depth_m, None)
    camera = CameraModel.from_message(camera_info, settings.rectified, image_topic)
    _check_size("camera_info", camera.image_hw, image_hw, "use that of the colour image")
    return SceneDepth(depth_m, camera)


def _check_size(subject: str, size_hw: ImageHW, image_hw: ImageHW, remedy: str) -> None:
    if size_hw != image_hw:
        raise ValueError(
            f"{subject} must have the size of the colour image, {image_hw[1]}x{image_hw[0]}; got "
            f"{size_hw[1]}x{size_hw[0]}: {remedy}"
        )
