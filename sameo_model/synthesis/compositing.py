"""Paste one complete object over another (paper section 3.3, synthetic occlusion generation)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from sameo_model.synthesis.placement import OcclusionRange, solve_offset

# By how much an occluder that cannot hide enough grows at a time.
GROWTH_STEP = 1.12


MAX_SCALE = 100.0


@dataclass(frozen=True)
class CompositeRule:
    """How two objects are combined."""

    # distribution of the requested occlusion rate
    occlusion: OcclusionRange = field(default_factory=OcclusionRange)
    # the occluder's size (square root of its area) is the target's, times or divided by up to 1 +
    # this
    size_jitter: float = 0.25
    # how much larger than that it may become where it could not hide enough
    max_growth: float = 1.6
    min_scale: float = 0.2  # smallest factor by which an occluder is resized
    max_scale: float = 2.0  # largest factor, because enlarged objects look blurred
    seam: Literal["hard", "feathered"] = "hard"  # "hard" as in the paper, or "feathered"
    feather_px: float = 2.0  # width of the soft rim inside the occluder's outline, in pixels

    def __post_init__(self) -> None:
        if not 0 < self.min_scale <= self.max_scale <= MAX_SCALE:
            raise ValueError(
                f"scales must have 0 < min_scale <= max_scale <= {MAX_SCALE:g}, got "
                f"{self.min_scale} and {self.max_scale}"
            )
        limits = {"size_jitter": (0, 10), "max_growth": (1, MAX_SCALE), "feather_px": (0, 100)}
        for name, (lowest, highest) in limits.items():
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(
                    f"{name} must be from {lowest} to {highest:g}, got {getattr(self, name)}"
                )
        if self.seam not in ("hard", "feathered"):
            raise ValueError(f"seam must be hard or feathered, got {self.seam!r}")


@dataclass(frozen=True)
class Occluder:
    """An object cut out of its photograph."""

    x: int  # column of the crop's left edge in its photograph, pixels
    y: int  # row of the crop's top edge
    mask: np.ndarray  # bool (h, w), tight
    rgb: np.ndarray  # uint8 (h, w, 3), RGB; what is off the mask is never shown


@dataclass(frozen=True)
class OccludedImage:
    """A photograph with an occluder pasted over its target."""

    image: np.ndarray  # uint8 (H, W, 3), RGB
    visible_mask: np.ndarray  # bool (H, W), what remains of the target
    occluder_mask: np.ndarray  # bool (H, W), the occluder as far as it lies in the image
    requested_rate: float  # hidden share that was asked for
    rate: float  # hidden share of the target
    scale: float  # factor by which the occluder was resized


def cut_out(image: np.ndarray, mask: np.ndarray) -> Occluder:
    """Cut an object out of its photograph.

    Args:
        image: uint8 (H, W, 3), RGB.
        mask: bool (H, W), at least one pixel True.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y, x = int(rows[0]), int(columns[0])
    window = slice(y, int(rows[-1]) + 1), slice(x, int(columns[-1]) + 1)
    return Occluder(x, y, np.ascontiguousarray(mask[window]), image[window])


def wanted_scale(target_area: float, occluder_area: float, jitter: float) -> float:
    """Return the factor that makes an occluder `jitter` times the target's size.

    Args:
        jitter: Wanted ratio of sizes, the square roots of the areas.
    """
    return jitter * math.sqrt(target_area / occluder_area)


def draw_size_ratio(rule: CompositeRule, generator: np.random.Generator) -> float:
    """Draw by how much the occluder's size differs from the target's."""
    limit = math.log1p(rule.size_jitter)
    return math.exp(generator.uniform(-limit, limit))


def compose(
    image: np.ndarray,
    target_mask: np.ndarray,
    occluder: Occluder,
    scale: float,
    rule: CompositeRule,
    generator: np.random.Generator,
) -> OccludedImage:
    """Hide a part of a target behind an occluder.

    Args:
        image: uint8 (H, W, 3), RGB, the target's photograph; it is left as it is.
        target_mask: bool (H, W), the complete target.
        scale: Factor by which to resize it; larger if it could not hide enough otherwise.
    """
    rate = rule.occlusion.sample(generator)
    direction_rad = generator.uniform(0, 2 * math.pi)
    target = cut_out(image, target_mask)
    largest = scale * rule.max_growth
    while True:
        alpha = _alpha(resize_mask(occluder.mask, scale), rule)
        # Where more of the target than of the occluder shows, the target is visible.
        placement = solve_offset(target.mask, alpha >= 0.5, rate, direction_rad)
        if placement.is_reached or scale >= largest:
            break
        scale = min(scale * GROWTH_STEP, largest)
    result = image.copy()
    x, y = target.x + placement.x, target.y + placement.y
    occluder_mask = _paste(result, _resize_rgb(occluder.rgb, alpha.shape), alpha, x, y)
    visible_mask = target_mask & ~occluder_mask
    hidden = 1 - np.count_nonzero(visible_mask) / np.count_nonzero(target_mask)
    return OccludedImage(result, visible_mask, occluder_mask, rate, hidden, scale)


def resize_mask(mask: np.ndarray, scale: float) -> np.ndarray:
    """Resize a mask by a factor, keeping its aspect; at least one pixel remains.

    Args:
        mask: bool (h, w).

    Returns:
        bool (h', w').
    """
    size_wh = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    soft = cv2.resize(mask.astype(np.uint8) * 255, size_wh, interpolation=_interpolation(scale))
    resized = soft >= 128
    return resized if resized.any() else soft == soft.max()


def _resize_rgb(rgb: np.ndarray, hw: tuple[int, ...]) -> np.ndarray:
    return cv2.resize(rgb, (hw[1], hw[0]), interpolation=_interpolation(hw[0] / rgb.shape[0]))


def _interpolation(scale: float) -> int:
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR


def _alpha(mask: np.ndarray, rule: CompositeRule) -> np.ndarray:
    """Return float32 (h, w), how much of the occluder shows: 0 off the object, 1 on it.

    A feathered rim lies inside the outline, so that nothing of the old background shows.
    """
    if rule.seam == "hard":
        return mask.astype(np.float32)
    padded = np.pad(mask.astype(np.uint8), 1)
    distance_px = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.clip(distance_px / (rule.feather_px + 1), 0, 1).astype(np.float32)


def _paste(
    image: np.ndarray, occluder_rgb: np.ndarray, alpha: np.ndarray, x: int, y: int
) -> np.ndarray:
    """Paste in place and return the occluder's bool (H, W) mask in the image."""
    height, width = image.shape[:2]
    left, right = max(x, 0), min(x + alpha.shape[1], width)
    top, bottom = max(y, 0), min(y + alpha.shape[0], height)
    inside = slice(top - y, bottom - y), slice(left - x, right - x)
    window, part, alpha = image[top:bottom, left:right], occluder_rgb[inside], alpha[inside]
    is_opaque, is_soft = alpha == 1, (alpha > 0) & (alpha < 1)
    window[is_opaque] = part[is_opaque]
    share = alpha[is_soft][:, None]
    window[is_soft] = np.round(share * part[is_soft] + (1 - share) * window[is_soft])
    occluder_mask = np.zeros((height, width), dtype=bool)
    occluder_mask[top:bottom, left:right] = alpha >= 0.5
    return occluder_mask
