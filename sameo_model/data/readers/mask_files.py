"""Masks that data sets keep as picture files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sameo_model.runtime.pictures import read_values


def load_mask_file(path: Path) -> np.ndarray | None:
    """Read a mask picture.

    Args:
        path: A picture of one or more channels, of 8 or 16 bits, black outside the mask and of one
            colour inside; softened edges are cut at half of the largest value. Of four channels
            the last is transparency.

    Returns:
        uint8 (H, W), 0 or 1; None if the file is absent or cannot be decoded.
    """
    try:
        values = read_values(path)
    except (FileNotFoundError, ValueError):
        return None
    if values.ndim == 3:
        values = values[..., :3].max(axis=2)
    return (values > values.max() // 2).view(np.uint8)
