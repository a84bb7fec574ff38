"""From masks to 3D: where the objects are, seen from the camera, and how sure that is.

Depth is taken from the visible part alone. What is hidden has no depth of its own: the pixels in
front of it belong to other objects, and completing depth there is known to spoil placement. The
amodal outline only says how far the object reaches sideways.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime import MaskCrop
from sameo_model.runtime.types import FloatArray
from sameo_ros.core.camera_model import CameraModel

_EROSION_PX = 2
_RANGE_PERCENT = (5, 95)
_MIN_POINTS = 10
_DEPTH_NOISE = 0.01
_BEHIND_MARGIN_M = 0.01


@dataclass(frozen=True, eq=False)
class LiftedObject:
    """An object in the camera's optical frame (z forward, x to the right, y down), metres.

    Attributes:
        points_xyz: float32 (P, 3), its visible points.
        pixels_xy: int (P, 2), column and row that each point comes from.
        centroid_xyz: float64 (3,), mean of the visible points.
        box_centre_xyz: float64 (3,), centre of the axis-aligned box.
        box_size_xyz: float64 (3,), its size. The size along z is that of the visible surface, and
            so a lower bound.
        variance_xyz: float64 (3,), square metres: (1 % of the distance)^2 plus (hidden share times
            half the size)^2; along z, where the size is unknown, with the largest size.
    """

    points_xyz: FloatArray
    pixels_xy: npt.NDArray[np.intp]
    centroid_xyz: npt.NDArray[np.float64]
    box_centre_xyz: npt.NDArray[np.float64]
    box_size_xyz: npt.NDArray[np.float64]
    variance_xyz: npt.NDArray[np.float64]


def lift_object(
    amodal: MaskCrop,
    visible: MaskCrop,
    occlusion_ratio: float,
    depth_m: FloatArray,
    camera: CameraModel,
) -> LiftedObject | None:
    """Lift one object.

    The visible mask is eroded by two pixels, where depth mixes foreground and background, and of
    its depths those from the 5th to the 95th percentile count. The box spans these points, and
    sideways also the amodal outline at their median depth.

    Args:
        amodal: The whole object.
        visible: Its visible part.
        occlusion_ratio: Hidden share of the object in [0, 1]; NaN counts as 1.
        depth_m: float32 (H, W), depth registered to the image, metres, NaN where unknown.
        camera: Calibration of the image.

    Returns:
        The object, or None if fewer than 10 visible pixels have a depth.
    """
    pixels_xy = _visible_pixels(visible)
    depths_m = depth_m[pixels_xy[:, 1], pixels_xy[:, 0]].astype(np.float64)
    known = np.isfinite(depths_m)
    if np.count_nonzero(known) < _MIN_POINTS:
        return None
    low, high = np.percentile(depths_m[known], _RANGE_PERCENT)
    kept = known & (depths_m >= low) & (depths_m <= high)
    pixels_xy, depths_m = pixels_xy[kept], depths_m[kept]
    points = _to_points(camera.pixels_to_rays(pixels_xy), depths_m)

    outline = camera.pixels_to_rays(_outline_pixels(amodal)) * np.median(depths_m)
    sideways = np.vstack([points[:, :2], outline])
    lower = np.array([*sideways.min(axis=0), points[:, 2].min()])
    upper = np.array([*sideways.max(axis=0), points[:, 2].max()])
    size, centroid = upper - lower, points.mean(axis=0)
    hidden = 1.0 if np.isnan(occlusion_ratio) else occlusion_ratio
    reach = np.array([size[0], size[1], size.max()]) / 2
    variance = (_DEPTH_NOISE * centroid[2]) ** 2 + (hidden * reach) ** 2
    return LiftedObject(
        points.astype(np.float32), pixels_xy, centroid, (lower + upper) / 2, size, variance
    )


def is_behind(occluder: MaskCrop, hidden: MaskCrop, visible: MaskCrop, depth_m: FloatArray) -> bool:
    """Say whether depth rules out that one object hides part of another.

    Args:
        occluder: Visible mask of the object that may be in front.
        hidden: Hidden part of the other object.
        visible: Visible part of the other object.
        depth_m: float32 (H, W), metres, NaN where unknown.

    Returns:
        Whether the median depth of the occluder over the hidden part lies more than a centimetre
        behind nearly all (95 %) of the other object's visible part; False where depth is unknown.
    """
    covering = _depths(depth_m, hidden)[_overlap(hidden, occluder)]
    seen = _depths(depth_m, visible)[visible.mask]
    covering, seen = covering[np.isfinite(covering)], seen[np.isfinite(seen)]
    if covering.size == 0 or seen.size == 0:
        return False
    return bool(np.median(covering) > np.percentile(seen, _RANGE_PERCENT[1]) + _BEHIND_MARGIN_M)


def _visible_pixels(visible: MaskCrop) -> npt.NDArray[np.intp]:
    """Return column and row of the pixels that stay after erosion, of all if none stays."""
    side = 2 * _EROSION_PX + 1
    padded = np.pad(visible.mask.astype(np.uint8), 1)
    eroded = cv2.erode(padded, np.ones((side, side), np.uint8), borderValue=0)[1:-1, 1:-1]
    rows, columns = np.nonzero(eroded if eroded.any() else visible.mask)
    return np.column_stack([columns + visible.x, rows + visible.y])


def _outline_pixels(amodal: MaskCrop) -> npt.NDArray[np.intp]:
    """Return the first and last pixel of each row and of each column of the mask."""
    x, y, mask = amodal.x, amodal.y, amodal.mask
    if mask.size == 0:
        return np.zeros((0, 2), dtype=np.intp)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    first_x, last_x = mask[rows].argmax(axis=1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    first_y = mask[:, columns].argmax(axis=0)
    last_y = mask.shape[0] - 1 - mask[::-1, columns].argmax(axis=0)
    return np.concatenate(
        [
            np.column_stack([first_x + x, rows + y]),
            np.column_stack([last_x + x, rows + y]),
            np.column_stack([columns + x, first_y + y]),
            np.column_stack([columns + x, last_y + y]),
        ]
    )


def _to_points(
    rays: npt.NDArray[np.float64], depths_m: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.column_stack([rays * depths_m[:, None], depths_m])


def _depths(depth_m: FloatArray, crop: MaskCrop) -> FloatArray:
    x1, y1, x2, y2 = crop.box_xyxy
    return depth_m[y1:y2, x1:x2]


def _overlap(hidden: MaskCrop, other: MaskCrop) -> npt.NDArray[np.bool_]:
    """Return the other mask cut to the hidden crop, where both are set."""
    x1, y1, x2, y2 = hidden.box_xyxy
    u1, v1, u2, v2 = other.box_xyxy
    both = np.zeros_like(hidden.mask)
    left, top, right, bottom = max(x1, u1), max(y1, v1), min(x2, u2), min(y2, v2)
    if left < right and top < bottom:
        part = other.mask[top - v1 : bottom - v1, left - u1 : right - u1]
        both[top - y1 : bottom - y1, left - x1 : right - x1] = part
    return both & hidden.mask
