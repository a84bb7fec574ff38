"""Paste cut-out objects into an image as a camera might have seen them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.cutouts import Cutout

Rng = np.random.Generator
Canvas = NDArray[np.float32]
Seam = Literal["hard", "feathered", "gaussian", "poisson"]
SEAM_SHARES: dict[Seam, float] = {"hard": 0.2, "feathered": 0.45, "gaussian": 0.28, "poisson": 0.07}
MARGIN_PX = 4  # free border of a layer: what a blur of its outline needs


@dataclass(frozen=True)
class Layer:
    """An object as it is pasted."""

    rgb: Canvas  # float32 (h, w, 3), 0 to 255; also beyond the outline an object's colour
    # (h, w), how much of the object shows; it is where this is above 0.5
    alpha: NDArray[np.float32]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Return bool (h, w), the object's whole extent."""
        return self.alpha > 0.5


@dataclass(frozen=True)
class Light:
    """What the objects of one image share."""

    # brightness gained per object width and height, as under a lamp at one side
    shade_xy: tuple[float, float]
    tint: NDArray[np.float32]  # (3,), factors of red, green and blue
    exposure_share: float  # how far an object's brightness moves towards its background's, 0 to 1
    shadow_xy: tuple[float, float]  # where shadows fall, pixels for an object of 100 pixels
    shadow_softness: float  # blur of shadows as a share of the object's size
    shadow_depth: float  # share of light that a shadow takes; 0 for none
    blur_px: float  # standard deviation of the blur that objects get, as their background has
    noise: float  # standard deviation of the background's noise, grey values


def draw_light(rng: Rng, background: Canvas, enlargement: float) -> Light:
    """Choose the light of an image so that it suits its background.

    Args:
        background: float32 (H, W, 3), RGB, 0 to 255.
        enlargement: By how much the background was enlarged; above 1 it is blurred.
    """
    angle = rng.uniform(0, 2 * np.pi)
    strength = rng.uniform(0, 0.22)
    mean = background.mean(axis=(0, 1)) + 30
    tint = (mean / mean.mean()) ** rng.uniform(0, 0.5)
    reach = rng.uniform(2, 14)
    return Light(
        shade_xy=(float(np.cos(angle) * strength), float(np.sin(angle) * strength)),
        tint=np.clip(tint, 0.75, 1.3).astype(np.float32),
        exposure_share=float(rng.uniform(0, 0.6)),
        shadow_xy=(float(-np.cos(angle) * reach), float(-np.sin(angle) * reach)),
        shadow_softness=float(rng.uniform(0.03, 0.14)),
        shadow_depth=float(rng.uniform(0.2, 0.65)) if rng.random() < 0.85 else 0.0,
        blur_px=float(max(0.0, enlargement - 1) * rng.uniform(0.2, 0.6)),
        noise=noise_level(background),
    )


def make_layer(rng: Rng, cutout: Cutout, size_px: float, angle_rad: float, light: Light) -> Layer:
    """Scale, turn and flip a cut-out, light it, and soften its outline.

    Args:
        size_px: Wanted square root of its area; its aspect is kept.
    """
    area = np.count_nonzero(cutout.alpha > 127)
    scale = size_px / np.sqrt(area)
    rgb, alpha = _transform(cutout, scale, angle_rad, is_flipped=rng.random() < 0.5)
    alpha = _soften(rng, alpha)
    rgb = _shade(rgb, alpha, light)
    blur_px = np.hypot(light.blur_px, rng.uniform(0, 0.4)) if scale < 1 else light.blur_px
    if blur_px > 0.2:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), blur_px), np.float32)
    missing = np.sqrt(max(0.0, light.noise**2 - noise_level(rgb) ** 2))
    if missing > 0.3:
        rgb += rng.standard_normal(rgb.shape, dtype=np.float32) * np.float32(missing)
    return Layer(rgb, alpha)


def paste(
    rng: Rng, canvas: Canvas, layer: Layer, x: int, y: int, light: Light
) -> NDArray[np.bool_]:
    """Paste a layer in place, with its shadow on what lies below.

    Args:
        canvas: float32 (H, W, 3), changed.
        x: Column of the layer's left edge in the canvas; may be negative.
        y: Row of its top edge.

    Returns:
        bool (H, W), the object's whole extent inside the image: where the alpha that was pasted
        is above 0.5.
    """
    height, width = canvas.shape[:2]
    _cast_shadow(rng, canvas, layer, x, y, light)
    h, w = layer.alpha.shape
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    mask = np.zeros((height, width), bool)
    if left >= right or top >= bottom:
        return mask
    inside = slice(top - y, bottom - y), slice(left - x, right - x)
    window = canvas[top:bottom, left:right]
    rgb, alpha = layer.rgb[inside], layer.alpha[inside]
    gain = _exposure(rgb, alpha, window, light.exposure_share)
    lit = rgb * (gain * light.tint)
    if draw_seam(rng) == "poisson":
        lit = _poisson(rng, window, lit, alpha)
    window += alpha[..., None] * (lit - window)
    mask[top:bottom, left:right] = alpha > 0.5
    return mask


def draw_seam(rng: Rng) -> Seam:
    """Draw a kind of seam."""
    names = list(SEAM_SHARES)
    return names[int(rng.choice(len(names), p=list(SEAM_SHARES.values())))]


def noise_level(image: NDArray[np.float32]) -> float:
    """Return the standard deviation of an image's noise, in its units (Immerkaer 1996).

    Args:
        image: float32 (H, W, 3).
    """
    if min(image.shape[:2]) < 8:
        return 0.0
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(image[..., 1], cv2.CV_32F, kernel))
    # The median instead of Immerkaer's mean: edges and texture are no noise.
    return float(np.median(response) / 0.6745 / 6)


def _transform(
    cutout: Cutout, scale: float, angle_rad: float, *, is_flipped: bool
) -> tuple[Canvas, NDArray[np.float32]]:
    """Return colours float32 (h, w, 3) and coverage float32 (h, w) of the object as placed."""
    alpha = cutout.alpha.astype(np.float32) / 255
    # Premultiplied, so that no colour from beyond the outline comes in.
    pixels = np.dstack([cutout.rgb.astype(np.float32) * alpha[..., None], alpha])
    if is_flipped:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    if scale < 0.7:
        size_wh = (max(2, round(pixels.shape[1] * scale)), max(2, round(pixels.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA), np.float32)
        scale = 1.0
    h, w = pixels.shape[:2]
    cos, sin = np.cos(angle_rad) * scale, np.sin(angle_rad) * scale
    out_w = int(np.ceil(abs(w * cos) + abs(h * sin))) + 2 * MARGIN_PX
    out_h = int(np.ceil(abs(w * sin) + abs(h * cos))) + 2 * MARGIN_PX
    matrix = np.array(
        [
            [cos, -sin, (out_w - 1) / 2 - cos * (w - 1) / 2 + sin * (h - 1) / 2],
            [sin, cos, (out_h - 1) / 2 - sin * (w - 1) / 2 - cos * (h - 1) / 2],
        ]
    )
    flags = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    placed = np.asarray(cv2.warpAffine(pixels, matrix, (out_w, out_h), flags=flags), np.float32)
    coverage = np.clip(placed[..., 3], 0, 1)
    rgb = np.clip(placed[..., :3] / np.maximum(placed[..., 3:], 1 / 255), 0, 255)
    return _extend(rgb.astype(np.float32), coverage), coverage


def _extend(rgb: Canvas, coverage: NDArray[np.float32]) -> Canvas:
    """Extend colours beyond the outline, where a softened seam shows a little of them."""
    outside = (coverage < 0.5).astype(np.uint8)
    if outside.all():
        return rgb
    _, labels = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    inner = outside == 0
    colours = np.zeros((int(labels.max()) + 1, 3), np.float32)
    colours[labels[inner]] = rgb[inner]
    return np.asarray(colours[labels], np.float32)


def _soften(rng: Rng, coverage: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the alpha that is pasted, by one of the seams; a blurred one keeps its 0.5 line."""
    seam = draw_seam(rng)
    if seam == "hard":
        return (coverage > 0.5).astype(np.float32)
    if seam == "gaussian":
        blurred = cv2.GaussianBlur(coverage, (0, 0), rng.uniform(0.5, 1.3))
        # A thin part would vanish; it stays as it was.
        thin = (coverage > 0.5) & (blurred <= 0.5)
        return np.where(thin, coverage, blurred).astype(np.float32)
    return coverage


def _shade(rgb: Canvas, alpha: NDArray[np.float32], light: Light) -> Canvas:
    h, w = alpha.shape
    columns = np.linspace(-1, 1, w, dtype=np.float32) * np.float32(light.shade_xy[0])
    rows = np.linspace(-1, 1, h, dtype=np.float32) * np.float32(light.shade_xy[1])
    return rgb * (1 + columns[None, :, None] + rows[:, None, None])


def _exposure(rgb: Canvas, alpha: NDArray[np.float32], window: Canvas, share: float) -> np.float32:
    """Return the factor that brings an object's brightness nearer to what it lies on."""
    weight = float(alpha.sum())
    if weight < 1:
        return np.float32(1)
    own = float((rgb.mean(axis=2) * alpha).sum()) / weight
    gain = ((float(window.mean()) + 40) / (own + 40)) ** share
    return np.float32(np.clip(gain, 0.55, 1.5))


def _poisson(rng: Rng, window: Canvas, rgb: Canvas, alpha: NDArray[np.float32]) -> Canvas:
    """Return the object's colours after Poisson blending, mixed with its own.

    Where the object touches the window's border the blend is undefined, so it keeps its colours.
    """
    mask = (alpha > 0.5).astype(np.uint8) * 255
    x, y, w, h = cv2.boundingRect(mask)
    rows, columns = mask.shape
    if min(x, y) < 1 or x + w >= columns or y + h >= rows or min(w, h) < 8:
        return rgb
    source = np.clip(rgb, 0, 255).astype(np.uint8)
    target = np.clip(window, 0, 255).astype(np.uint8)
    centre = (x + w // 2, y + h // 2)
    blended = cv2.seamlessClone(source, target, mask, centre, cv2.NORMAL_CLONE)
    share = np.float32(rng.uniform(0.3, 0.7))
    return np.asarray(rgb + share * (blended.astype(np.float32) - rgb), np.float32)


def _cast_shadow(rng: Rng, canvas: Canvas, layer: Layer, x: int, y: int, light: Light) -> None:
    """Darken the canvas beside and under a layer: a wide shadow and a narrow one at its foot."""
    if not light.shadow_depth:
        return
    size = float(np.sqrt(max(1.0, float(layer.alpha.sum()))))
    wide = max(0.8, size * light.shadow_softness * rng.uniform(0.8, 1.25))
    shift_x, shift_y = (offset * size / 100 for offset in light.shadow_xy)
    pad = int(np.ceil(3 * wide + max(abs(shift_x), abs(shift_y)))) + 1
    padded = np.pad(layer.alpha, pad)
    moved = cv2.warpAffine(padded, np.array([[1, 0, shift_x], [0, 1, shift_y]]), padded.shape[::-1])
    shadow = cv2.GaussianBlur(moved, (0, 0), wide) * np.float32(light.shadow_depth)
    contact = cv2.GaussianBlur(padded, (0, 0), max(0.8, 0.3 * wide))
    shadow = np.maximum(shadow, contact * np.float32(0.6 * light.shadow_depth))
    height, width = canvas.shape[:2]
    left, top = max(x - pad, 0), max(y - pad, 0)
    right = min(x - pad + shadow.shape[1], width)
    bottom = min(y - pad + shadow.shape[0], height)
    if left >= right or top >= bottom:
        return
    part = shadow[top - y + pad : bottom - y + pad, left - x + pad : right - x + pad]
    canvas[top:bottom, left:right] *= (1 - part)[..., None]
