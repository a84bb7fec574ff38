"""Depth of one frame, checked against its image."""

from __future__ import annotations

from dataclasses import dataclass

from sameo_model.runtime.types import FloatArray, ImageHW
from sameo_ros.camera_model import CameraModel
from sameo_ros.conversions import depth_to_m
from sameo_ros.depth_cache import DepthCache


@dataclass(frozen=True, eq=False)
class SceneDepth:
    """Depth that is registered to a colour image.

    Attributes:
        depth_m: float32 (H, W), metres, NaN where unknown.
        camera: Calibration of the image; None as long as no camera_info has come.
    """

    depth_m: FloatArray
    camera: CameraModel | None


def read_depth(
    cache: DepthCache, stamp_ns: int, image_hw: ImageHW, tolerance_s: float
) -> SceneDepth | None:
    """Read the depth that belongs to an image.

    Args:
        cache: The depth images that have come.
        stamp_ns: Stamp of the image, nanoseconds.
        image_hw: Its height and width, pixels.
        tolerance_s: Largest difference of the stamps.

    Returns:
        The depth, or None if no depth image is near enough in time.

    Raises:
        ValueError: If depth image or camera_info cannot be used; the message says why.
    """
    image, camera_info = cache.find(stamp_ns, tolerance_s)
    if image is None:
        return None
    depth_m = depth_to_m(image)
    _check_size("depth image", (depth_m.shape[0], depth_m.shape[1]), image_hw)
    if camera_info is None:
        return SceneDepth(depth_m, None)
    camera = CameraModel.from_message(camera_info)
    _check_size("camera_info", camera.image_hw, image_hw)
    return SceneDepth(depth_m, camera)


def _check_size(subject: str, size_hw: ImageHW, image_hw: ImageHW) -> None:
    if size_hw != image_hw:
        raise ValueError(
            f"{subject} must have the size of the colour image, {image_hw[1]}x{image_hw[0]}; got "
            f"{size_hw[1]}x{size_hw[0]}: use depth that is registered to colour"
        )
