"""Compressed run-length encodings: encode, measure, box, clip."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from sameo_model.data.types import AmodalInstance, BoxXywh, Rle


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

    Each run is a little-endian series of 5-bit groups in characters from 48 on, bit 5 marking that
    another group follows and bit 4 of the last group the sign; from the fourth run on, the number
    is the difference to the run two places before.

    Returns:
        int64 (R,), alternating lengths of background and object; None if the text is malformed.
    """
    groups = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    if not groups.size or (groups < 0).any() or (groups > 63).any() or groups[-1] & 32:
        return None
    is_last = (groups & 32) == 0
    starts = np.concatenate([[0], np.flatnonzero(is_last)[:-1] + 1])
    lengths = np.diff(np.append(starts, groups.size))
    if lengths.max() > 7:
        return None
    shifts = 5 * (np.arange(groups.size) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((groups & 31) << shifts, starts)
    negative = (groups[is_last] & 16) != 0
    numbers[negative] -= np.int64(1) << (5 * lengths[negative])
    # Runs 0, 1 and 2 stand for themselves; 3 adds to 1, 4 to 2, and so on.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


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
