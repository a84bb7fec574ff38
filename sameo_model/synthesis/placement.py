"""Where an occluder goes so that it hides a wanted share of a target (paper section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class OcclusionRange:
    """Distribution of requested occlusion rates: a beta distribution on [lowest, highest]."""

    mean: float = 0.345  # mean of the distribution; the paper's Table 1 has 0.345 for Amodal-LVIS
    lowest: float = 0.05  # smallest rate
    highest: float = 0.75  # largest rate; objects of which less is seen can hardly be prompted
    # sum of the beta distribution's parameters; the larger, the narrower
    concentration: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.lowest < self.mean < self.highest < 1 or self.concentration <= 0:
            raise ValueError(
                f"occlusion rates must have 0 < lowest < mean < highest < 1 and a positive "
                f"concentration, got {self}"
            )

    def sample(self, generator: np.random.Generator) -> float:
        """Draw one rate."""
        share = (self.mean - self.lowest) / (self.highest - self.lowest)
        alpha, beta = share * self.concentration, (1 - share) * self.concentration
        return self.lowest + (self.highest - self.lowest) * float(generator.beta(alpha, beta))


@dataclass(frozen=True)
class OccluderOffset:
    """Solution of `solve_offset`."""

    x: int  # column of the occluder's left edge, relative to the target crop's left edge
    y: int  # row of the occluder's top edge, relative to the target crop's top edge
    rate: float  # share of the target's pixels that the occluder covers there
    # false if the occluder cannot hide as much as was wanted; it is centred then
    is_reached: bool = True


def solve_offset(
    target_mask: np.ndarray, occluder_mask: np.ndarray, rate: float, direction_rad: float
) -> OccluderOffset:
    """Move an occluder along a ray from the target's centre until it hides the wanted share.

    The boxes bracket the solution: at the centre they overlap most, and from the distance on where
    they part nothing is hidden. Between the two, bisection on the masks finds the offset.

    Args:
        target_mask: bool (h, w), tight crop of the target.
        occluder_mask: bool (h', w'), crop of the occluder.
        rate: Wanted hidden share of the target, in (0, 1).
        direction_rad: Angle of the ray, from the x axis towards the y axis.

    Returns:
        The offset where the rate crosses the wanted one, or the centre if it does not.
    """
    area = np.count_nonzero(target_mask)
    direction = math.cos(direction_rad), math.sin(direction_rad)

    def place(distance: float) -> OccluderOffset:
        x = round((target_mask.shape[1] - occluder_mask.shape[1]) / 2 + distance * direction[0])
        y = round((target_mask.shape[0] - occluder_mask.shape[0]) / 2 + distance * direction[1])
        return OccluderOffset(x, y, overlap_area(target_mask, occluder_mask, x, y) / area)

    near, near_placement = 0.0, place(0.0)
    if near_placement.rate < rate:
        return replace(near_placement, is_reached=False)
    far = _parting_distance(target_mask.shape, occluder_mask.shape, direction)
    far_placement = place(far)
    while far - near > 0.5:
        middle = (near + far) / 2
        placement = place(middle)
        if placement.rate >= rate:
            near, near_placement = middle, placement
        else:
            far, far_placement = middle, placement
    # Nothing must not be taken for little: a composite has to hide something.
    if far_placement.rate > 0 and rate - far_placement.rate < near_placement.rate - rate:
        return far_placement
    return near_placement


def overlap_area(first: np.ndarray, second: np.ndarray, x: int, y: int) -> int:
    """Count the pixels that two masks share.

    Args:
        first: bool (h, w).
        second: bool (h', w'), its top left corner at column `x` and row `y` of `first`.
        x: May be negative.
        y: May be negative.
    """
    left, right = max(x, 0), min(x + second.shape[1], first.shape[1])
    top, bottom = max(y, 0), min(y + second.shape[0], first.shape[0])
    if left >= right or top >= bottom:
        return 0
    part = second[top - y : bottom - y, left - x : right - x]
    return int(np.count_nonzero(first[top:bottom, left:right] & part))


def touches_border(mask: np.ndarray) -> bool:
    """Return whether a mask, bool (H, W), reaches the border of its image."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _parting_distance(
    target_hw: tuple[int, ...], occluder_hw: tuple[int, ...], direction: tuple[float, float]
) -> float:
    """Return how far the centres must be apart for the boxes not to touch."""
    half_w = (target_hw[1] + occluder_hw[1]) / 2 + 1
    half_h = (target_hw[0] + occluder_hw[0]) / 2 + 1
    cos, sin = abs(direction[0]), abs(direction[1])
    return min(half_w / cos if cos else math.inf, half_h / sin if sin else math.inf)
