"""Do the masks of a data set lie where its boxes are, and visible masks inside whole ones?

If most do not, the set is broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from sameo_model.data.rle import encode_mask, rle_area, rle_box_xywh, rle_runs
from sameo_model.data.types import BoxXywh, DatasetFormatError, Rle

BOX_TOLERANCE_PX = 2.0
# Below this overlap of box and mask's box (intersection over union) a mask lies elsewhere, unless
# all sides are as near as this: boxes of small objects overlap little when they are drawn roughly.
_ELSEWHERE_IOU = 0.5
_NEAR_PX = 5.0
# Below this share of the larger mask's area, the smaller one of a record is a part of it.
_PART_SHARE = 0.9
# In an exchanged set so many of the records with a part are wrong, and so many of all records:
# fewer are errors of single records.
_EXCHANGED_SHARE, _EXCHANGED_OF_ALL = 0.9, 0.05
# A single record says nothing of its set.
_MIN_RECORDS = 2
# Causes are looked for in so many records of each log; decoding masks anew takes time.
_MAX_GUESSED = 8
# Boxes are often rounded, and shares of a side are written with few digits.
_ROUNDING = 0.01

CAUSES = {
    "mask_size": "the masks' `size` is [width, height]; it must be [height, width]",
    "mask_rows": "the masks' run lengths go along the rows; they must go down the columns",
    "mask_transposed": "the masks' `size` is [width, height] and their run lengths go along the "
    "rows; it must be [height, width], down the columns",
    "polygon_shares": "polygons are in shares of the image's sides (0 to 1), not in pixels",
    "polygon_percent": "polygons are in percent of the image's sides, not in pixels",
    "polygon_yx": "polygons are written y, x; they must be x, y",
    "box_corners": "boxes are corners x1, y1, x2, y2; they must be x, y, width, height",
    "box_shares": "boxes are in shares of the image's sides (0 to 1), not in pixels",
    "box_centre": "boxes begin with their centre; they must begin with the left upper corner",
    "box_yx": "boxes are written y, x, height, width; they must be x, y, width, height",
    "orientation": "masks and boxes belong to differently turned or mirrored images, as when a "
    "tool applies the EXIF orientation and another one does not",
    "scale": "masks and boxes belong to images of different size",
}


@dataclass
class BoxAgreement:
    """Counts over records that have a mask and a box of their own; counts of workers add up."""

    num_compared: int = 0
    num_unlike: int = 0  # records of which a box is more than 2 pixels off its mask's extent
    num_elsewhere: int = 0  # those of which a box is far from its mask
    num_guessed: int = 0  # records of `num_unlike` for which a cause was looked for
    # how many of these each key of `CAUSES` explains
    causes: Counter[str] = field(default_factory=Counter)
    num_pairs: int = 0  # records with a visible and a whole mask
    num_parts: int = 0  # records of which one mask is a part of the other
    num_exchanged: int = 0  # those of which the whole mask is a part of the visible one

    def add(self, other: BoxAgreement) -> None:
        """Add the counts of another part of the set."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def to_json(self) -> dict[str, Any]:
        """Return the counts and, if the set is broken, `fault`: a message about what is wrong."""
        return {**vars(self), "causes": dict(self.causes), "fault": self.fault()}

    def fault(self) -> str | None:
        """Return what is wrong with the set as a whole; None if most records agree."""
        shares = _EXCHANGED_SHARE * self.num_parts, _EXCHANGED_OF_ALL * self.num_pairs
        if self.num_exchanged >= max(_MIN_RECORDS, *shares):
            return (
                f"{self.num_exchanged} of {self.num_parts} visible masks that differ from the "
                f"whole one enclose it: the two masks seem exchanged"
            )
        name, count = next(iter(self.causes.most_common(1)), ("", 0))
        is_explained = 2 * count > self.num_guessed
        num_wrong = self.num_unlike if is_explained else self.num_elsewhere
        if num_wrong < _MIN_RECORDS or 2 * num_wrong <= self.num_compared:
            return None
        cause = f"probably {CAUSES[name]}" if is_explained else "masks or boxes are damaged"
        return (
            f"{num_wrong} of {self.num_compared} masks do not lie where the file's own boxes are: "
            f"{cause}"
        )


def require_agreement(dataset: str, agreement: Mapping[str, Any]) -> None:
    """Raise DatasetFormatError for a set whose masks or boxes are wrong as a whole."""
    if fault := agreement["fault"]:
        raise DatasetFormatError(
            f"{dataset} is broken: {fault}; correct the annotation file, and look at it with "
            f"`datasets show {dataset} ROOT --output sheet.png`"
        )


@dataclass(frozen=True)
class BoxedMask:
    """A box of the file and the mask that it should enclose."""

    box_xywh: Any  # as the file has it, None without one
    segmentation: Any  # as the file has it
    rle: Rle | None  # what the reader made of it; None if nothing usable was left


def compare(agreement: BoxAgreement, masks: Sequence[BoxedMask], image_hw: tuple[int, int]) -> None:
    """Count one record by its boxes that can be compared, if there are any."""
    pairs = [mask for mask in masks if is_box(mask.box_xywh) and mask.segmentation]
    pairs = [mask for mask in pairs if mask.box_xywh[2] > 0 and mask.box_xywh[3] > 0]
    if not pairs:
        return
    agreement.num_compared += 1
    unlike = [mask for mask in pairs if _distance(mask.box_xywh, _extent(mask)) > BOX_TOLERANCE_PX]
    if not unlike:
        return
    agreement.num_unlike += 1
    if any(_lies_elsewhere(mask.box_xywh, _extent(mask)) for mask in unlike):
        agreement.num_elsewhere += 1
    if agreement.num_guessed < _MAX_GUESSED:
        agreement.num_guessed += 1
        if cause := _guess(unlike[0], image_hw):
            agreement.causes[cause] += 1


def compare_areas(
    agreement: BoxAgreement, amodal_area: int, visible_area: int, shared_area: int
) -> None:
    """Count one record by the pixels of its two masks, and of what they share."""
    agreement.num_pairs += 1
    smaller, larger = sorted((amodal_area, visible_area))
    if shared_area >= _PART_SHARE * smaller and smaller < _PART_SHARE * larger:
        agreement.num_parts += 1
        agreement.num_exchanged += amodal_area < visible_area


def is_box(box_xywh: Any) -> bool:
    """Return whether a field of a record holds four numbers."""
    return (
        isinstance(box_xywh, (list, tuple))
        and len(box_xywh) == 4
        and all(isinstance(number, (int, float)) for number in box_xywh)
    )


def box_distance_px(box_xywh: Sequence[float], other_xywh: Sequence[float]) -> float:
    """Return the largest distance of two boxes' sides in pixels."""
    (x, y, width, height), (other_x, other_y, other_width, other_height) = box_xywh, other_xywh
    return max(
        abs(x - other_x),
        abs(y - other_y),
        abs(x + width - other_x - other_width),
        abs(y + height - other_y - other_height),
    )


def _distance(box_xywh: Sequence[float], extent: BoxXywh | None) -> float:
    return float("inf") if extent is None else box_distance_px(box_xywh, extent)


def _extent(mask: BoxedMask) -> BoxXywh | None:
    return rle_box_xywh(mask.rle) if mask.rle is not None and rle_area(mask.rle) else None


def _lies_elsewhere(box_xywh: Sequence[float], extent: BoxXywh | None) -> bool:
    is_near = _distance(box_xywh, extent) <= _NEAR_PX
    return not is_near and _iou(box_xywh, extent) < _ELSEWHERE_IOU


def _iou(first: Sequence[float], second: Sequence[float] | None) -> float:
    if second is None:
        return 0.0
    sides = [
        min(first[axis] + first[axis + 2], second[axis] + second[axis + 2])
        - max(first[axis], second[axis])
        for axis in (0, 1)
    ]
    shared = max(sides[0], 0) * max(sides[1], 0)
    return float(shared / (first[2] * first[3] + second[2] * second[3] - shared))


def _guess(mask: BoxedMask, image_hw: tuple[int, int]) -> str | None:
    """Return the first cause that brings mask and box together."""
    # A cause must explain more than half of the distance.
    distance_px = _distance(mask.box_xywh, _extent(mask))
    tolerance_px = min(BOX_TOLERANCE_PX + _ROUNDING * max(image_hw), distance_px / 2)
    for name, extent in _other_extents(mask.segmentation, image_hw):
        if extent is not None and box_distance_px(mask.box_xywh, extent) <= tolerance_px:
            return name
    extent = _extent(mask)
    if extent is None:
        return None
    for name, box_xywh in _other_boxes(mask.box_xywh, image_hw):
        if box_distance_px(box_xywh, extent) <= tolerance_px:
            return name
    if any(
        box_distance_px(mask.box_xywh, turned) <= tolerance_px
        for turned in _turned(extent, image_hw)
    ):
        return "orientation"
    return "scale" if _is_scaled(mask.box_xywh, extent, tolerance_px) else None


def _other_extents(
    segmentation: Any, image_hw: tuple[int, int]
) -> Iterator[tuple[str, BoxXywh | None]]:
    """Yield the extents of the mask if it was written in another way."""
    height, width = image_hw
    if isinstance(segmentation, dict):
        pixels = _unrolled(segmentation)
        if pixels is None or pixels.size != height * width:
            return
        is_exchanged = segmentation.get("size") in ([width, height], (width, height))
        if is_exchanged and width != height:
            yield "mask_size", _extent_of(pixels.reshape(image_hw, order="F"))
            yield "mask_transposed", _extent_of(pixels.reshape(image_hw))
        yield "mask_rows", _extent_of(pixels.reshape(image_hw))
        return
    points_xy = _points_of(segmentation)
    if points_xy is None:
        return
    yield "polygon_shares", _extent_of_points(points_xy * (width, height))
    yield "polygon_percent", _extent_of_points(points_xy * (width / 100, height / 100))
    yield "polygon_yx", _extent_of_points(points_xy[:, ::-1])


def _other_boxes(
    box: Sequence[float], image_hw: tuple[int, int]
) -> Iterator[tuple[str, Sequence[float]]]:
    """Yield the boxes x, y, width, height that the four numbers mean in other conventions."""
    (height, width), (a, b, c, d) = image_hw, box
    yield "box_corners", (a, b, c - a, d - b)
    shares = (a * width, b * height, c * width, d * height)
    yield "box_shares", shares
    yield "box_shares", _from_centre(shares)
    yield "box_shares", (shares[0], shares[1], shares[2] - shares[0], shares[3] - shares[1])
    yield "box_centre", _from_centre(box)
    yield "box_yx", (b, a, d, c)
    yield "box_yx", (b, a, d - b, c - a)


def _from_centre(box: Sequence[float]) -> tuple[float, float, float, float]:
    return box[0] - box[2] / 2, box[1] - box[3] / 2, box[2], box[3]


def _turned(extent: BoxXywh, image_hw: tuple[int, int]) -> Iterator[BoxXywh]:
    """Yield a box as it lies in the seven turned and mirrored images."""
    height, width = image_hw
    x, y, box_width, box_height = extent
    from_right, from_below = width - x - box_width, height - y - box_height
    for column in (x, from_right):
        for row in (y, from_below):
            yield column, row, box_width, box_height
            yield row, column, box_height, box_width


def _is_scaled(box: Sequence[float], extent: BoxXywh, tolerance_px: float) -> bool:
    scale = np.sqrt(box[2] * box[3] / (extent[2] * extent[3]))
    scaled = [scale * side for side in extent]
    return abs(np.log(scale)) > 0.1 and box_distance_px(box, scaled) <= tolerance_px * max(1, scale)


def _unrolled(segmentation: dict[str, Any]) -> np.ndarray | None:
    """Return the pixels of run lengths in the order of the file, uint8 (P,)."""
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = counts.encode("ascii", errors="replace")
    runs = rle_runs(counts) if isinstance(counts, bytes) else _numbers(counts, np.int64)
    if runs is None or (runs < 0).any() or runs.sum() >= 2**31:
        return None
    return np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)


def _points_of(segmentation: Any) -> np.ndarray | None:
    """Return all points of the polygons, float64 (P, 2); None if they are no such numbers."""
    parts = segmentation if isinstance(segmentation[0], (list, tuple)) else [segmentation]
    arrays = [_numbers(part, np.float64) for part in parts]
    if any(array is None or not len(array) or len(array) % 2 for array in arrays):
        return None
    return np.concatenate([array.reshape(-1, 2) for array in arrays if array is not None])


def _numbers(values: Any, kind: type[np.generic]) -> np.ndarray | None:
    try:
        array = np.asarray(values, dtype=kind)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if array.ndim == 1 and np.isfinite(array).all() else None


def _extent_of(mask: np.ndarray) -> BoxXywh | None:
    return rle_box_xywh(encode_mask(mask)) if mask.any() else None


def _extent_of_points(points_xy: np.ndarray) -> BoxXywh:
    x, y = points_xy.min(axis=0)
    right, bottom = points_xy.max(axis=0)
    return float(x), float(y), float(right - x), float(bottom - y)
