"""From low-resolution logits to mask crops, at a cost that follows the objects' size.

A bilinear value can be positive only next to a positive logit, so the extent of the positive
logits bounds the mask; only that window is up-sampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import BoolArray, FloatArray, ImageHW, MaskCrop, Uint8Array

STRIP_PIXELS = 1 << 20
SPECK_SHARE = 0.02
"""A part or hole of a mask that is smaller, as a share of the mask's largest part, is a mistake."""


def drop_specks_and_holes(logits: FloatArray) -> FloatArray:
    """Remove small parts of masks, and fill small holes: those below 2 % of the largest part.

    A small part lies apart from the object and would stretch its box. An object that another one
    cuts in two keeps both parts, and a mug the hole of its handle.

    Args:
        logits: float32 (N, h, w), positive inside the masks.

    Returns:
        The same array if there is nothing to change, else a copy in which the logits of small
        parts and holes have the opposite sign.
    """
    cleaned = logits
    for i, logit_map in enumerate(logits):
        inside = np.greater(logit_map, 0).view(np.uint8)
        outlines, hierarchy = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        if len(outlines) <= 1:  # one part without holes, as most masks are
            continue
        _, parts = cv2.connectedComponents(inside, connectivity=8)
        areas = np.bincount(parts.ravel())
        limit = SPECK_SHARE * areas[1:].max()
        is_speck = areas < limit
        is_speck[0] = False  # outside of all parts
        is_wrong = is_speck[parts]
        parents = hierarchy[0, :, 3]
        for outline in (outlines[k] for k in np.flatnonzero(parents >= 0)):
            window, is_hole = _find_hole(outline, inside)
            if np.count_nonzero(is_hole) < limit:
                is_wrong[window] |= is_hole
        if is_wrong.any():
            cleaned = logits.copy() if cleaned is logits else cleaned
            cleaned[i][is_wrong] *= -1
    return cleaned


def _find_hole(
    outline: npt.NDArray[np.int32], inside: Uint8Array
) -> tuple[tuple[slice, slice], BoolArray]:
    """Return where a hole is and which pixels there belong to it, bool (h, w).

    Args:
        outline: int32 (P, 1, 2), the pixels of the mask around the hole.
        inside: uint8 (H, W), 1 in the mask.
    """
    # Labels of gaps with 4 neighbours would be simpler, but crash in OpenCV 4.5.
    x, y, width, height = cv2.boundingRect(outline)
    window = slice(y, y + height), slice(x, x + width)
    filled = np.zeros((height, width), np.uint8)
    cv2.drawContours(filled, [outline], 0, 1, cv2.FILLED, offset=(-x, -y))
    return window, filled > inside[window]


def logits_to_crops(
    logits: FloatArray, image_hw: ImageHW, frames_xywh: npt.NDArray[np.int64] | None = None
) -> list[MaskCrop]:
    """Up-sample logits to the image and keep what is above 0, window by window.

    Equal to up-sampling each whole map with `upsample_window`, thresholding and cropping.

    Args:
        logits: float32 (N, h, w), logits over the frame of each box.
        image_hw: Height and width of the image, pixels.
        frames_xywh: int64 (N, 4), what part of the image each map covers (`framing.find_frames`);
            None: the whole image.

    Returns:
        N tight crops in image pixels, inside the image.
    """
    positive: BoolArray = np.greater(logits, 0)
    has_rows: BoolArray = np.asarray(positive.any(axis=2))
    has_columns: BoolArray = np.asarray(positive.any(axis=1))
    height, width = image_hw
    whole = (0, 0, width, height)
    crops = []
    for i, logit_map in enumerate(logits):
        frame = whole if frames_xywh is None else tuple(frames_xywh[i].tolist())
        rows, columns = np.flatnonzero(has_rows[i]), np.flatnonzero(has_columns[i])
        crops.append(_map_to_crop(logit_map, rows, columns, frame, image_hw))
    return crops


def _map_to_crop(
    logits: FloatArray,
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    frame_xywh: tuple[int, ...],
    image_hw: ImageHW,
) -> MaskCrop:
    if rows.size == 0:
        return MaskCrop.empty()
    x, y, width, height = frame_xywh
    y1, y2 = _reach(int(rows[0]), int(rows[-1]), logits.shape[0], height)
    x1, x2 = _reach(int(columns[0]), int(columns[-1]), logits.shape[1], width)
    # A frame may reach beyond the image.
    y1, y2 = max(y1, -y), min(y2, image_hw[0] - y)
    x1, x2 = max(x1, -x), min(x2, image_hw[1] - x)
    if y1 >= y2 or x1 >= x2:
        return MaskCrop.empty()
    mask = np.empty((y2 - y1, x2 - x1), dtype=np.bool_)
    # In strips, so that the numbers in between stay small however large the object is.
    num_rows = max(1, STRIP_PIXELS // (x2 - x1))
    for start in range(y1, y2, num_rows):
        stop = min(start + num_rows, y2)
        strip = upsample_window(logits, (height, width), (x1, start, x2, stop))
        np.greater(strip, 0, out=mask[start - y1 : stop - y1])
    return MaskCrop.from_mask(mask, x + x1, y + y1)


def _reach(first: int, last: int, num_in: int, num_out: int) -> tuple[int, int]:
    """Output range [start, stop) whose bilinear taps may touch inputs first to last."""
    scale = num_out / num_in
    start = int(np.floor((first - 0.5) * scale - 0.5))
    stop = int(np.ceil((last + 1.5) * scale - 0.5)) + 1
    return max(start, 0), min(stop, num_out)


def upsample_window(
    logits: FloatArray, image_hw: ImageHW, window_xyxy: tuple[int, int, int, int]
) -> FloatArray:
    """Compute a window of the bilinear up-sampling of a whole map to the image's size.

    Pixel centres lie at half-integers and the border is repeated (PyTorch's
    ``align_corners=False``). Each value depends on its position alone, so that a window equals
    the same part of the whole, bit for bit.

    Args:
        logits: float32 (h, w).
        image_hw: Height and width of the image, pixels.
        window_xyxy: Edges x1, y1, x2, y2 of the wanted part, whole pixels, x2 and y2 exclusive.

    Returns:
        float32 (y2 - y1, x2 - x1).
    """
    x1, y1, x2, y2 = window_xyxy
    low_x, high_x, weight_x = _taps(logits.shape[1], image_hw[1], x1, x2)
    low_y, high_y, weight_y = _taps(logits.shape[0], image_hw[0], y1, y2)
    # Columns first: the strided gather then runs over few rows, the big one copies whole rows.
    first_row, last_row = int(low_y[0]), int(high_y[-1]) + 1
    rows = logits[first_row:last_row]
    left = rows.take(low_x, axis=1)
    rows = left + (rows.take(high_x, axis=1) - left) * weight_x
    step = rows[1:] - rows[:-1] if len(rows) > 1 else np.zeros_like(rows)
    window = step.take(np.minimum(low_y - first_row, len(step) - 1), axis=0)
    window *= weight_y[:, None]
    window += rows.take(low_y - first_row, axis=0)
    return window


def _taps(
    num_in: int, num_out: int, start: int, stop: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatArray]:
    """Lower and upper input index and the upper one's weight for outputs [start, stop)."""
    position = (np.arange(start, stop) + 0.5) * (num_in / num_out) - 0.5
    position = np.clip(position, 0, num_in - 1)
    low = position.astype(np.intp)
    high = np.minimum(low + 1, num_in - 1)
    return low, high, (position - low).astype(np.float32)


def occlusion_ratios(
    amodal_masks: Sequence[MaskCrop], visible_masks: Sequence[MaskCrop] | None
) -> FloatArray:
    """Compute the hidden share of each object, |amodal minus visible| / |amodal|.

    Args:
        amodal_masks: N crops.
        visible_masks: N crops of the same image, or None if they are unknown.

    Returns:
        float32 (N,), in [0, 1]; NaN without visible masks or for an empty amodal mask.
    """
    ratios = np.full(len(amodal_masks), np.nan, dtype=np.float32)
    for i, visible in enumerate(visible_masks or ()):
        amodal = amodal_masks[i]
        area = amodal.area
        if area:
            ratios[i] = (area - amodal.intersection_area(visible)) / area
    return ratios
