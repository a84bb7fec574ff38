"""Clicks beside boxes: points on the visible part of an object (paper, appendix E)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.framing import WINDOW_FRAMING, Framing, IntArray, find_frames
from sameo_model.runtime.types import BoolArray, FloatArray, ImageHW

MAX_CLICKS = 4
"""Most clicks of one box; with its two corners they are the six points of a prompt."""
CLICK, NO_CLICK = 1, -1


class Clicks(NamedTuple):
    """Clicks of N boxes, padded to `MAX_CLICKS`."""

    points_xy: FloatArray  # float32 (N, 4, 2), pixels; -1 where there is none
    labels: FloatArray  # float32 (N, 4), 1 for a click, -1 for none

    @classmethod
    def none(cls, num_boxes: int) -> Clicks:
        """Return room for the clicks of boxes, without any."""
        return cls(
            np.full((num_boxes, MAX_CLICKS, 2), -1, dtype=np.float32),
            np.full((num_boxes, MAX_CLICKS), NO_CLICK, dtype=np.float32),
        )

    def rows(self, chosen: npt.NDArray[np.bool_] | slice) -> Clicks:
        """Return the clicks of some of the boxes."""
        return Clicks(self.points_xy[chosen], self.labels[chosen])


def is_inside(point_xy: tuple[float, float], image_hw: ImageHW) -> bool:
    """Return whether a point, x and y in pixels, lies in an image or on its border."""
    height, width = image_hw
    return 0 <= point_xy[0] <= width and 0 <= point_xy[1] <= height


def check_clicks(
    points_xy: npt.ArrayLike | None,
    point_labels: npt.ArrayLike | None,
    num_boxes: int,
    image_hw: ImageHW,
) -> Clicks | None:
    """Check clicks and pad them.

    Args:
        points_xy: float (N, P, 2), x and y in pixels of the image, P at most 4; None for no clicks.
        point_labels: (N, P), 1 for a click, -1 for none; None takes every point for a click.
        image_hw: Height and width of the image, pixels.

    Returns:
        The clicks; None if there are none.

    Raises:
        ValueError: If shapes do not fit, a label is neither 1 nor -1, or a click lies outside the
            image.
    """
    if points_xy is None:
        if point_labels is not None:
            raise ValueError("point_labels need points_xy; pass both or none")
        return None
    rule = f"points_xy must be numbers of shape (N, P, 2), P at most {MAX_CLICKS}, for {num_boxes}"
    try:
        points = np.asarray(points_xy, dtype=np.float32)
        given = np.ones(points.shape[:2]) if point_labels is None else point_labels
        labels = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{rule} boxes; got values that do not form such an array") from error
    if not num_boxes and not points.size:
        return None
    if points.ndim != 3 or points.shape[2] != 2 or points.shape[1] > MAX_CLICKS:
        raise ValueError(f"{rule} boxes; got shape {points.shape}")
    if len(points) != num_boxes or labels.shape != points.shape[:2]:
        raise ValueError(
            f"{rule} boxes and point_labels of shape (N, P); got {points.shape} and {labels.shape}"
        )
    is_click: BoolArray = np.asarray(labels == CLICK)
    is_known: BoolArray = np.asarray(is_click | (labels == NO_CLICK))
    if not is_known.all():
        wrong = float(labels[~is_known][0])
        raise ValueError(
            f"point_labels must be 1 (on the visible part) or -1 (no point), got {wrong:g}; there "
            "are no clicks on the background"
        )
    height, width = image_hw
    inside: BoolArray = np.asarray(((points >= 0) & (points <= (width, height))).all(axis=2))
    if not inside[is_click].all():
        x, y = points[is_click & ~inside][0].tolist()
        raise ValueError(
            f"points_xy must lie inside the image of {width} x {height} pixels, got ({x:g}, {y:g})"
        )
    if not is_click.any():
        return None
    padded = Clicks.none(num_boxes)
    padded.points_xy[:, : points.shape[1]] = np.where(is_click[..., None], points, -1)
    padded.labels[:, : points.shape[1]] = labels
    return padded


def find_strays(
    clicks: Clicks, boxes_xyxy: FloatArray, framing: Framing, image_hw: ImageHW
) -> dict[int, str]:
    """Return which boxes have a click that is not on them, by their index.

    A loose box may miss a part of its object, so a click may lie anywhere in the window that the
    network sees; with image framing, in that of `WINDOW_FRAMING`.

    Args:
        clicks: Clicks of N boxes, in pixels of the image.
        boxes_xyxy: float32 (N, 4), x1, y1, x2, y2 inside the image, pixels.
        framing: What the network sees.
        image_hw: Height and width of the image, pixels.

    Returns:
        Predicates of "the box", such as "has a point outside it, which may belong to another box:
        (10, 10)".
    """
    windows = find_frames(framing if framing.is_window else WINDOW_FRAMING, boxes_xyxy, image_hw)
    is_stray = ~_are_in_frames(clicks, windows) & (clicks.labels == CLICK)
    strays = {}
    for row in np.flatnonzero(is_stray.any(axis=1)).tolist():
        x, y = clicks.points_xy[row, is_stray[row].argmax()].tolist()
        strays[row] = f"has a point outside it, which may belong to another box: ({x:g}, {y:g})"
    return strays


def _are_in_frames(clicks: Clicks, frames_xywh: IntArray) -> BoolArray:
    """Return bool (N, 4), whether clicks lie in the frame of their box or on its border."""
    frames = frames_xywh[:, np.newaxis]
    offsets = clicks.points_xy - frames[..., :2]
    return np.asarray(((offsets >= 0) & (offsets <= frames[..., 2:])).all(axis=2), dtype=np.bool_)


def clicks_in_frames(clicks: Clicks, frames_xywh: IntArray, image_size: int) -> Clicks:
    """Return clicks in pixels of the model's input; those outside its frame are left out.

    Args:
        clicks: In pixels of the image.
        frames_xywh: int64 (N, 4), the frame of each box.
        image_size: Side S of the model's input, pixels.
    """
    frames = frames_xywh[:, np.newaxis].astype(np.float64)
    moved = (clicks.points_xy - frames[..., :2]) * (image_size / frames[..., 2:])
    is_kept = _are_in_frames(clicks, frames_xywh) & (clicks.labels == CLICK)
    return Clicks(
        np.where(is_kept[..., np.newaxis], moved, -1).astype(np.float32),
        np.where(is_kept, CLICK, NO_CLICK).astype(np.float32),
    )
