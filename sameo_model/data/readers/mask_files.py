"""Masks that data sets keep as image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.instances import AbsentVisible, RawInstance, check_instance
from sameo_model.data.rle import encode_mask
from sameo_model.data.types import AmodalInstance
from sameo_model.runtime.images import read_values


def load_mask_file(path: Path) -> np.ndarray | None:
    """Read a mask image.

    Args:
        path: An image of one or more channels, of 8 or 16 bits, black outside the mask and of one
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


def check_mask_files(
    amodal_path: Path, visible_path: Path, category: str, source_id: str, defects: DefectLog
) -> AmodalInstance | None:
    """Return the object whose masks two images show; None if it was skipped."""
    amodal, visible = load_mask_file(amodal_path), load_mask_file(visible_path)
    if amodal is None or visible is None:
        defects.add(Defect.UNREADABLE_FILE, source_id)
        return None
    masks = encode_mask(amodal), encode_mask(visible)
    raw = RawInstance(None, 0, *masks, category=category, source_id=source_id)
    image_hw = (amodal.shape[0], amodal.shape[1])
    return check_instance(raw, image_hw, AbsentVisible.SKIP, defects)
