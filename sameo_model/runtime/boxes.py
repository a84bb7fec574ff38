"""Boxes: one rule for what is usable, shared by the predictor, the command lines and the node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import BoolArray, FloatArray, ImageHW, Uint8Array

# Detectors overshoot the border by a few pixels; boxes that are meant otherwise do so by far.
_FAR_SHARE, _FAR_PX = 0.1, 4


class BoxFault(IntEnum):
    """Why a box cannot be used; NONE for a usable one."""

    NONE = 0
    NOT_FINITE = 1
    INVERTED = 2
    NO_AREA = 3
    OUTSIDE = 4

    @property
    def reason(self) -> str:
        """The fault, as a predicate of "the box"."""
        return _REASONS[self]


_REASONS = {
    BoxFault.NONE: "is usable",
    BoxFault.NOT_FINITE: "holds NaN or infinity",
    BoxFault.INVERTED: "is inverted (x2 < x1 or y2 < y1)",
    BoxFault.NO_AREA: "has no area",
    BoxFault.OUTSIDE: "lies outside the image",
}


@dataclass(frozen=True, eq=False)
class CheckedBoxes:
    """Boxes sorted into usable and unusable ones, row order kept."""

    # float32 (N, 4), x1, y1, x2, y2 clipped to the image, pixels; zeros where the box is unusable
    boxes_xyxy: FloatArray
    faults: Uint8Array  # uint8 (N,), values of `BoxFault`

    @property
    def usable(self) -> BoolArray:
        """One bool per box, shape (N,): True where the box can prompt the model."""
        return np.asarray(self.faults == BoxFault.NONE, dtype=np.bool_)


def check_boxes(boxes_xyxy: npt.ArrayLike, image_hw: ImageHW) -> CheckedBoxes:
    """Clip boxes to the image and name the fault of each box that cannot be used.

    A box covers [x1, x2) x [y1, y2) where pixel (0, 0) covers [0, 1) x [0, 1). It is usable if
    it is finite, not inverted, and has an area inside the image.

    Args:
        boxes_xyxy: float (N, 4), x1, y1, x2, y2 in pixels of the image, in any range; an empty
            sequence counts as N = 0.
        image_hw: Height and width of the image, pixels.

    Returns:
        The clipped boxes and their faults, in the order of the input.

    Raises:
        ValueError: If the boxes are not numbers of shape (N, 4).
    """
    boxes = as_boxes(boxes_xyxy)
    height, width = image_hw
    finite: BoolArray = np.asarray(np.isfinite(boxes).all(axis=1))
    boxes = np.where(finite[:, None], boxes, np.float32(0))
    sides = boxes[:, 2:] - boxes[:, :2]
    limits = np.array([width, height, width, height], dtype=np.float32)
    clipped = np.clip(boxes, np.float32(0), limits)
    clipped_sides = clipped[:, 2:] - clipped[:, :2]

    faults = np.zeros(len(boxes), dtype=np.uint8)
    faults[(clipped_sides <= 0).any(axis=1)] = BoxFault.OUTSIDE
    faults[(sides == 0).any(axis=1)] = BoxFault.NO_AREA
    faults[(sides < 0).any(axis=1)] = BoxFault.INVERTED
    faults[~finite] = BoxFault.NOT_FINITE
    clipped[faults != BoxFault.NONE] = 0
    return CheckedBoxes(clipped, faults)


def are_shares(boxes_xyxy: FloatArray) -> BoolArray:
    """Tell which boxes are only a part of the first pixel, as shares of the image are.

    Args:
        boxes_xyxy: float32 (N, 4), x1, y1, x2, y2 with an area.

    Returns:
        bool (N,).
    """
    is_inside = ((boxes_xyxy >= 0) & (boxes_xyxy <= 1)).all(axis=1)
    return np.asarray(is_inside & (boxes_xyxy != (0, 0, 1, 1)).any(axis=1), dtype=np.bool_)


def reach_far_outside(boxes_xyxy: FloatArray, image_hw: ImageHW) -> BoolArray:
    """Tell which boxes reach beyond the image by more than a tenth of its side.

    Args:
        boxes_xyxy: float32 (N, 4), x1, y1, x2, y2 in pixels of the image.
        image_hw: Height and width of the image, pixels.

    Returns:
        bool (N,).
    """
    limits = np.tile(image_hw[::-1], 2)
    slack = _FAR_SHARE * limits + _FAR_PX
    beyond = (boxes_xyxy < -slack) | (boxes_xyxy > limits + slack)
    return np.asarray(beyond.any(axis=1), dtype=np.bool_)


def as_boxes(boxes_xyxy: npt.ArrayLike) -> FloatArray:
    """Return boxes as float32 (N, 4); an empty sequence gives (0, 4).

    Raises:
        ValueError: If the boxes are not numbers of shape (N, 4).
    """
    rule = "boxes_xyxy must be numbers of shape (N, 4), one row x1, y1, x2, y2 per box"
    try:
        with np.errstate(over="ignore"):
            boxes = np.asarray(boxes_xyxy, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{rule}; got values that do not form such an array") from error
    if boxes.shape == (0,):
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{rule}; got shape {boxes.shape}")
    return boxes


def scale_boxes(boxes_xyxy: FloatArray, image_hw: ImageHW, image_size: int) -> FloatArray:
    """Scale boxes from image pixels to the pixels of the squashed square input, per axis.

    Args:
        boxes_xyxy: float32 (N, 4), pixels of the image.
        image_hw: Height and width of the image, pixels.
        image_size: Side S of the model's input, pixels.

    Returns:
        float32 (N, 4), pixels of the model's input, in [0, S] for boxes inside the image.
    """
    height, width = image_hw
    scale = image_size / np.array([width, height, width, height], dtype=np.float64)
    return np.asarray(boxes_xyxy * scale, dtype=np.float32)


def box_ious(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """Return the IoU of each pair of boxes, float (N, M), 0 for boxes without area.

    Args:
        first_xyxy: float (N, 4), x1, y1, x2, y2.
        second_xyxy: float (M, 4), in the same pixels.
    """
    one, two = first_xyxy[:, None], second_xyxy[None]
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    shared = sides.clip(min=0).prod(axis=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(axis=-1) for boxes in (one, two)]
    union = areas[0] + areas[1] - shared
    ious: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ious
