"""What a real camera adds to an image: exposure, white balance, blur and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def degrade(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image as a middling camera would give it.

    Args:
        image: uint8 (H, W, 3), RGB, 0-255.

    Returns:
        uint8 (H, W, 3), RGB, 0-255.
    """
    wanted = np.clip(rng.normal(0.4, 0.1), 0.15, 0.7)  # mean brightness that its automatic wants
    exposure = np.clip(wanted / max(float(image.mean()) / 255, 0.01), 0.6, 3.0)
    gamma = np.exp(rng.normal(0, 0.12))
    balance = np.exp(rng.normal(0, 0.05, 3))
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * exposure * balance * 255
    tables = np.clip(levels, 0, 255).astype(np.float32)
    result = np.asarray(cv2.LUT(image, tables[None]), np.float32)
    if rng.random() < 0.4:
        result = np.asarray(cv2.GaussianBlur(result, (0, 0), rng.uniform(0.3, 1.1)), np.float32)
    if rng.random() < 0.75:
        strength = rng.uniform(0.5, 6.0)
        noise = rng.standard_normal(result.shape, dtype=np.float32)
        noise *= strength
        spread = result / 255
        spread += 0.5
        noise *= spread
        result += noise
    return np.asarray(np.clip(result, 0, 255, out=result), dtype=np.uint8)
