"""Draw cameras that see the clutter from above, obliquely and from near the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.stage import Stage

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera with square pixels and the principal point in the middle of the image."""

    position: Array  # float64 (3,), xyz in metres in the world
    rotation: Array  # float64 (3, 3), world from camera; columns right, down, forward (OpenCV)
    fovy_deg: float  # vertical field of view in degrees

    def focal_px(self, height: int) -> float:
        """Return the focal length in pixels of an image of that height."""
        return float(height / 2 / np.tan(np.radians(self.fovy_deg) / 2))

    def project(self, points: Array, image_hw: tuple[int, int]) -> tuple[Array, Array]:
        """Project world points float64 (P, 3), metres.

        Returns:
            float64 (P, 2), xy in pixels (meaningful where the depth is positive), and float64
            (P,), depth along the viewing direction in metres.
        """
        local = (points - self.position) @ self.rotation
        depth = local[:, 2]
        safe = np.where(depth > 1e-6, depth, 1e-6)
        height, width = image_hw
        xy = local[:, :2] / safe[:, None] * self.focal_px(height) + np.array([width, height]) / 2
        return xy, depth


def look_at(position: Array, target: Array, roll_rad: float = 0.0) -> Array:
    """Return float64 (3, 3), world from camera (right, down, forward), looking at `target`."""
    forward = (target - position) / np.linalg.norm(target - position)
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll_rad), np.sin(roll_rad)
    return np.stack([cosine * right + sine * down, cosine * down - sine * right, forward], axis=1)


def sample_elevation_deg(rng: np.random.Generator, stage: Stage) -> float:
    """Draw an elevation: a quarter from above, the rest oblique or low; steeper into a bin.

    A shelf is only seen from in front of its boards.
    """
    if stage.kind == "shelf":
        return float(rng.uniform(2, 32))
    kind = rng.random()
    if kind < 0.22:
        return float(rng.uniform(62, 89))
    if stage.kind == "bin":
        return float(rng.uniform(28, 62))
    return float(rng.uniform(28, 62) if kind < 0.62 else rng.uniform(6, 28))


def sample_camera(
    rng: np.random.Generator,
    stage: Stage,
    centres: Array,
    sizes_m: Array,
    image_hw: tuple[int, int],
) -> PinholeCamera:
    """Draw a camera for objects at `centres` (N, 3) with longest sides `sizes_m` (N,), float64, m.

    The field of view is 35 to 90 degrees along the longer side of the image, and the distance such
    that the typical object spans about 80 to 190 pixels of a 640 pixels wide image.
    """
    height, width = image_hw
    fov_rad = np.radians(rng.uniform(35, 90))
    fovy_deg = float(np.degrees(2 * np.arctan(np.tan(fov_rad / 2) * height / max(height, width))))
    focal = max(height, width) / 2 / np.tan(fov_rad / 2)
    span_px = np.exp(rng.uniform(np.log(80), np.log(190))) * max(height, width) / 640
    distance = float(np.clip(focal * 0.85 * np.median(sizes_m) / span_px, 0.22, 2.2))
    elevation, azimuth = np.radians(sample_elevation_deg(rng, stage)), rng.uniform(0, 2 * np.pi)
    if stage.kind == "shelf":  # open towards -y
        azimuth = -np.pi / 2 + (azimuth / np.pi - 1) * np.radians(50)
    direction = np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    spread = centres.std(axis=0) * np.array([1, 1, 0])
    target = np.median(centres, axis=0) + rng.normal(0, 0.45, 3) * spread
    position = target + distance * direction
    for _ in range(20):
        clear = np.linalg.norm(centres - position, axis=1) - sizes_m / 2
        if clear.min() > 0.1 and position[2] > 0.03:
            break
        position = position + 0.08 * distance * direction + np.array([0, 0, 0.01])
    rotation = look_at(position, target, float(np.radians(rng.normal(0, 4))))
    return PinholeCamera(position, rotation, fovy_deg)
