"""What an affordable depth camera makes of true depth: noise, coarse steps, missing pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Depth = NDArray[np.float32]

BASELINE_M = 0.055
DISPARITY_STEP_PX = 1 / 8
MIN_RANGE_M, MAX_RANGE_M = 0.18, 8.0
GRAZING_DEG = 78.0  # surfaces seen flatter than this return too little light


def sense_depth(rng: np.random.Generator, depth_m: Depth, focal_px: float) -> Depth:
    """Return depth as a stereo or structured-light camera would measure it.

    Edges are shifted by a fraction of a pixel, disparities are noisy and come in steps of an eighth
    of a pixel (so the error grows with the square of the distance), and there is nothing where a
    surface is seen at a grazing angle, beside a nearer object's edge (which one of the two eyes
    does not see past), out of range, or here and there by chance.

    Args:
        depth_m: float32 (H, W), metres along the viewing direction, 0 where there is nothing.
        focal_px: Focal length in pixels.

    Returns:
        float32 (H, W), metres, 0 where nothing was measured.
    """
    shifted = _shift_edges(rng, depth_m)
    valid = (shifted > MIN_RANGE_M) & (shifted < MAX_RANGE_M)
    safe = np.where(valid, shifted, 1.0)
    disparity = focal_px * BASELINE_M / safe
    noise = _smooth_noise(rng, depth_m.shape) * 0.08 + rng.normal(0, 0.03, depth_m.shape)
    disparity = np.round((disparity + noise) / DISPARITY_STEP_PX) * DISPARITY_STEP_PX
    measured = focal_px * BASELINE_M / np.maximum(disparity, DISPARITY_STEP_PX)
    valid &= ~_is_grazing(safe, focal_px) & ~_is_shadowed(shifted, focal_px)
    valid &= _smooth_noise(rng, depth_m.shape) < 3.2
    valid &= rng.random(depth_m.shape) > 0.002
    return np.where(valid, measured, 0.0).astype(np.float32)


def _shift_edges(rng: np.random.Generator, depth_m: Depth) -> Depth:
    height, width = depth_m.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    rows += (_smooth_noise(rng, depth_m.shape, 1.5) * 0.6).astype(np.float32)
    columns += (_smooth_noise(rng, depth_m.shape, 1.5) * 0.6).astype(np.float32)
    shifted = cv2.remap(depth_m, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(shifted, np.float32)


def _smooth_noise(
    rng: np.random.Generator, image_hw: tuple[int, ...], sigma_px: float = 2.0
) -> NDArray[np.float32]:
    """Return float32 (H, W), spatially correlated, mean 0, standard deviation 1."""
    noise = cv2.GaussianBlur(rng.standard_normal(image_hw, dtype=np.float32), (0, 0), sigma_px)
    return np.asarray(noise / noise.std(), np.float32)


def _is_grazing(depth_m: NDArray[np.floating], focal_px: float) -> NDArray[np.bool_]:
    smooth = cv2.GaussianBlur(depth_m.astype(np.float32), (0, 0), 1.0)
    slope_x, slope_y = (cv2.Sobel(smooth, cv2.CV_32F, *d, scale=1 / 8) for d in ((1, 0), (0, 1)))
    # A pixel is depth / focal wide: the change of depth over it is the tangent of the angle.
    tangent = np.hypot(slope_x, slope_y) * focal_px / smooth
    return np.asarray(tangent > np.tan(np.radians(GRAZING_DEG)))


def _is_shadowed(depth_m: Depth, focal_px: float) -> NDArray[np.bool_]:
    """Return where the second eye, to the right of the first, sees a nearer object instead."""
    there = depth_m > 0
    disparity = np.where(there, focal_px * BASELINE_M / np.where(there, depth_m, 1.0), 0.0)
    columns = np.arange(depth_m.shape[1])
    # The second eye sees a point at its column minus its disparity. If something from further right
    # is seen there or left of there, it is nearer and hides the point.
    seen_at = columns - disparity
    nearest = np.minimum.accumulate(seen_at[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(seen_at > nearest + 1.0)
