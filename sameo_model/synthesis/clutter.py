"""Clutter of cut-out objects: how many, how large, where, and how much each hides of another."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.cutouts import Cutouts
from sameo_model.synthesis.pasting import Canvas, Layer, Light, Rng, draw_light, make_layer, paste
from sameo_model.synthesis.placement import overlap_area, solve_offset

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ClutterOptions:
    """How cut-outs lie."""

    objects: tuple[int, int] = (3, 14)  # smallest and largest number of objects
    # smallest and largest size of an object (square root of its area) as a share of the image's
    # height
    size: tuple[float, float] = (0.04, 0.42)
    # objects of one image differ by up to this factor from its common size
    size_jitter: float = 1.4
    # share of objects that are laid onto a chosen object, to hide a chosen part
    on_another: float = 0.62
    # share of those that hide 0.3 to 0.8 of it; the others hide 0.06 to 0.3
    large_share: float = 0.5
    max_hidden: float = 0.85  # no object is hidden more than this
    crowded: float = 0.4  # share of images with many objects close together
    bins: float = 0.6  # share of the crowded ones whose objects lie in a bin


@dataclass
class Clutter:
    """An image that is being filled."""

    canvas: Canvas  # float32 (H, W, 3), RGB, 0 to 255
    # bool (H, W) for each object, whole extent inside the image, bottom one first
    amodal: list[Mask] = field(default_factory=list)
    # bool (H, W) for each object, what later ones leave of it
    visible: list[Mask] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)

    def hidden_shares(self) -> NDArray[np.float64]:
        """Return how much of each object is hidden, float64 (N,), in [0, 1]."""
        whole = np.array([np.count_nonzero(mask) for mask in self.amodal], float)
        seen = np.array([np.count_nonzero(mask) for mask in self.visible], float)
        return 1 - seen / np.maximum(whole, 1)


@dataclass(frozen=True)
class ClutterRegion:
    """Where objects lie: a normal distribution around a centre, pixels, cut at `box_xyxy`."""

    centre_xy: tuple[float, float]
    spread_xy: tuple[float, float]
    box_xyxy: tuple[float, float, float, float]

    def draw(self, rng: Rng) -> NDArray[np.float64]:
        """Draw a position, float64 (2,), x and y."""
        point = rng.normal(self.centre_xy, self.spread_xy)
        return np.clip(point, self.box_xyxy[:2], self.box_xyxy[2:])


def draw_clutter(
    rng: Rng, background: Canvas, enlargement: float, cutouts: Cutouts, options: ClutterOptions
) -> Clutter:
    """Fill an image with cut-outs.

    Args:
        background: float32 (H, W, 3), RGB, 0 to 255; it becomes the image.
    """
    clutter = Clutter(background)
    image_hw = (background.shape[0], background.shape[1])
    count, is_crowded = _draw_count(rng, options)
    size_px = _draw_size(rng, count, image_hw, options)
    region = _region(rng, count, size_px, image_hw, is_crowded=is_crowded)
    light = draw_light(rng, background, enlargement)
    if is_crowded and rng.random() < options.bins:
        region = draw_bin(rng, background, light)
        size_px = min(size_px, 0.6 * (region.box_xyxy[3] - region.box_xyxy[1]))
    is_lying = rng.random() < 0.75  # seen from above: any angle; else objects stand
    for _ in range(count):
        ratio = options.size_jitter ** rng.uniform(-1, 1)
        angle = rng.uniform(0, 2 * np.pi) if is_lying else rng.normal(0, 0.12)
        cutout, category = cutouts.draw(rng)
        target = _choose_target(rng, clutter, options)
        size = size_px if target is None else np.sqrt(np.count_nonzero(clutter.amodal[target]))
        # Similar sizes; small cut-outs are not enlarged until they are a blur.
        own = np.sqrt(np.count_nonzero(cutout.alpha > 127))
        layer = make_layer(rng, cutout, min(size * ratio, 1.6 * own), angle, light)
        place = _find_place(rng, clutter, layer, target, region, options)
        if place is None:
            continue
        mask = paste(rng, clutter.canvas, layer, *place, light)
        for part in clutter.visible:
            part &= ~mask
        clutter.amodal.append(mask)
        clutter.visible.append(mask.copy())
        clutter.categories.append(category)
    return clutter


def _draw_count(rng: Rng, options: ClutterOptions) -> tuple[int, bool]:
    low, high = options.objects
    if rng.random() < options.crowded:
        return int(rng.integers((low + 2 * high) // 3, high + 1)), True
    return int(rng.integers(low, max(low + 1, (low + 3 * high) // 4))), False


def _draw_size(rng: Rng, count: int, image_hw: tuple[int, int], options: ClutterOptions) -> float:
    """Draw the common size, pixels; so many objects must find room."""
    low, high = (share * image_hw[0] for share in options.size)
    room = 0.95 * np.sqrt(image_hw[0] * image_hw[1] / count)
    high = max(low * 1.5, min(high, room))
    return float(np.exp(rng.triangular(np.log(low), np.log(high), np.log(high))))


def _region(
    rng: Rng, count: int, size_px: float, image_hw: tuple[int, int], *, is_crowded: bool
) -> ClutterRegion:
    height, width = image_hw
    spread = size_px * np.sqrt(count) * (0.35 if is_crowded else rng.uniform(0.4, 0.9))
    spread_xy = (min(spread * 1.2, 0.35 * width), min(spread, 0.35 * height))
    centre = rng.uniform((0.3, 0.3), (0.7, 0.7)) * (width, height)
    return ClutterRegion(
        (float(centre[0]), float(centre[1])),
        spread_xy,
        (-0.1 * size_px, -0.1 * size_px, width + 0.1 * size_px, height + 0.1 * size_px),
    )


def draw_bin(rng: Rng, canvas: Canvas, light: Light) -> ClutterRegion:
    """Draw a bin seen from above into an image and return where in it objects lie.

    Args:
        canvas: float32 (H, W, 3), changed.
    """
    height, width = canvas.shape[:2]
    half = rng.uniform((0.36, 0.38), (0.52, 0.54)) * (width, height)
    centre = rng.uniform((0.45, 0.45), (0.55, 0.55)) * (width, height)
    taper = rng.uniform(0.0, 0.08, 2)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    outer = corners * half
    outer[:2, 0] *= 1 - taper[0]
    inner = outer * (1 - rng.uniform(0.08, 0.22)) + rng.normal(0, 0.01, 2) * width
    outer, inner = outer + centre, inner + centre
    grey = rng.uniform(20, 230)
    colour = grey + rng.uniform(0, 0.8) * (rng.uniform(25, 215, 3) - grey)
    drawn = np.clip(canvas, 0, 255).astype(np.uint8)
    floor = colour * rng.uniform(0.7, 1.1) * np.exp(rng.normal(0, 0.05, 3))
    if rng.random() < 0.4:  # the floor is the background itself: a frame around it
        floor_mask = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(floor_mask, _pixels(inner), 1, cv2.LINE_AA, 4)
        kept = floor_mask > 0
    else:
        kept = np.zeros((height, width), bool)
    cv2.fillConvexPoly(drawn, _pixels(outer), colour.tolist(), cv2.LINE_AA, 4)
    for side in range(4):
        following = (side + 1) % 4
        normal = (corners[side] + corners[following]) / 2
        bright = 1 + 1.2 * float(normal @ np.array(light.shade_xy)) + rng.normal(0, 0.06)
        wall = np.stack([outer[side], outer[following], inner[following], inner[side]])
        cv2.fillConvexPoly(drawn, _pixels(wall), (colour * bright).tolist(), cv2.LINE_AA, 4)
    cv2.fillConvexPoly(drawn, _pixels(inner), floor.tolist(), cv2.LINE_AA, 4)
    blurred = cv2.GaussianBlur(drawn, (0, 0), rng.uniform(0.5, 1.0)).astype(np.float32)
    blurred += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(
        max(light.noise, rng.uniform(0.3, 2.0))
    )
    canvas[~kept] = np.clip(blurred, 0, 255)[~kept]
    low, high = inner.min(axis=0), inner.max(axis=0)
    low, high = np.maximum(low, 0), np.minimum(high, (width, height))
    spread = 0.3 * (high - low)
    middle = (low + high) / 2
    return ClutterRegion(
        (float(middle[0]), float(middle[1])),
        (float(spread[0]), float(spread[1])),
        (float(low[0]), float(low[1]), float(high[0]), float(high[1])),
    )


def _pixels(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.round(points * 16).astype(np.int32)


def _choose_target(rng: Rng, clutter: Clutter, options: ClutterOptions) -> int | None:
    """Return an object that nearly nothing hides, for the next one to be laid onto; or None."""
    if not clutter.amodal or rng.random() >= options.on_another:
        return None
    free = np.flatnonzero(clutter.hidden_shares() < 0.06)
    return int(rng.choice(free)) if free.size else None


def _find_place(
    rng: Rng,
    clutter: Clutter,
    layer: Layer,
    target: int | None,
    region: ClutterRegion,
    options: ClutterOptions,
) -> tuple[int, int] | None:
    """Return column and row of a layer's top left corner, None if it fits nowhere.

    With a target, it hides the drawn share of it. No object gets hidden more than allowed, and
    objects that were meant to be hidden little are not hidden by the way.
    """
    for attempt in range(12):
        if target is not None and attempt < 6:
            place = _onto(rng, clutter.amodal[target], layer, options)
        else:
            centre = region.draw(rng)
            size_wh = np.array(layer.alpha.shape[::-1])
            x, y = np.round(centre - size_wh / 2).astype(int)
            place = (int(x), int(y))
        if place is not None and _is_allowed(clutter, layer, place, options):
            return place
    return None


def _onto(rng: Rng, target: Mask, layer: Layer, options: ClutterOptions) -> tuple[int, int] | None:
    is_large = rng.random() < options.large_share
    rate = rng.uniform(0.32, 0.8) if is_large else rng.uniform(0.06, 0.3)
    x, y, width, height = cv2.boundingRect(target.view(np.uint8))
    crop = target[y : y + height, x : x + width]
    solution = solve_offset(crop, layer.mask, rate, rng.uniform(0, 2 * np.pi))
    if not solution.is_reached and solution.rate < 0.6 * rate:
        return None
    return x + solution.x, y + solution.y


def _is_allowed(
    clutter: Clutter, layer: Layer, place: tuple[int, int], options: ClutterOptions
) -> bool:
    mask = layer.mask
    height, width = clutter.canvas.shape[:2]
    everywhere = np.ones((height, width), bool)
    if overlap_area(everywhere, mask, *place) < 0.5 * np.count_nonzero(mask):
        return False
    for whole, seen in zip(clutter.amodal, clutter.visible, strict=True):
        left = np.count_nonzero(seen) - overlap_area(seen, mask, *place)
        if left < (1 - options.max_hidden) * np.count_nonzero(whole):
            return False
    return True
