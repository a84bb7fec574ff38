"""Masks that data sets keep as picture files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def load_mask_file(path: Path) -> np.ndarray | None:
    """Read a mask picture.

    Args:
        path: A one-channel or colour picture of values 0 and 255, or 0 and 1.

    Returns:
        uint8 (H, W), 0 or 1; None if the file is absent or cannot be decoded.
    """
    if not path.is_file():
        return None
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        return None
    threshold = 127 if picture.max(initial=0) > 1 else 0
    return (picture > threshold).view(np.uint8)
