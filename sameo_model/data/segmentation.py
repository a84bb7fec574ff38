"""Every way in which data sets write a mask, turned into one checked encoding."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.rle import encode_mask, rle_area, rle_runs
from sameo_model.data.source import is_size
from sameo_model.data.types import Rle

# Coordinates further out than this many image sizes are errors, and rasterising them costs memory
# in proportion to their distance.
MAX_POLYGON_REACH = 4.0


def parse_segmentation(
    segmentation: Any, image_hw: tuple[int, int], defects: DefectLog, example: object
) -> Rle | None:
    """Turn polygons or run lengths of any kind into a compressed encoding of the image's size.

    Args:
        segmentation: A flat polygon `[x, y, ...]`, a list of polygons, run lengths with `counts`
            as str, bytes or list, or None.
        image_hw: Height and width of the image in pixels.

    Returns:
        The mask, possibly without pixels; None if nothing usable is left.
    """
    if isinstance(segmentation, dict):
        return _parse_run_lengths(segmentation, image_hw, defects, example)
    if isinstance(segmentation, (list, tuple)) and len(segmentation):
        return _parse_polygons(segmentation, image_hw, defects, example)
    return None


def _parse_polygons(
    polygons: Any, image_hw: tuple[int, int], defects: DefectLog, example: object
) -> Rle | None:
    if isinstance(polygons[0], (int, float)):
        defects.add(Defect.FLAT_POLYGON, example)
        polygons = [polygons]
    parts = []
    for part in polygons:
        defect = _part_defect(part, image_hw)
        if defect is None:
            parts.append([float(number) for number in part])
        else:
            defects.add(defect, example)
    if not parts:
        return None
    height, width = image_hw
    return coco_mask.merge(coco_mask.frPyObjects(parts, height, width))


def _part_defect(part: Any, image_hw: tuple[int, int]) -> Defect | None:
    if not isinstance(part, (list, tuple)) or len(part) < 6:
        return Defect.SHORT_POLYGON_PART
    if len(part) % 2:
        return Defect.ODD_POLYGON_PART
    try:
        numbers = np.asarray(part, dtype=np.float64)
    except (TypeError, ValueError):
        return Defect.WILD_POLYGON_PART
    reach = MAX_POLYGON_REACH * max(image_hw)
    # Written so that NaN fails the comparison as well.
    if not (np.abs(numbers) <= reach).all():
        return Defect.WILD_POLYGON_PART
    return None


def _parse_run_lengths(
    segmentation: dict[str, Any], image_hw: tuple[int, int], defects: DefectLog, example: object
) -> Rle | None:
    try:
        height, width = (int(side) for side in segmentation["size"])
        counts = segmentation["counts"]
    except (KeyError, TypeError, ValueError, OverflowError):
        defects.add(Defect.BAD_RUN_LENGTHS, example)
        return None
    if not is_size((height, width)):
        defects.add(Defect.BAD_RUN_LENGTHS, example)
        return None
    if isinstance(counts, str):
        counts = counts.encode("ascii", errors="replace")
    elif isinstance(counts, (list, tuple)):
        if not counts:
            return None
        defects.add(Defect.UNCOMPRESSED_COUNTS, example)
        counts = _compress(counts, height, width)
    if not isinstance(counts, bytes) or not _fills(counts, height * width):
        defects.add(Defect.BAD_RUN_LENGTHS, example)
        return None
    rle: Rle = {"size": [height, width], "counts": counts}
    if (height, width) == tuple(image_hw):
        return rle
    return _fit_to_image(rle, image_hw, defects, example)


def _compress(counts: Any, height: int, width: int) -> bytes | None:
    try:
        runs = np.asarray(counts, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        return None
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
        return None
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)[
        "counts"
    ]


def _fills(counts: bytes, num_pixels: int) -> bool:
    # The decoder leaves pixels beyond the last run uninitialised, so a short encoding would yield
    # noise instead of an error.
    runs = rle_runs(counts)
    return runs is not None and bool((runs >= 0).all()) and int(runs.sum()) == num_pixels


def _fit_to_image(
    rle: Rle, image_hw: tuple[int, int], defects: DefectLog, example: object
) -> Rle | None:
    mask = coco_mask.decode(rle)
    fitted = np.zeros(image_hw, dtype=np.uint8)
    height, width = min(mask.shape[0], image_hw[0]), min(mask.shape[1], image_hw[1])
    fitted[:height, :width] = mask[:height, :width]
    result = encode_mask(fitted)
    if rle_area(result) != int(mask.sum()):
        defects.add(Defect.OBJECT_CUT, example)
        return None
    defects.add(Defect.SIZE_UNLIKE_IMAGE, example)
    return result
