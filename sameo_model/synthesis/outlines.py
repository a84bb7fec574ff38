"""Flat composites of outlines: random shapes filled with photographs, pasted over photographs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.composites import Composite, CompositeOptions, Mask, stack_masks
from sameo_model.synthesis.photographs import Photographs

Window = tuple[slice, slice]

OUTLINE = "outline"
OUTLINE_POINTS = 72


def draw_outline_composite(
    photographs: Photographs, generator: np.random.Generator, options: CompositeOptions
) -> Composite:
    """Draw one composite of outlines."""
    height, width = options.image_hw
    image = _fill(photographs, generator, (height, width))
    amodal: list[Mask] = []
    visible: list[Mask] = []
    centre = generator.uniform((0.25, 0.25), (0.75, 0.75)) * (width, height)
    for _ in range(generator.integers(options.objects[0], options.objects[1] + 1)):
        size = height * np.exp(generator.uniform(*np.log(options.size)))
        position = centre + generator.normal(0, 0.17, 2) * (width, height)
        coverage = _outline(generator, size, position, (height, width))
        mask = coverage > 0.5
        if not mask.any():
            continue
        window = _window(coverage)
        texture = _fill(photographs, generator, (height, width), window)
        texture *= _shading(generator, mask)[window]
        _cast_shadow(image, coverage, generator)
        image[window] += coverage[window][..., None] * (texture - image[window])
        for part in visible:
            part[window] &= ~mask[window]
        amodal.append(mask)
        visible.append(mask.copy())
    return Composite(
        np.clip(image, 0, 255, out=image).astype(np.uint8),
        stack_masks(amodal, options.image_hw),
        stack_masks(visible, options.image_hw),
        (OUTLINE,) * len(amodal),
    )


def _fill(
    photographs: Photographs,
    generator: np.random.Generator,
    image_hw: tuple[int, int],
    window: Window = (slice(None), slice(None)),
) -> NDArray[np.float32]:
    """Return a window float32 (h, w, 3) of a random texture of the image's size.

    It is mostly a crop of a photograph, else plain.
    """
    height, width = image_hw
    if generator.random() < 0.25:
        corners = generator.uniform(20, 235, 3) + generator.normal(0, 25, (2, 2, 3))
        plain = np.asarray(cv2.resize(corners.astype(np.float32), (width, height)), np.float32)
        noise = generator.normal(0, generator.uniform(0, 6), (height, width, 1))
        return plain[window] + noise[window].astype(np.float32)
    photograph, _ = photographs.draw(generator)
    rows, columns = photograph.shape[:2]
    share = generator.uniform(0.15, 1.0)
    crop_h = max(16, int(min(rows, columns * height / width) * share))
    crop_w = max(16, int(crop_h * width / height))
    y = generator.integers(0, max(1, rows - crop_h))
    x = generator.integers(0, max(1, columns - crop_w))
    crop = photograph[y : y + crop_h, x : x + crop_w]
    if generator.random() < 0.5:
        crop = np.asarray(cv2.flip(crop, 1), np.uint8)
    filled = np.asarray(cv2.resize(crop, (width, height))[window], np.float32)
    tint = np.exp(generator.normal(0, 0.15, 3)) * np.exp(generator.normal(0, 0.25))
    filled *= tint.astype(np.float32)
    return filled


def _outline(
    generator: np.random.Generator,
    size: float,
    position: NDArray[np.float64],
    image_hw: tuple[int, int],
) -> NDArray[np.float32]:
    """Return the coverage float32 (H, W) in [0, 1] of a random outline."""
    kinds = (_blob, _polygon, _superellipse, _profile, _profile, _superellipse)
    points = kinds[generator.integers(len(kinds))](generator)
    parts = [points]
    if generator.random() < 0.25:
        extra = kinds[generator.integers(len(kinds))](generator)
        parts.append(extra * generator.uniform(0.3, 0.8) + generator.uniform(-0.5, 0.5, 2))
    angle = generator.uniform(0, 2 * np.pi) if generator.random() < 0.6 else 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    canvas = np.zeros(image_hw, np.uint8)
    for part in parts:
        pixels = part @ turn.T * size / 2 + position
        # 1/16 pixel steps with antialiasing: coverage changes as an object's edge would.
        cv2.fillPoly(canvas, [np.round(pixels * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    if len(parts) == 1 and generator.random() < 0.1:
        hole = points @ turn.T * size / 2 * generator.uniform(0.3, 0.7) + position
        cv2.fillPoly(canvas, [np.round(hole * 16).astype(np.int32)], 0, cv2.LINE_AA, shift=4)
    shares = (np.arange(256) / 255).astype(np.float32)
    return np.asarray(cv2.LUT(canvas, shares), np.float32)


def _window(values: NDArray[np.float32]) -> Window:
    """Return the rows and columns of a map (H, W) that hold all that is not zero."""
    rows, columns = np.flatnonzero(values.any(axis=1)), np.flatnonzero(values.any(axis=0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _angles() -> NDArray[np.float64]:
    return np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)


def _stretch(generator: np.random.Generator, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points * (1.0, np.exp(-abs(generator.normal(0, 0.5))))


def _blob(generator: np.random.Generator) -> NDArray[np.float64]:
    angles = _angles()
    radius = np.ones_like(angles)
    for order in range(2, 6):
        radius += generator.normal(0, 0.3 / order) * np.cos(
            order * angles + generator.uniform(0, 2 * np.pi)
        )
    radius = np.clip(radius, 0.2, 1.6)
    return _stretch(generator, np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1))


def _polygon(generator: np.random.Generator) -> NDArray[np.float64]:
    angles = np.sort(generator.uniform(0, 2 * np.pi, generator.integers(3, 9)))
    radius = generator.uniform(0.7, 1.0, angles.shape)
    return _stretch(generator, np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1))


def _superellipse(generator: np.random.Generator) -> NDArray[np.float64]:
    """From diamonds (exponent near 1) over ellipses (2) to rounded rectangles (8)."""
    exponent = np.exp(generator.uniform(np.log(1.2), np.log(10)))
    cosine, sine = np.cos(_angles()), np.sin(_angles())
    power = 2 / exponent
    points = np.stack(
        [np.sign(cosine) * np.abs(cosine) ** power, np.sign(sine) * np.abs(sine) ** power], 1
    )
    return _stretch(generator, points)


def _profile(generator: np.random.Generator) -> NDArray[np.float64]:
    """Outline of an upright object that is symmetric about its axis: bottle, cup, lamp."""
    heights = np.linspace(-1, 1, 24)
    knots = generator.uniform(0.25, 1.0, generator.integers(2, 6))
    widths = np.interp(heights, np.linspace(-1, 1, len(knots)), knots)
    if generator.random() < 0.5:
        widths = np.convolve(np.pad(widths, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    widths *= generator.uniform(0.4, 1.0)
    right = np.stack([widths, heights], 1)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def _shading(generator: np.random.Generator, mask: Mask) -> NDArray[np.float32]:
    """Return brightness float32 (H, W, 1): a gradient and darker rims, as on a solid object."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    shade = np.ones(mask.shape, np.float32)
    direction = generator.normal(0, 0.25, 2)
    columns = np.linspace(-1, 1, width, dtype=np.float32)
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    window = (slice(y, y + height), slice(x, x + width))
    shade[window] += direction[0] * columns + direction[1] * rows
    if generator.random() < 0.6:
        depth = cv2.distanceTransform(mask[window].astype(np.uint8), cv2.DIST_L2, 3)
        rim = np.clip(depth / max(1.0, 0.5 * depth.max()), 0, 1)
        shade[window] *= 1 - generator.uniform(0.1, 0.5) * (1 - rim) ** 2
    return shade[..., None]


def _cast_shadow(
    image: NDArray[np.float32], coverage: NDArray[np.float32], generator: np.random.Generator
) -> None:
    """Darken an image (H, W, 3) beside and under what covers it (H, W)."""
    if generator.random() < 0.4:
        return
    shift = np.array([[1, 0, generator.uniform(-8, 8)], [0, 1, generator.uniform(-2, 10)]])
    height, width = coverage.shape
    moved = cv2.warpAffine(coverage, shift, (width, height))
    shadow = np.asarray(cv2.GaussianBlur(moved, (0, 0), generator.uniform(1.5, 6)), np.float32)
    window = _window(shadow)
    image[window] *= 1 - np.float32(generator.uniform(0.2, 0.6)) * shadow[window][..., None]
