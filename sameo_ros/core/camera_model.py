"""From pixels to rays: the calibration of a camera as sensor_msgs/CameraInfo gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import ImageHW
from sameo_ros.core.lens import (
    FISHEYE_LENGTHS,
    PINHOLE_LENGTHS,
    undistort_fisheye,
    undistort_pinhole,
)

# 89.9 degrees off the axis: no lens that depth is registered to sees further.
_MAX_SLOPE = 1e3
# Spellings of drivers and calibration tools, in lower case with _ for - and blanks.
_FISHEYE_MODELS = {
    "equidistant", "equidist", "equi", "fisheye", "opencv_fisheye", "kannala_brandt",
    "kannala_brandt4",
}  # fmt: skip
_PINHOLE_MODELS = {
    "plumb_bob", "rational_polynomial", "rational", "radtan", "radial_tangential",
    "brown_conrady", "opencv", "thin_prism", "thin_prism_model", "tilted",
}  # fmt: skip
_NO_MODELS = {"", "none", "pinhole"}

RECTIFIED = ("auto", "on", "off")


@dataclass(frozen=True, eq=False)
class CameraModel:
    """Intrinsics of one camera."""

    # float64 (3, 3), focal lengths and principal point, pixels: K of CameraInfo, or P for a
    # rectified image; less the offset of a region of interest, divided by the binning
    matrix: npt.NDArray[np.float64]
    # float64 (D,), coefficients (CameraInfo's D); all zero or empty: none
    distortion: npt.NDArray[np.float64]
    # whether the lens follows the equidistant model, also with coefficients of zero
    is_fisheye: bool
    image_hw: ImageHW  # height and width of the images, pixels
    frame_id: str  # the optical frame: z forward, x to the right, y down

    @classmethod
    def from_message(
        cls, message: Any, rectified: str = "auto", image_topic: str = ""
    ) -> CameraModel:
        """Read a sensor_msgs/CameraInfo.

        Args:
            message: The sensor_msgs/CameraInfo.
            rectified: Whether the images are rectified: on, off, or auto (see `is_rectified`).
            image_topic: Name of the images' topic; counts for auto.

        Raises:
            ValueError: If it holds no calibration that can be used.
        """
        frame_id = str(message.header.frame_id)
        image_hw, origin_xy, binning_xy = _read_window(message)
        if is_rectified(message, rectified, image_topic):
            matrix, distortion, is_fisheye = _rectified_matrix(message), np.zeros(0), False
        else:
            matrix = np.array(message.k, dtype=np.float64).reshape(3, 3)
            _check_focal_lengths(matrix, "K")
            distortion, is_fisheye = _read_distortion(message)
        matrix = matrix.copy()
        matrix[:2, 2] -= origin_xy
        matrix[:2] /= np.array(binning_xy, dtype=np.float64)[:, None]
        return cls(matrix, distortion, is_fisheye, image_hw, frame_id)

    def pixels_to_rays(self, pixels_xy: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Turn pixels into directions, lens distortion undone.

        Args:
            pixels_xy: (N, 2), column and row; whole numbers are pixel centres.

        Returns:
            float64 (N, 2), x / z and y / z in the optical frame; NaN where a pixel lies outside
            what the lens can see.
        """
        pixels = np.asarray(pixels_xy, dtype=np.float64).reshape(-1, 2)
        centre, focal = self.matrix[:2, 2], self.matrix[[0, 1], [0, 1]]
        with np.errstate(over="ignore"):
            rays: npt.NDArray[np.float64] = (pixels - centre) / focal
        # Such a calibration is none, and squares of its points would not fit.
        rays[np.abs(rays) > _MAX_SLOPE] = np.nan
        if self.is_fisheye:
            return undistort_fisheye(rays, self.distortion)
        return undistort_pinhole(rays, self.distortion) if self.distortion.any() else rays


def is_rectified(message: Any, rectified: str, image_topic: str = "") -> bool:
    """Say whether images of a camera are rectified, so that P of its camera_info counts.

    `auto` goes by the name of the images' topic: `rect` or `rectified` as a part of it (as in
    `image_rect_color`) says yes, `raw` no. Without such a part, yes if P differs from K, which
    distorts: P is then that of the rectified image, and ROS registers depth to that one.

    Args:
        message: The sensor_msgs/CameraInfo.
        rectified: on, off or auto.
        image_topic: Name of the images' topic.

    Raises:
        ValueError: If `rectified` is none of these.
    """
    if rectified not in RECTIFIED:
        raise ValueError(f"rectified must be one of {', '.join(RECTIFIED)}; got {rectified!r}")
    if rectified != "auto":
        return rectified == "on"
    parts = set(re.split(r"[/_]", image_topic.lower()))
    if parts & {"raw", "unrectified", "unrect", "distorted"}:
        return False
    distorts = bool(np.any(message.d)) or _spelling(message) in _FISHEYE_MODELS
    p = np.array(getattr(message, "p", ()), dtype=np.float64)
    has_p = len(p) == 12 and bool(p[0] > 0)
    if parts & {"rect", "rectified", "undistorted"}:
        return distorts or has_p  # else K is that of the rectified image
    return (
        has_p and distorts and not np.allclose(p.reshape(3, 4)[:, :3].ravel(), message.k, rtol=1e-6)
    )


def _rectified_matrix(message: Any) -> npt.NDArray[np.float64]:
    p = np.array(getattr(message, "p", ()), dtype=np.float64)
    matrix = p.reshape(3, 4)[:, :3] if len(p) == 12 else np.zeros((3, 3))
    _check_focal_lengths(matrix, "P of a rectified image")
    return matrix


def _check_focal_lengths(matrix: npt.NDArray[np.float64], subject: str) -> None:
    if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(
            f"camera_info must hold focal lengths above 0 in {subject}; "
            f"got {matrix[0, 0]} and {matrix[1, 1]}: calibrate the camera"
        )


def _read_distortion(message: Any) -> tuple[npt.NDArray[np.float64], bool]:
    """Return the coefficients and whether they are those of the equidistant model."""
    distortion = np.array(message.d, dtype=np.float64)
    model = _spelling(message)
    if not np.isfinite(distortion).all():
        raise ValueError(
            f"camera_info must hold finite coefficients in D; got {distortion.tolist()}: "
            "calibrate the camera"
        )
    if model in _NO_MODELS and not distortion.any():
        return np.zeros(0), False
    if model not in _FISHEYE_MODELS | _PINHOLE_MODELS:
        raise ValueError(
            "camera_info must have the distortion_model plumb_bob, rational_polynomial or "
            f"equidistant; got {str(message.distortion_model)!r}: rectify the images and set "
            "rectified to on"
        )
    is_fisheye = model in _FISHEYE_MODELS
    lengths = FISHEYE_LENGTHS if is_fisheye else PINHOLE_LENGTHS
    if len(distortion) not in lengths:
        known = "4" if is_fisheye else "4, 5, 8, 12 or 14"
        raise ValueError(
            f"camera_info of model {message.distortion_model} must hold {known} coefficients in D, "
            f"or none; got {len(distortion)}: calibrate the camera"
        )
    return distortion, is_fisheye


def _spelling(message: Any) -> str:
    return re.sub(r"[\s-]+", "_", str(message.distortion_model).strip().lower())


def _read_window(message: Any) -> tuple[ImageHW, tuple[int, int], tuple[int, int]]:
    """Return size (height, width) of the images, and offset and binning (x, y) of their pixels."""
    # Zero means one here, as image_geometry reads it.
    binning_x = max(int(getattr(message, "binning_x", 0)), 1)
    binning_y = max(int(getattr(message, "binning_y", 0)), 1)
    roi = getattr(message, "roi", None)
    height, width, origin_xy = int(message.height), int(message.width), (0, 0)
    if roi is not None and roi.height and roi.width:
        height, width = int(roi.height), int(roi.width)
        origin_xy = int(roi.x_offset), int(roi.y_offset)
    return (height // binning_y, width // binning_x), origin_xy, (binning_x, binning_y)
