"""Compressed run-length encodings: encode, measure, box, clip."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from sameo_model.data.types import AmodalInstance, BoxXywh, Rle
from sameo_model.runtime.masks import decompress_counts


def encode_mask(mask: np.ndarray) -> Rle:
    """Encode a mask.

    Args:
        mask: bool or uint8 (H, W), 0 off the object and 1 (True) on it.
    """
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8, copy=False)))


def rle_area(rle: Rle) -> int:
    """Count the pixels of an encoded mask."""
    return int(coco_mask.area(rle))


def rle_box_xywh(rle: Rle) -> BoxXywh:
    """Return the tight box of an encoded mask: x, y, width, height in pixels."""
    x, y, width, height = coco_mask.toBbox(rle).tolist()
    return x, y, width, height


def intersect_rles(first: Rle, second: Rle) -> Rle:
    """Return the pixels that two encoded masks of the same size share."""
    return coco_mask.merge([first, second], intersect=True)


def rle_runs(counts: bytes) -> np.ndarray | None:
    """Expand compressed counts to run lengths.

    Returns:
        int64 (R,), alternating lengths of background and object; None if the text is malformed.
    """
    try:
        return decompress_counts(counts) if counts else None
    except ValueError:
        return None


def occlusion_rate(amodal_area: int, visible_area: int) -> float:
    """Return hidden area over amodal area for a visible mask inside its amodal mask."""
    return 1.0 - visible_area / amodal_area


def encode_instance(
    annotation_id: int,
    category: str,
    category_id: int,
    amodal: np.ndarray,
    visible: np.ndarray,
    source_id: str = "",
) -> AmodalInstance:
    """Return the record of an object from its masks, bool (H, W), the amodal one not empty."""
    masks = encode_mask(amodal), encode_mask(visible)
    return make_instance(annotation_id, category, category_id, *masks, source_id=source_id)


def make_instance(
    annotation_id: int,
    category: str,
    category_id: int,
    amodal_rle: Rle | None,
    visible_rle: Rle | None,
    **more: Any,
) -> AmodalInstance:
    """Return the record of an object from its encoded masks, of which one may be unknown."""
    rate = None
    if amodal_rle is not None and visible_rle is not None:
        rate = occlusion_rate(rle_area(amodal_rle), rle_area(visible_rle))
    return AmodalInstance(
        annotation_id,
        category,
        amodal_rle,
        visible_rle,
        None if amodal_rle is None else rle_box_xywh(amodal_rle),
        None if visible_rle is None else rle_box_xywh(visible_rle),
        rate,
        category_id,
        **more,
    )
