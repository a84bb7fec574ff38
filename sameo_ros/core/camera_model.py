"""From pixels to rays: the calibration of a camera as sensor_msgs/CameraInfo gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import ImageHW

_FISHEYE_MODELS = ("equidistant", "fisheye")


@dataclass(frozen=True, eq=False)
class CameraModel:
    """Intrinsics of one camera.

    Attributes:
        matrix: float64 (3, 3), focal lengths and principal point (CameraInfo's K), pixels.
        distortion: float64 (D,), coefficients (CameraInfo's D); all zero or empty: none.
        is_fisheye: Whether the coefficients are those of the equidistant model.
        image_hw: Height and width of the calibrated image, pixels.
        frame_id: The optical frame: z forward, x to the right, y down.
    """

    matrix: npt.NDArray[np.float64]
    distortion: npt.NDArray[np.float64]
    is_fisheye: bool
    image_hw: ImageHW
    frame_id: str

    @classmethod
    def from_message(cls, message: Any) -> CameraModel:
        """Read a sensor_msgs/CameraInfo.

        Raises:
            ValueError: If it holds no calibration.
        """
        matrix = np.array(message.k, dtype=np.float64).reshape(3, 3)
        if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise ValueError(
                "camera_info must hold focal lengths above 0 in K; "
                f"got {matrix[0, 0]} and {matrix[1, 1]}: calibrate the camera"
            )
        return cls(
            matrix=matrix,
            distortion=np.array(message.d, dtype=np.float64),
            is_fisheye=message.distortion_model in _FISHEYE_MODELS,
            image_hw=(int(message.height), int(message.width)),
            frame_id=str(message.header.frame_id),
        )

    def pixels_to_rays(self, pixels_xy: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Turn pixels into directions, lens distortion undone.

        Args:
            pixels_xy: (N, 2), column and row; whole numbers are pixel centres.

        Returns:
            float64 (N, 2), x / z and y / z in the optical frame.
        """
        pixels = np.asarray(pixels_xy, dtype=np.float64).reshape(-1, 1, 2)
        if len(pixels) == 0:
            return np.zeros((0, 2))
        if not self.distortion.any():
            centre, focal = self.matrix[:2, 2], self.matrix[[0, 1], [0, 1]]
            rays: npt.NDArray[np.float64] = (pixels[:, 0] - centre) / focal
            return rays
        if self.is_fisheye:
            undone = cv2.fisheye.undistortPoints(pixels, self.matrix, self.distortion[:4])
        else:
            undone = cv2.undistortPoints(pixels, self.matrix, self.distortion)
        return np.asarray(undone, dtype=np.float64)[:, 0]
