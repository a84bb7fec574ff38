"""Which object hides which, from the masks of one image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import FloatArray, MaskCrop
from sameo_ros.core.lifting import is_behind

# What an object covers of another's hidden part counts where it is a tenth of that part and a fifth
# of a pixel along an edge as long as the other object is wide, or half a pixel along such an edge:
# outlines are not more exact than that.
MIN_COVERED_SHARE = 0.1
MIN_EDGE_PX = 0.2
ENOUGH_EDGE_PX = 0.5


def find_occluders(
    amodal_masks: Sequence[MaskCrop],
    visible_masks: Sequence[MaskCrop] | None,
    depth_m: FloatArray | None = None,
) -> list[list[int]]:
    """Find for each object the objects in front of it.

    Each pair is decided once. Where two objects overlap, the one that is seen in more of the
    overlap is in front: j hides i if the visible mask of j covers more of the hidden part of i (its
    amodal mask without its visible mask) than the other way round. It must cover a tenth of that
    part and a fifth of the square root of the area of i's amodal mask, pixels, or half of that
    square root. Depth, where there is any, rules out what lies behind.

    Args:
        amodal_masks: N crops of one image.
        visible_masks: N crops of that image, or None if they are unknown.
        depth_m: float32 (H, W), depth of the image, metres, NaN where unknown; None without.

    Returns:
        For each object the positions of those in front of it, ascending, and never two objects in
        front of each other; nothing where the visible masks are unknown.
    """
    occluders: list[list[int]] = [[] for _ in amodal_masks]
    if visible_masks is None:
        return occluders
    hidden_masks = [
        amodal.subtract(visible)
        for amodal, visible in zip(amodal_masks, visible_masks, strict=True)
    ]
    covered_px = _covered_areas(hidden_masks, visible_masks)
    limits_px = [
        _least_covered_px(amodal, hidden)
        for amodal, hidden in zip(amodal_masks, hidden_masks, strict=True)
    ]

    def is_possible(front: int, back: int) -> bool:
        return covered_px[back, front] > 0 and not (
            depth_m is not None
            and is_behind(visible_masks[front], hidden_masks[back], visible_masks[back], depth_m)
        )

    for i, j in zip(*np.nonzero(np.triu(covered_px + covered_px.T)), strict=True):
        # Of equal shares the first object counts as the front one.
        front, back = (i, j) if covered_px[j, i] >= covered_px[i, j] else (j, i)
        if not is_possible(front, back):
            front, back = back, front
            if not is_possible(front, back):
                continue
        if covered_px[back, front] >= limits_px[back]:
            occluders[back].append(int(front))
    return [sorted(found) for found in occluders]


def _least_covered_px(amodal: MaskCrop, hidden: MaskCrop) -> float:
    width_px = math.sqrt(amodal.area)
    share_px = max(MIN_COVERED_SHARE * hidden.area, MIN_EDGE_PX * width_px)
    return min(share_px, ENOUGH_EDGE_PX * width_px)


def _covered_areas(
    hidden_masks: Sequence[MaskCrop], visible_masks: Sequence[MaskCrop]
) -> npt.NDArray[np.int64]:
    """Return int64 (N, N): pixels of i's hidden part that j's visible mask covers; 0 if i is j."""
    covered = np.zeros((len(hidden_masks),) * 2, dtype=np.int64)
    for i, j in zip(*np.nonzero(_find_touching_boxes(hidden_masks, visible_masks)), strict=True):
        if i != j:
            covered[i, j] = visible_masks[j].intersection_area(hidden_masks[i])
    return covered


def _find_touching_boxes(
    masks: Sequence[MaskCrop], others: Sequence[MaskCrop]
) -> npt.NDArray[np.bool_]:
    """Return bool (N, M): whether the boxes overlap, so that few pairs need a look at pixels."""
    x1, y1, x2, y2 = np.array([mask.box_xyxy for mask in masks]).reshape(-1, 4).T[:, :, None]
    u1, v1, u2, v2 = np.array([mask.box_xyxy for mask in others]).reshape(-1, 4).T[:, None, :]
    overlaps: npt.NDArray[np.bool_] = (x1 < u2) & (u1 < x2) & (y1 < v2) & (v1 < y2)
    return overlaps
