"""Cut-outs of drawn objects: a bar of 60 x 20 pixels, a disc and a ring, with alpha."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def draw_rgba(kind: str) -> np.ndarray:
    """Return a coloured object on a transparent white ground, uint8 (100, 100, 4), BGRA."""
    alpha = np.zeros((100, 100), np.uint8)
    if kind == "bar":
        alpha[40:60, 20:80] = 255
    else:
        cv2.circle(alpha, (50, 50), 30, 255, cv2.FILLED, cv2.LINE_AA)
    if kind == "ring":
        cv2.circle(alpha, (50, 50), 15, 0, cv2.FILLED, cv2.LINE_AA)
    image = np.full((100, 100, 4), 255, np.uint8)
    image[alpha > 0, :3] = {"bar": (30, 60, 200), "disc": (40, 180, 40), "ring": (200, 90, 20)}[
        kind
    ]
    image[..., 3] = alpha
    return image


def write_cutouts(folder: Path, names: Sequence[str] = ("bar_1", "disc-02", "ring3")) -> Path:
    """Write a cut-out for each name, WebP for the last one and PNG for the others."""
    folder.mkdir(exist_ok=True)
    for name in names:
        suffix = ".webp" if name.startswith("ring") else ".png"
        kind = name.rstrip("_-0123456789")
        assert cv2.imwrite(str(folder / f"{name}{suffix}"), draw_rgba(kind))
    return folder
