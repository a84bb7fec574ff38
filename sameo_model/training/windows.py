"""From a scene with true masks to training windows, one for each box (window framing)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.runtime.framing import (
    Framing,
    boxes_in_frames,
    cut_window,
    find_frames,
    resize_window,
)
from sameo_model.training.augment import Scene
from sameo_model.training.camera import see_through_camera

LARGEST_CUT = 1.5
"""A window is shrunk to this many times the model's input before the camera changes it."""


@dataclass(frozen=True)
class Window:
    """One training window."""

    image_rgb: NDArray[np.uint8]  # (S, S, 3), RGB
    box_xyxy: NDArray[np.float32]  # (4,), the prompt, window pixels
    # (T, T), whole object, T = S / target_stride; the visible part where the whole is not known
    amodal_mask: NDArray[np.bool_]
    visible_mask: NDArray[np.bool_]  # (T, T), visible part


def make_window(
    scene: Scene,
    row: int,
    box_xyxy: NDArray[np.float32],
    framing: Framing,
    *,
    image_size: int,
    target_size: int,
    rng: np.random.Generator | None = None,
) -> Window:
    """Cut the window of one box, with the true masks inside it.

    Args:
        box_xyxy: float32 (4,), the prompt, pixels of the image.
        image_size: Side S of the model's input, pixels.
        target_size: Side T of the masks, pixels.
        rng: Changes the window as another camera and another view would; None leaves it as it is.
    """
    frame = find_frames(framing, box_xyxy[None], scene.image_rgb.shape[:2])
    side = int(frame[0, 2])
    cut_size = min(side, round(LARGEST_CUT * image_size)) if rng is not None else image_size
    image = cut_window(scene.image_rgb, frame[0], cut_size)
    if rng is not None:
        image = resize_window(see_through_camera(image, rng), image_size)
    box = boxes_in_frames(box_xyxy[None], frame, image_size)[0]
    window = Window(
        image,
        box,
        _cut_mask(scene.amodal_masks[row], frame[0], target_size),
        _cut_mask(scene.visible_masks[row], frame[0], target_size),
    )
    return window if rng is None else _turn(window, rng)


def _cut_mask(
    mask: NDArray[np.bool_], frame_xywh: NDArray[np.int64], size: int
) -> NDArray[np.bool_]:
    """Return the part of a mask inside a frame, bool (size, size)."""
    x, y, width, height = frame_xywh.tolist()
    rows = slice(max(y, 0), max(y + height, 0))
    columns = slice(max(x, 0), max(x + width, 0))
    part = mask[rows, columns].astype(np.uint8) * 255
    top, left = max(-y, 0), max(-x, 0)
    bottom, right = height - top - part.shape[0], width - left - part.shape[1]
    whole = cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return resize_window(np.asarray(whole, np.uint8), size) > 127


def _turn(window: Window, rng: np.random.Generator) -> Window:
    """Mirror half of the windows, and turn some by quarters, as cameras above a bin see things."""
    if rng.random() < 0.5:
        window = _mirror(window)
    for _ in range(int(rng.choice(4, p=(0.7, 0.1, 0.1, 0.1)))):
        window = _turn_once(window)
    return window


def _mirror(window: Window) -> Window:
    side = window.image_rgb.shape[1]
    x1, y1, x2, y2 = window.box_xyxy
    return Window(
        window.image_rgb[:, ::-1],
        np.array([side - x2, y1, side - x1, y2], np.float32),
        window.amodal_mask[:, ::-1],
        window.visible_mask[:, ::-1],
    )


def _turn_once(window: Window) -> Window:
    """Turn by a quarter, counter-clockwise: (x, y) goes to (y, S - x)."""
    side = window.image_rgb.shape[1]
    x1, y1, x2, y2 = window.box_xyxy
    return Window(
        np.rot90(window.image_rgb),
        np.array([y1, side - x2, y2, side - x1], np.float32),
        np.rot90(window.amodal_mask),
        np.rot90(window.visible_mask),
    )
