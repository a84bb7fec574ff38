"""Which part of the image the network sees for a box: cutting it out, and boxes inside it.

Image framing shows the whole image, squashed to a square. Window framing shows a square around
one box. Both are a frame: a rectangle of whole pixels that becomes the model's S x S input;
`postprocess.logits_to_crops` is the way back. Training, evaluation and robots share this code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import FloatArray, ImageHW, Uint8Array

IntArray = npt.NDArray[np.int64]

KINDS = ("image", "window")
BORDER_VALUE = 127
"""Grey of what lies outside the image: the middle of the range, about 0 when normalised."""
MAX_SAMPLES = 8
"""A frame is thinned out to at most this many pixels per model pixel and axis, then averaged."""


@dataclass(frozen=True)
class Framing:
    """What the network sees of the image; `model.json` and checkpoints carry it."""

    # `image` (the whole image for all boxes) or `window` (a square around each box)
    kind: str = "image"
    # of a window: what it shows beyond each side of the box, as a share of the box's longer side
    padding: float = 0.0
    min_side: int = 1  # of a window: its smallest side, pixels of the image

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If one of them is unknown or out of range.
        """
        if self.kind not in KINDS:
            known = " or ".join(f"'{kind}'" for kind in KINDS)
            raise ValueError(
                f"framing kind must be {known}, got '{self.kind}'; the model may come from a newer "
                "version of sameo_model"
            )
        if not 0 <= self.padding <= 4:
            raise ValueError(f"framing padding must lie in [0, 4], got {self.padding}")
        if self.min_side < 1:
            raise ValueError(f"framing min_side must be at least 1 pixel, got {self.min_side}")

    @property
    def is_window(self) -> bool:
        """Whether each box has a window of its own."""
        return self.kind == "window"

    def to_json(self) -> dict[str, Any]:
        """Return the form of `model.json`."""
        if not self.is_window:
            return {"kind": self.kind}
        return {"kind": self.kind, "padding": self.padding, "min_side": self.min_side}

    @classmethod
    def from_json(cls, content: Any) -> Framing:
        """Read the form of `model.json`.

        Raises:
            ValueError: If it breaks that form, or the kind is unknown.
        """
        if not isinstance(content, Mapping) or not isinstance(content.get("kind"), str):
            raise ValueError(f"framing must be an object with a kind, got {content!r}")
        unknown = set(content) - {"kind", "padding", "min_side"}
        if content["kind"] in KINDS and unknown:
            raise ValueError(f"framing must not hold {', '.join(sorted(unknown))}")
        try:
            return cls(
                content["kind"],
                float(content.get("padding", 0.0)),
                int(content.get("min_side", 1)),
            )
        except TypeError as error:
            raise ValueError(f"padding and min_side must be numbers, got {content!r}") from error


IMAGE_FRAMING = Framing()
WINDOW_FRAMING = Framing("window", padding=0.3, min_side=64)
"""The windows of `sameo_lite`, and of `--framing window` for any other model."""


def choose_framing(own: Framing, kind: str | None) -> Framing:
    """Return the framing to run a model with.

    Args:
        kind: `image`, `window`, or None for the model's own.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind is None or kind == own.kind:
        return own
    return WINDOW_FRAMING if kind == "window" else Framing(kind)


def find_frames(framing: Framing, boxes_xyxy: FloatArray, image_hw: ImageHW) -> IntArray:
    """Return the frame of each box.

    A window is moved into the image where it would reach beyond its border, and never larger
    than the image's longer side; it reaches beyond the image only where that is smaller.

    Args:
        boxes_xyxy: float32 (N, 4), x1, y1, x2, y2 inside the image, pixels.
        image_hw: Height and width of the image, pixels.

    Returns:
        int64 (N, 4), x, y, width, height in pixels; x and y may be negative.
    """
    height, width = image_hw
    if not framing.is_window:
        return np.tile(np.array([0, 0, width, height], dtype=np.int64), (len(boxes_xyxy), 1))
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    sides = np.ceil(longer * (1 + 2 * framing.padding))
    sides = np.clip(sides, framing.min_side, max(framing.min_side, height, width))
    corners = np.rint((boxes[:, :2] + boxes[:, 2:] - sides[:, None]) / 2)
    slack = np.array([width, height]) - sides[:, None]
    corners = np.clip(corners, np.minimum(slack, 0), np.maximum(slack, 0))
    return np.column_stack((corners, sides, sides)).astype(np.int64)


def cut_window(image_rgb: Uint8Array, frame_xywh: npt.ArrayLike, image_size: int) -> Uint8Array:
    """Cut a window out of an image and resize it to the model's input.

    Averages areas where the frame shrinks, else interpolates. The cost is bounded however large
    the image is. What lies outside the image is `BORDER_VALUE`.

    Args:
        image_rgb: uint8 (H, W, 3), RGB; any strides. Only the frame is copied.
        frame_xywh: Four whole numbers x, y, width, height in pixels of the image; width and height
            are equal. (`preprocess.resize_image` makes the input of image framing.)
        image_size: Side S of the model's input, pixels.

    Returns:
        uint8 (S, S, 3), RGB, contiguous.
    """
    height, width = image_rgb.shape[:2]
    x, y, frame_width, frame_height = (int(value) for value in np.asarray(frame_xywh))
    step = max(1, max(frame_width, frame_height) // (MAX_SAMPLES * image_size))
    first_x, first_y = max(x, 0), max(y, 0)
    last_x, last_y = min(x + frame_width, width), min(y + frame_height, height)
    part = np.asarray(image_rgb[first_y:last_y:step, first_x:last_x:step], dtype=np.uint8)
    margins = (first_y - y, y + frame_height - last_y, first_x - x, x + frame_width - last_x)
    if any(margins):
        top, bottom, left, right = (margin // step for margin in margins)
        bordered = cv2.copyMakeBorder(
            np.ascontiguousarray(part),
            *(top, bottom, left, right),
            cv2.BORDER_CONSTANT,
            value=(BORDER_VALUE,) * 3,
        )
        part = np.asarray(bordered, dtype=np.uint8)
    return resize_window(part, image_size)


def resize_window(window_rgb: Uint8Array, image_size: int) -> Uint8Array:
    """Resize a window to the model's input: averages areas where it shrinks, else interpolates.

    Args:
        window_rgb: uint8 (h, w, 3) or (h, w); any strides.
        image_size: Side S of the model's input, pixels.

    Returns:
        uint8 (S, S, 3) or (S, S), contiguous.
    """
    shrinks = max(window_rgb.shape[:2]) > image_size
    resized = cv2.resize(
        np.ascontiguousarray(window_rgb),
        (image_size, image_size),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    return np.ascontiguousarray(resized, dtype=np.uint8)


def boxes_in_frames(boxes_xyxy: FloatArray, frames_xywh: IntArray, image_size: int) -> FloatArray:
    """Return boxes in pixels of the model's input.

    Args:
        boxes_xyxy: float32 (N, 4), pixels of the image.
        frames_xywh: int64 (N, 4), the frame of each box.
        image_size: Side S of the model's input, pixels.

    Returns:
        float32 (N, 4), pixels of the model's input.
    """
    scale = image_size / frames_xywh[:, 2:].astype(np.float64)
    moved = np.asarray(boxes_xyxy, dtype=np.float64) - np.tile(frames_xywh[:, :2], 2)
    return np.asarray(moved * np.tile(scale, 2), dtype=np.float32)
