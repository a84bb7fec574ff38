"""From masks to 3D: where the objects are, seen from the camera, and how sure that is.

Depth is taken from the visible part alone. What is hidden has no depth of its own: the pixels in
front of it belong to other objects, and completing depth there is known to spoil placement. The
amodal outline says how far the object reaches sideways; `extent` says how far it may go on behind
what is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime import MaskCrop
from sameo_model.runtime.types import FloatArray
from sameo_ros.core.camera_model import CameraModel
from sameo_ros.core.extent import Extent, Surface, estimate_extent

_EROSION_PX = 2
_RANGE_PERCENT = (5, 95)
_MIN_POINTS = 10
_BEHIND_MARGIN_M = 0.01
# Depths further from the middle ones than this share of their range are strays.
_STRAY_SHARE = 0.6
_STRAY_MARGIN_M = 0.01
# The outline is seen where a visible point is this near, pixels.
_SEEN_PX = _EROSION_PX + 2.5
_GAP_PX = 3
_MIN_RING_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class LiftedObject:
    """An object in the camera's optical frame (z forward, x to the right, y down), metres."""

    points_xyz: FloatArray  # float32 (P, 3), its visible points
    pixels_xy: npt.NDArray[np.intp]  # int (P, 2), column and row that each point comes from
    box: Extent  # the box around the whole object, and how sure its centre is


def lift_object(
    amodal: MaskCrop,
    visible: MaskCrop,
    occlusion_ratio: float,
    depth_m: FloatArray,
    camera: CameraModel,
    aligned: npt.NDArray[np.float64] | None = None,
) -> LiftedObject | None:
    """Lift one object.

    The visible mask is eroded by two pixels, where depth mixes foreground and background, and
    stray depths are left out.

    Args:
        occlusion_ratio: Hidden share of the object in [0, 1]; NaN counts as 1.
        depth_m: float32 (H, W), depth registered to the image, metres, NaN where unknown.
        aligned: float64 (3, 3), rows are the axes of the frame that the box stands upright in, in
            the optical frame; None: the optical frame itself.

    Returns:
        The object, or None if fewer than 10 visible pixels have a depth.
    """
    pixels_xy, points = _visible_points(visible, depth_m, camera)
    if len(points) < _MIN_POINTS:
        return None
    outline_xyz, is_seen = _outline_points(amodal, pixels_xy, points, camera)
    surface = Surface(
        points,
        outline_xyz,
        is_seen,
        _background_depth(
            amodal if amodal.area else visible, depth_m, float(np.median(points[:, 2]))
        ),
        1.0 if np.isnan(occlusion_ratio) else float(occlusion_ratio),
    )
    box = estimate_extent(surface, np.eye(3) if aligned is None else aligned)
    return LiftedObject(points.astype(np.float32), pixels_xy, box)


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
    covering = _depths(depth_m, hidden)[hidden.mask & hidden.cut(occluder)]
    seen = _depths(depth_m, visible)[visible.mask]
    covering, seen = covering[np.isfinite(covering)], seen[np.isfinite(seen)]
    if covering.size == 0 or seen.size == 0:
        return False
    return bool(np.median(covering) > np.percentile(seen, _RANGE_PERCENT[1]) + _BEHIND_MARGIN_M)


def _visible_points(
    visible: MaskCrop, depth_m: FloatArray, camera: CameraModel
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return column and row of the visible pixels that count, and their points."""
    pixels_xy = _visible_pixels(visible)
    depths_m = depth_m[pixels_xy[:, 1], pixels_xy[:, 0]].astype(np.float64)
    rays = camera.pixels_to_rays(pixels_xy)
    # Beyond a kilometre is no depth, and squares of it would not fit.
    known = np.isfinite(depths_m) & (depths_m < 1e3) & np.isfinite(rays).all(axis=1)
    if not known.any():
        return pixels_xy[:0], np.zeros((0, 3))
    low, high = np.percentile(depths_m[known], _RANGE_PERCENT)
    margin = _STRAY_SHARE * (high - low) + _STRAY_MARGIN_M
    known &= (depths_m >= low - margin) & (depths_m <= high + margin)
    return pixels_xy[known], _to_points(rays[known], depths_m[known])


def _visible_pixels(visible: MaskCrop) -> npt.NDArray[np.intp]:
    """Return column and row of the pixels that stay after erosion, of all if none stays."""
    side = 2 * _EROSION_PX + 1
    padded = np.pad(visible.mask.astype(np.uint8), 1)
    eroded = cv2.erode(padded, np.ones((side, side), np.uint8), borderValue=0)[1:-1, 1:-1]
    rows, columns = np.nonzero(eroded if eroded.any() else visible.mask)
    return np.column_stack([columns + visible.x, rows + visible.y])


def _outline_points(
    amodal: MaskCrop,
    pixels_xy: npt.NDArray[np.intp],
    points: npt.NDArray[np.float64],
    camera: CameraModel,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the outline at the depths of the nearest visible points, and where it is seen."""
    outline_xy = _outline_pixels(amodal)
    rays = camera.pixels_to_rays(outline_xy)
    is_known = np.isfinite(rays).all(axis=1)
    outline_xy, rays = outline_xy[is_known], rays[is_known]
    if len(outline_xy) == 0:
        return np.zeros((0, 3)), np.zeros(0, dtype=np.bool_)
    both = np.vstack([outline_xy, pixels_xy])
    origin = both.min(axis=0)
    width, height = both.max(axis=0) - origin + 1
    missing = np.ones((height, width), np.uint8)
    column, row = (pixels_xy - origin).T
    missing[row, column] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        missing, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    depth_of_label = np.zeros(labels.max() + 1)
    depth_of_label[labels[row, column]] = points[:, 2]
    column, row = (outline_xy - origin).T
    return (
        _to_points(rays, depth_of_label[labels[row, column]]),
        distance[row, column] <= _SEEN_PX,
    )


def _background_depth(amodal: MaskCrop, depth_m: FloatArray, object_m: float) -> float | None:
    """Estimate the depth behind the middle of an object from what is seen around it.

    Args:
        amodal: The whole object; not empty.
        depth_m: float32 (H, W), metres, NaN where unknown.

    Returns:
        Depth in metres: of a plane through the surroundings (a table, a wall) where there is one,
        else of the far part of them; None where nothing is seen behind the object.
    """
    height, width = depth_m.shape
    x1, y1, x2, y2 = amodal.box_xyxy
    reach = _GAP_PX + max(4, round(0.1 * max(x2 - x1, y2 - y1)))
    left, top = max(x1 - reach, 0), max(y1 - reach, 0)
    right, bottom = min(x2 + reach, width), min(y2 + reach, height)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    mask[y1 - top : y2 - top, x1 - left : x2 - left] = amodal.mask
    near, far = (
        cv2.dilate(mask, np.ones((2 * side + 1,) * 2, np.uint8)) for side in (_GAP_PX, reach)
    )
    ring = (far > 0) & (near == 0)
    rows, columns = np.nonzero(ring)
    depths = depth_m[rows + top, columns + left].astype(np.float64)
    behind = np.isfinite(depths) & (depths > 0.98 * object_m)
    if np.count_nonzero(behind) < max(_MIN_RING_SHARE * len(depths), _MIN_POINTS):
        return None
    rows, columns, depths = rows[behind], columns[behind], depths[behind]
    # The inverse depth of a plane is linear in the pixels.
    terms = np.column_stack([columns, rows, np.ones(len(rows))])
    plane, *_ = np.linalg.lstsq(terms, 1 / depths, rcond=None)
    middle = np.array([(x1 + x2) / 2 - left, (y1 + y2) / 2 - top, 1.0])
    fits = np.abs(terms @ plane * depths - 1) < 0.02
    if fits.mean() > 0.7 and middle @ plane > 0:
        return float(1 / (middle @ plane))
    return float(np.percentile(depths, 90))


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
