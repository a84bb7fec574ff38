"""Box prompts from true masks (paper section 3.1, training strategy)."""

from __future__ import annotations

import numpy as np

from sameo_model.data.types import AmodalInstance
from sameo_model.runtime.box_source import PromptKind


def mask_to_box_xyxy(mask: np.ndarray) -> np.ndarray:
    """Return the tight box of a mask.

    Args:
        mask: bool (H, W), at least one pixel True.

    Returns:
        float32 (4,), x1, y1, x2, y2 in pixels; x2 and y2 are exclusive (x2 = x1 + width).

    Raises:
        ValueError: If the mask is empty.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    if columns.size == 0:
        raise ValueError("mask must have at least one pixel, got none; skip empty instances")
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def instance_box_xyxy(instance: AmodalInstance, kind: PromptKind) -> np.ndarray:
    """Return the tight box of an instance's visible or amodal mask without decoding it.

    Returns:
        float32 (4,), x1, y1, x2, y2 in pixels, x2 and y2 exclusive.

    Raises:
        ValueError: If the instance does not have that mask.
    """
    box_xywh = instance.box_xywh(kind)
    if box_xywh is None:
        raise ValueError(
            f"instance {instance.annotation_id} has no {kind} box; prompt with the other kind"
        )
    x, y, width, height = box_xywh
    return np.array([x, y, x + width, y + height], dtype=np.float32)


def random_clicks_xy(mask: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return the centres of random pixels of a mask, any of them more than once.

    Args:
        mask: bool (H, W), at least one pixel True.

    Returns:
        float32 (P, 2), x and y in pixels; the first pixel's centre is (0.5, 0.5).

    Raises:
        ValueError: If the mask is empty.
    """
    inside = np.flatnonzero(mask)
    if inside.size == 0:
        raise ValueError("mask must have at least one pixel to click on, got none")
    rows, columns = np.divmod(inside[generator.integers(inside.size, size=count)], mask.shape[1])
    return np.stack([columns, rows], axis=1).astype(np.float32) + np.float32(0.5)


def jitter_boxes_xyxy(
    boxes_xyxy: np.ndarray, share: float, generator: np.random.Generator, image_hw: tuple[int, int]
) -> np.ndarray:
    """Move each side of each box by a uniform random share of the box's size.

    Args:
        boxes_xyxy: float32 (N, 4), x1, y1, x2, y2 in pixels, inside the image.
        share: Largest move as a share of the box's width (x) or height (y), in [0, 0.5).
        generator: Source of the N * 4 draws, so that a seed repeats them.
        image_hw: Height and width that the result is clipped to.

    Returns:
        float32 (N, 4), jittered boxes inside the image, each with a positive area.

    Raises:
        ValueError: If `share` is out of range or `boxes_xyxy` has another shape.
    """
    if not 0 <= share < 0.5:
        raise ValueError(f"share must lie in [0, 0.5), got {share}; opposite sides would cross")
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float32)
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise ValueError(
            f"boxes_xyxy must have shape (N, 4), got {boxes_xyxy.shape}; pass one row per box"
        )
    sizes_wh = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    moves = generator.uniform(-share, share, size=boxes_xyxy.shape)
    jittered = boxes_xyxy + moves * np.tile(sizes_wh, 2)
    height, width = image_hw
    return jittered.clip(0, [width, height, width, height]).astype(np.float32)
