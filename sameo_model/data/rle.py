"""Compressed run-length encodings: encode, measure, box."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from sameo_model.data.types import BoxXywh, Rle


def encode_mask(mask: np.ndarray) -> Rle:
    """Encode a mask.

    Args:
        mask: bool or uint8 (H, W), non-zero on the object.

    Returns:
        Compressed encoding with `counts` as bytes.
    """
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8, copy=False)))


def rle_area(rle: Rle) -> int:
    """Count the pixels of an encoded mask."""
    return int(coco_mask.area(rle))


def rle_box_xywh(rle: Rle) -> BoxXywh:
    """Return the tight box of an encoded mask: x, y, width, height in pixels."""
    x, y, width, height = coco_mask.toBbox(rle).tolist()
    return x, y, width, height


def occlusion_rate(amodal_area: int, visible_area: int) -> float:
    """Return hidden area over amodal area for a visible mask inside its amodal mask."""
    return 1.0 - visible_area / amodal_area
