"""What cameras do to an image: one place for all changes of colour, sharpness and noise.

Each change is drawn on its own, in the order in which light, lens, sensor and file apply them:
blur, exposure and white balance, tone curve, saturation, resolution, noise, JPEG.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Rng = np.random.Generator

GREY_SHARE = 0.08
BLUR_SHARE, MOTION_SHARE, RESIZE_SHARE, NOISE_SHARE, JPEG_SHARE = 0.15, 0.15, 0.25, 0.35, 0.35


def see_through_camera(image_rgb: Image, rng: Rng) -> Image:
    """Return an image as a random camera in random light would give it.

    Args:
        image_rgb: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    image = image_rgb
    if rng.random() < MOTION_SHARE:
        image = _blur_by_motion(image, rng)
    elif rng.random() < BLUR_SHARE:
        image = _array(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8)))
    image = _expose(image, rng)
    if rng.random() < RESIZE_SHARE:
        image = _lose_resolution(image, rng)
    if rng.random() < NOISE_SHARE:
        image = _add_noise(image, rng)
    if rng.random() < JPEG_SHARE:
        quality = int(rng.integers(25, 95))
        _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
        image = _array(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(image)


def _expose(image: Image, rng: Rng) -> Image:
    """Change exposure, white balance, tone curve and saturation in one table look-up."""
    levels = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.uniform(-0.45, 0.45))
    warmth, tint = rng.normal(0, 0.12), rng.normal(0, 0.05)
    balance = np.exp([warmth, tint, -warmth])
    exposed = levels**gamma * np.exp(rng.uniform(-0.5, 0.4)) * balance
    offset = rng.uniform(-0.08, 0.08)
    table = np.clip(exposed + offset, 0, 1) * 255
    toned = _array(cv2.LUT(np.ascontiguousarray(image), table.round().astype(np.uint8)[None]))
    saturation = 0.0 if rng.random() < GREY_SHARE else rng.uniform(0.4, 1.5)
    grey = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _array(cv2.addWeighted(toned, saturation, grey, 1 - saturation, 0))


def _blur_by_motion(image: Image, rng: Rng) -> Image:
    """Blur along a random line of 3 to 11 pixels."""
    half = int(rng.integers(1, 6))
    angle = rng.uniform(0, np.pi)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    reach = np.array([np.cos(angle), np.sin(angle)]) * half
    start, stop = np.rint(half - reach).astype(int), np.rint(half + reach).astype(int)
    cv2.line(kernel, start.tolist(), stop.tolist(), 1.0, 1)
    return _array(cv2.filter2D(image, -1, kernel / kernel.sum()))


def _lose_resolution(image: Image, rng: Rng) -> Image:
    """Shrink and enlarge again, as a coarser sensor or a resized topic does."""
    height, width = image.shape[:2]
    share = rng.uniform(0.3, 0.9)
    small_wh = (max(8, round(width * share)), max(8, round(height * share)))
    small = cv2.resize(image, small_wh, interpolation=cv2.INTER_AREA)
    kinds = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)
    kind = kinds[int(rng.choice(3, p=(0.6, 0.3, 0.1)))]
    return _array(cv2.resize(small, (width, height), interpolation=kind))


def _add_noise(image: Image, rng: Rng) -> Image:
    """Add a sensor's noise, stronger where there is more light, in colour or in brightness."""
    values = image.astype(np.float32)
    read, shot = rng.uniform(0.5, 7), rng.uniform(0, 0.06)
    deviation = np.sqrt(read**2 + shot * values)
    channels = 3 if rng.random() < 0.6 else 1
    noise = rng.standard_normal((*image.shape[:2], channels), dtype=np.float32)
    return np.clip(values + deviation * noise, 0, 255).astype(np.uint8)


def _array(image: object) -> Image:
    return np.asarray(image, np.uint8)
