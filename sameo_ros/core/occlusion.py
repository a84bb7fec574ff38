"""Which object hides which, from the masks of one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import FloatArray, MaskCrop
from sameo_ros.core.lifting import is_behind

MIN_COVERED_SHARE = 0.1


def find_occluders(
    amodal_masks: Sequence[MaskCrop],
    visible_masks: Sequence[MaskCrop] | None,
    depth_m: FloatArray | None = None,
) -> list[list[int]]:
    """Find for each object the objects in front of it.

    Object j is in front of i if the visible mask of j covers at least a tenth of the hidden part
    of i (its amodal mask without its visible mask), unless depth says that j lies behind i.

    Args:
        amodal_masks: N crops of one image.
        visible_masks: N crops of that image, or None if they are unknown.
        depth_m: float32 (H, W), depth of the image, metres, NaN where unknown; None without.

    Returns:
        For each object the positions of those in front of it, ascending; nothing where the
        visible masks are unknown.
    """
    if visible_masks is None:
        return [[] for _ in amodal_masks]
    hidden_masks = [
        hidden_part(amodal, visible)
        for amodal, visible in zip(amodal_masks, visible_masks, strict=True)
    ]
    touching = _find_touching_boxes(hidden_masks, visible_masks)
    return [
        [
            j
            for j, visible in enumerate(visible_masks)
            if touching[i, j]
            and j != i
            and _covers(visible, hidden)
            and not (depth_m is not None and is_behind(visible, hidden, visible_masks[i], depth_m))
        ]
        for i, hidden in enumerate(hidden_masks)
    ]


def hidden_part(amodal: MaskCrop, visible: MaskCrop) -> MaskCrop:
    """Return the amodal mask without the visible mask, as a tight crop."""
    x1, y1, x2, y2 = amodal.box_xyxy
    u1, v1, u2, v2 = visible.box_xyxy
    left, top, right, bottom = max(x1, u1), max(y1, v1), min(x2, u2), min(y2, v2)
    hidden = amodal.mask.copy()
    if left < right and top < bottom:
        seen = visible.mask[top - v1 : bottom - v1, left - u1 : right - u1]
        hidden[top - y1 : bottom - y1, left - x1 : right - x1] &= ~seen
    return MaskCrop.from_mask(hidden, x1, y1)


def _find_touching_boxes(
    masks: Sequence[MaskCrop], others: Sequence[MaskCrop]
) -> npt.NDArray[np.bool_]:
    """Return bool (N, M): whether the boxes overlap, so that few pairs need a look at pixels."""
    x1, y1, x2, y2 = np.array([mask.box_xyxy for mask in masks]).reshape(-1, 4).T[:, :, None]
    u1, v1, u2, v2 = np.array([mask.box_xyxy for mask in others]).reshape(-1, 4).T[:, None, :]
    overlaps: npt.NDArray[np.bool_] = (x1 < u2) & (u1 < x2) & (y1 < v2) & (v1 < y2)
    return overlaps


def _covers(visible: MaskCrop, hidden: MaskCrop) -> bool:
    hidden_area = hidden.area
    covered_area = visible.intersection_area(hidden)
    return hidden_area > 0 and covered_area >= MIN_COVERED_SHARE * hidden_area
