"""The frame in which 3D results are given."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Placement:
    """How the frame of the results lies to the camera's optical frame."""

    frame_id: str  # name of the frame of the results
    # float64 (3, 3); its rows are the frame's axes in the optical frame
    rotation: Array = field(default_factory=lambda: np.eye(3))
    # float64 (3,), the camera's position in the frame, metres
    translation_xyz: Array = field(default_factory=lambda: np.zeros(3))
    # float64 (3,), what is up in the frame, for labels
    up_xyz: Array = field(default_factory=lambda: np.array([0.0, -1.0, 0.0]))

    def place_points(self, points_xyz: npt.NDArray[np.floating]) -> Array:
        """Return float64 (..., 3), points of the optical frame in the frame of the results."""
        placed: Array = points_xyz @ self.rotation.T + self.translation_xyz
        return placed

    def place_axes(self, axes: Array) -> Array:
        """Return directions, as columns, in the frame of the results."""
        placed: Array = self.rotation @ axes
        return placed

    def place_covariance(self, covariance_xyz: Array) -> Array:
        """Return a covariance in the frame of the results."""
        placed: Array = self.rotation @ covariance_xyz @ self.rotation.T
        return placed


def axes_to_quaternion(axes: Array) -> tuple[float, float, float, float]:
    """Return x, y, z, w of the rotation whose matrix has these axes as columns."""
    vector = cv2.Rodrigues(np.asarray(axes, dtype=np.float64))[0].ravel()
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return 0.0, 0.0, 0.0, 1.0
    x, y, z = np.sin(angle / 2) * vector / angle
    return float(x), float(y), float(z), float(np.cos(angle / 2))
