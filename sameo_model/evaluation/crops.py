"""Areas and shapes of mask crops: what scoring needs, without masks of the image's size."""

from __future__ import annotations

import cv2
import numpy as np

from sameo_model.data.rle import rle_runs
from sameo_model.data.types import Rle
from sameo_model.runtime import masks
from sameo_model.runtime.types import FloatArray, ImageHW, MaskCrop


def rle_to_crop(rle: Rle) -> MaskCrop:
    """Decode a run-length encoding to its tight crop; only the object's columns are filled.

    Raises:
        ValueError: If the encoding is damaged.
    """
    height, width = rle["size"]
    runs = rle_runs(rle["counts"])
    if runs is None or (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(
            f"run lengths must fill {height} x {width} pixels, but these do not; write the mask "
            f"again"
        )
    bounds = np.cumsum(runs)
    starts, ends = bounds[:-1:2], bounds[1::2]
    is_object = ends > starts
    if not is_object.any():
        return MaskCrop.empty()
    first = int(starts[is_object][0]) // height
    last = int(ends[is_object][-1] - 1) // height
    # The runs clipped to the object's columns, which lie one after the other.
    clipped = np.clip(bounds, first * height, (last + 1) * height)
    lengths = np.diff(clipped, prepend=first * height)
    pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    columns = pixels.reshape(last + 1 - first, height)
    return MaskCrop.from_mask(columns.T, first, 0)


def crop_to_rle(crop: MaskCrop, image_hw: ImageHW) -> Rle:
    """Encode a crop as the mask of its image."""
    encoded = masks.crop_to_rle(crop, image_hw)
    return {"size": encoded["size"], "counts": encoded["counts"].encode("ascii")}


def box_to_crop(box_xyxy: FloatArray, image_hw: ImageHW) -> MaskCrop:
    """Fill a box: every pixel whose centre lies in it.

    Args:
        box_xyxy: float (4,), x1, y1, x2, y2 in pixels of the image.
        image_hw: Height and width that the box is clipped to.
    """
    height, width = image_hw
    limits = np.array([width, height, width, height])
    x1, y1, x2, y2 = np.clip(np.ceil(np.asarray(box_xyxy) - 0.5), 0, limits).astype(int).tolist()
    if x2 <= x1 or y2 <= y1:
        return MaskCrop.empty()
    return MaskCrop(x1, y1, np.ones((y2 - y1, x2 - x1), dtype=bool))


def convex_hull(crop: MaskCrop) -> MaskCrop:
    """Fill the convex hull of a mask's pixels; the mask itself is part of it."""
    if not crop.area:
        return MaskCrop.empty()
    rows = np.flatnonzero(crop.mask.any(axis=1))
    first = crop.mask.argmax(axis=1)[rows]
    last = crop.mask.shape[1] - 1 - crop.mask[:, ::-1].argmax(axis=1)[rows]
    points_xy = np.concatenate([np.stack([first, rows], 1), np.stack([last, rows], 1)])
    filled = np.zeros(crop.mask.shape, dtype=np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(points_xy.astype(np.int32)), 1)
    return MaskCrop(crop.x, crop.y, filled.astype(bool) | crop.mask)
