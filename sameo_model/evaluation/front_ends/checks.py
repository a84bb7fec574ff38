"""Find out early that detections do not belong to the images, or are meant in another way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from sameo_model.data.types import DatasetFormatError
from sameo_model.evaluation.front_ends.raw import BoxFormat, RawDetection
from sameo_model.runtime.types import ImageHW

# A detector's box may overshoot by rounding; one that is meant otherwise overshoots by far.
SLACK_SHARE = 0.05


def check_scores(detections: Iterable[RawDetection]) -> None:
    """Raise DatasetFormatError unless every score is a finite number."""
    wrong = [
        (number, detection.score)
        for number, detection in enumerate(detections)
        if isinstance(detection.score, bool)
        or not isinstance(detection.score, int | float)
        or not math.isfinite(detection.score)
    ]
    if wrong:
        number, score = wrong[0]
        raise DatasetFormatError(
            f"scores must be finite numbers, got {score!r} for detection {number} "
            f"({len(wrong)} in all); correct or remove them"
        )


def check_boxes(
    boxes: np.ndarray, sizes_hw: Sequence[ImageHW], box_format: BoxFormat, subject: str
) -> None:
    """Raise DatasetFormatError where most boxes only make sense in the other convention.

    Args:
        boxes: float64 (N, 4), as in the file.
        sizes_hw: Height and width of the image of each box.
    """
    if not len(boxes):
        return
    if not np.isfinite(boxes).all():
        row = int(np.flatnonzero(~np.isfinite(boxes).all(axis=1))[0])
        raise DatasetFormatError(
            f"boxes of {subject} must be finite numbers, got {boxes[row].tolist()}; correct or "
            f"remove it"
        )
    sizes_wh = np.array(sizes_hw, dtype=float)[:, ::-1]
    if boxes.max() <= 1.5 and len(boxes) > 1:
        raise DatasetFormatError(
            f"boxes of {subject} must be in pixels, but all of them lie in [0, {boxes.max():.3g}]; "
            f"multiply them by the images' width and height"
        )
    if _share_fitting(boxes, sizes_wh, box_format) >= 0.5:
        return
    other: BoxFormat = "xyxy" if box_format == "xywh" else "xywh"
    if _share_fitting(boxes, sizes_wh, other) >= 0.9:
        raise DatasetFormatError(
            f"most boxes of {subject} leave their images when read as {_WORDS[box_format]}, but "
            f"fit as {_WORDS[other]}; give --box-format {other}"
        )
    raise DatasetFormatError(
        f"most boxes of {subject} leave their images, read as {_WORDS[box_format]} or as "
        f"{_WORDS[other]}; give boxes in pixels of the original images, of this data set"
    )


_WORDS = {"xywh": "x, y, width, height", "xyxy": "x1, y1, x2, y2"}


def _share_fitting(boxes: np.ndarray, sizes_wh: np.ndarray, box_format: BoxFormat) -> float:
    """Return the share of boxes that lie in their images and are not inverted."""
    low, high = boxes[:, :2], boxes[:, 2:]
    if box_format == "xywh":
        high = low + high
    slack = SLACK_SHARE * sizes_wh + 1
    inside = (low >= -slack) & (high <= sizes_wh + slack) & (high >= low)
    return float(inside.all(axis=1).mean())
