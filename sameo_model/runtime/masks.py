"""Run-length encoding of masks as COCO writes it, without pycocotools.

The runs of a mask are counted down its columns, first the unset run, which may have length 0.
The counts, from the fourth on as differences to the count two places before, are written in
groups of five bits, the sixth bit of a character telling that more follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import BoolArray, ImageHW, MaskCrop

_IntArray = npt.NDArray[np.int64]
_FIRST_CHARACTER = 48
_MORE_FOLLOWS = 0x20
_SIGN = 0x10
_MAX_GROUPS = 7  # 34 bits and a sign: more than any image has pixels


class JsonRle(TypedDict):
    """A mask in COCO's compressed form, ready for JSON."""

    size: list[int]  # height and width of the image, pixels
    counts: str  # the compressed run lengths, ASCII


def crop_to_rle(crop: MaskCrop, image_hw: ImageHW) -> JsonRle:
    """Encode a crop as the mask of its whole image, which is never built.

    The counts equal those of pycocotools, byte for byte.

    Args:
        crop: A mask that lies inside the image.
        image_hw: Height and width of the image, pixels.

    Raises:
        ValueError: If the crop does not lie inside the image.
    """
    height, width = image_hw
    x1, y1, x2, y2 = crop.box_xyxy
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        raise ValueError(
            f"crop must lie inside the image of {height} x {width} (height x width) pixels; got "
            f"edges {crop.box_xyxy} (x1, y1, x2, y2)"
        )
    counts = _count_runs(crop, image_hw)
    return {"size": [height, width], "counts": _compress(counts).decode("ascii")}


def rle_to_mask(rle: Mapping[str, Any]) -> BoolArray:
    """Decode a mask of a whole image.

    Args:
        rle: `size`, and `counts` compressed (str or bytes) or as a plain list of run lengths.

    Returns:
        bool (H, W).

    Raises:
        ValueError: If the encoding is damaged.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        if isinstance(counts, str):
            counts = counts.encode("ascii")
        if isinstance(counts, bytes):
            lengths = decompress_counts(counts)
        else:
            lengths = np.asarray(counts, dtype=np.int64).reshape(-1)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"RLE must hold 'size' (height, width) and 'counts' as COCO writes them: {error!r}"
        ) from error
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(
            f"RLE counts must be positive and add up to {height} x {width} pixels; they add up "
            f"to {lengths.sum()}"
        )
    is_set = np.arange(len(lengths)) % 2 == 1
    return np.repeat(is_set, lengths).reshape(width, height).T


def decompress_counts(data: bytes) -> _IntArray:
    """Return int64 (R,), the run lengths of a whole mask, beginning with the unset run.

    Raises:
        ValueError: If COCO does not write such text; negative lengths are not looked for.
    """
    groups = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if groups.size == 0:
        return groups
    if (groups < 0).any() or (groups > 0x3F).any() or groups[-1] & _MORE_FOLLOWS:
        raise ValueError("counts hold a character that COCO does not write, or end too early")
    last = np.flatnonzero((groups & _MORE_FOLLOWS) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    place = np.arange(len(groups)) - np.repeat(first, last - first + 1)
    if place.max() >= _MAX_GROUPS:
        raise ValueError("counts hold a number that is too long")
    values = np.add.reduceat((groups & 0x1F) << (5 * place), first)
    negative = (groups[last] & _SIGN) != 0
    values -= np.where(negative, np.int64(1) << (5 * (place[last] + 1)), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _count_runs(crop: MaskCrop, image_hw: ImageHW) -> _IntArray:
    """Return the run lengths of the whole image, beginning with the unset run."""
    image_height, image_width = image_hw
    crop_height, crop_width = crop.mask.shape
    # A row of zeros around each column keeps runs of neighbouring columns apart.
    columns = np.zeros((crop_width, crop_height + 2), dtype=np.int8)
    columns[:, 1:-1] = crop.mask.T
    changes = np.flatnonzero(np.diff(columns.ravel()))
    column, row = np.divmod(changes, crop_height + 2)
    edges = (column + crop.x) * image_height + row + crop.y
    # A run that ends where the next begins goes on: it crosses the image's lower border.
    goes_on = np.flatnonzero(edges[1:-1:2] == edges[2::2])
    edges = np.delete(edges, np.concatenate((2 * goes_on + 1, 2 * goes_on + 2)))
    total = image_height * image_width
    bounds = np.concatenate(([0], edges, [total] if not edges.size or edges[-1] < total else []))
    lengths: _IntArray = bounds[1:].astype(np.int64) - bounds[:-1].astype(np.int64)
    return lengths


def _compress(counts: _IntArray) -> bytes:
    values = counts.copy()
    values[3:] -= counts[1:-2]
    groups = np.empty((len(values), _MAX_GROUPS), dtype=np.uint8)
    needed = np.ones(len(values), dtype=np.int64)
    is_open = np.ones(len(values), dtype=np.bool_)
    for group in range(_MAX_GROUPS):
        low = values & 0x1F
        values >>= 5
        more = is_open & np.where(low & _SIGN, values != -1, values != 0)
        groups[:, group] = low + np.where(more, _MORE_FOLLOWS, 0) + _FIRST_CHARACTER
        needed += more
        is_open = more
        if not more.any():
            break
    written = np.arange(_MAX_GROUPS) < needed[:, None]
    return groups[written].tobytes()
