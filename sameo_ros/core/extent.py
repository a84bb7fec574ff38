"""Where the centre of an object is, how sure that is, and the box around it.

Of an object a camera sees the front. Most objects on a table look the same from all sides of their
centre (point symmetric), and so two points of the outline that lie opposite each other have the
centre between them. How far the object goes on behind what is seen is not known: anything from
nothing to about its width is taken for equally likely, less where the outline already turns away
from the camera, and never beyond what is seen behind the object.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Deviation of a depth, as a share of the distance.
DEPTH_NOISE = 0.01
# Deviation of the centre across the ray, as a share of the size: when all is seen, and times the
# hidden share.
_SIZE_NOISE = 0.03
_HIDDEN_NOISE = 0.25
# The same as a share of the deviation along the ray: perspective shrinks what lies further back.
_SKEW = 0.15
# How far the centre may lie behind the outline, as a share of the mean width: where the outline
# lies as near as the middle, and where it turns away by a share of that width.
_UNSEEN_DEPTH = 1.4
_UNSEEN_DEPTH_TURNED = 0.35
_TURNED_AWAY = 0.4
# Something within this share of the mean width behind the object is what it lies on.
_SUPPORT_REACH = 2.0
# Mean and deviation of that distance as shares of the largest one: flat things are more frequent
# than deep ones, but what lies on a table mostly reaches down to it.
_FREE = 0.2, 0.42
_SUPPORTED = 0.6, 0.32
_NUM_SECTORS = 72
_MIN_PAIRS = 9
_MAX_POINTS = 1000
_RIM_QUANTILE = 0.8
UNKNOWN_ROTATION_RAD2 = float(np.pi**2)


@dataclass(frozen=True, eq=False)
class Surface:
    """What is known of an object's surface, metres, in the optical frame."""

    points_xyz: Array  # float64 (P, 3), visible points
    # float64 (Q, 3), the outline of the whole object, each point at the depth of the visible point
    # that is nearest in the image
    outline_xyz: Array
    # bool (Q,), whether the outline is that of the visible part there
    is_seen: npt.NDArray[np.bool_]
    # depth of what lies behind the middle of the object; None if unknown
    background_m: float | None
    hidden_share: float  # hidden share of the object, in [0, 1]


@dataclass(frozen=True, eq=False)
class Extent:
    """A box and its uncertainty, metres, in the optical frame."""

    centre_xyz: Array  # float64 (3,), centre of the box
    size_xyz: Array  # float64 (3,), full lengths along its axes
    axes: Array  # float64 (3, 3), its axes as columns, right-handed
    covariance_xyz: Array  # float64 (3, 3), of the centre, square metres


def estimate_extent(surface: Surface, aligned: Array) -> Extent:
    """Estimate the box around an object and the uncertainty of its centre.

    Args:
        aligned: float64 (3, 3), rows are the axes of the frame to align with, in the optical frame.
            The box stands along its z, and is the smallest in its plane of x and y.
    """
    # The outline says how far the object reaches; of the points between, some say how deep it is.
    points = surface.points_xyz[:: max(len(surface.points_xyz) // _MAX_POINTS, 1)]
    flat = np.vstack([points, surface.outline_xyz])
    middle_xy, width_m, length_m = _smallest_rectangle(flat[:, :2])[:3]
    front_m = _nearest_depth(points, middle_xy)
    between_m = np.maximum(_depths_between(surface, middle_xy), front_m)
    # Of faces that are seen edge-on only the near edge is known, so that opposite points may lie
    # too near, but not too far: a high quantile counts.
    seen_m = float(np.quantile(between_m, _RIM_QUANTILE)) if between_m.size else front_m
    turned_m = float(np.median(between_m)) - front_m if between_m.size else 0.0
    # A long thin outline may be a rod or the edge of a board.
    mean_width_m = max(float(np.sqrt(width_m * length_m)), length_m / 2)
    unseen_m, deviation_m = _unseen_depth(surface, front_m, seen_m, turned_m, mean_width_m)

    seen_xyz = np.array([*middle_xy, seen_m])
    ray = seen_xyz / np.linalg.norm(seen_xyz)
    centre = seen_xyz + unseen_m * ray / ray[2]

    relief_m = np.ptp(points[:, 2])
    along = (
        (deviation_m / ray[2]) ** 2
        + (DEPTH_NOISE * centre[2]) ** 2
        + (_HIDDEN_NOISE * surface.hidden_share * relief_m) ** 2
    )
    share = _SIZE_NOISE + _HIDDEN_NOISE * surface.hidden_share
    across = (
        (share * length_m) ** 2 + (_SKEW * deviation_m) ** 2 + (DEPTH_NOISE / 3 * centre[2]) ** 2
    )
    along_ray = np.outer(ray, ray)
    covariance = along * along_ray + across * (np.eye(3) - along_ray)
    size, axes = _fit_box(flat, centre, aligned)
    return Extent(centre, size, axes, covariance)


def _unseen_depth(
    surface: Surface, front_m: float, seen_m: float, turned_m: float, width_m: float
) -> tuple[float, float]:
    """Return mean and deviation of how far the centre lies behind what is seen, along z."""
    turned = min(turned_m / (_TURNED_AWAY * max(width_m, 1e-9)), 1.0)
    longest_m = width_m * (_UNSEEN_DEPTH + turned * (_UNSEEN_DEPTH_TURNED - _UNSEEN_DEPTH))
    mean, deviation = _FREE
    if surface.background_m is not None:
        # The object ends before what lies behind it, and its middle half way there at the latest.
        room_m = max((front_m + surface.background_m) / 2 - seen_m, 0.0)
        if room_m < longest_m or (turned < 1 and room_m < _SUPPORT_REACH * width_m):
            longest_m, (mean, deviation) = room_m, _SUPPORTED
    return mean * longest_m, deviation * longest_m


def _nearest_depth(points_xyz: Array, middle_xy: Array) -> float:
    """Return the depth of the visible points that lie nearest to the middle."""
    distance = np.linalg.norm(points_xyz[:, :2] - middle_xy, axis=1)
    count = min(max(len(distance) // 50, 5), len(distance))
    return float(np.median(points_xyz[np.argpartition(distance, count - 1)[:count], 2]))


def _depths_between(surface: Surface, middle_xy: Array) -> Array:
    """Return depths half way between opposite points of the outline; none if too few are seen."""
    rim = surface.outline_xyz[surface.is_seen]
    offset = rim[:, :2] - middle_xy
    turns = np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi) % 1
    sectors = (turns * _NUM_SECTORS).astype(int) % _NUM_SECTORS
    counts = np.bincount(sectors, minlength=_NUM_SECTORS)
    sums = np.bincount(sectors, weights=rim[:, 2], minlength=_NUM_SECTORS)
    half = _NUM_SECTORS // 2
    both = (counts[:half] > 0) & (counts[half:] > 0)
    if np.count_nonzero(both) < _MIN_PAIRS:
        return np.zeros(0)
    means = sums / np.maximum(counts, 1)
    between: Array = (means[:half] + means[half:])[both] / 2
    return between


def _fit_box(points_xyz: Array, centre: Array, aligned: Array) -> tuple[Array, Array]:
    """Return size and axes of the smallest box around points and their mirror images."""
    offsets = (points_xyz - centre) @ aligned.T
    _, width, length, angle = _smallest_rectangle(np.vstack([offsets, -offsets])[:, :2])
    # The first axis is the one nearest to the frame's x, so that an unturned box keeps its axes.
    quarters = int(np.round(angle / (np.pi / 2)))
    turn = angle - quarters * np.pi / 2
    first, second = (length, width) if quarters % 2 == 0 else (width, length)
    cos, sin = np.cos(turn), np.sin(turn)
    in_plane = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    height = 2 * np.abs(offsets[:, 2]).max()
    return np.array([first, second, height]), aligned.T @ in_plane


def _smallest_rectangle(points_xy: Array) -> tuple[Array, float, float, float]:
    """Return centre, width, length, and the angle of the longer side, radians.

    An upright rectangle is taken where it is nearly as small, so that noise turns nothing.
    """
    lower, upper = points_xy.min(axis=0), points_xy.max(axis=0)
    # Metres may be small for the precision of float32, which OpenCV computes with.
    scale = max(float((upper - lower).max()), 1e-9)
    relative = ((points_xy - lower) / scale).astype(np.float32)
    (x, y), sides, degrees = cv2.minAreaRect(relative)
    upright = (upper - lower) / scale
    if sides[0] * sides[1] > 0.97 * upright[0] * upright[1]:
        (x, y), sides, degrees = tuple(upright / 2), tuple(upright), 0.0
    angle = np.radians(degrees) + (0 if sides[0] >= sides[1] else np.pi / 2)
    centre = lower + scale * np.array([x, y])
    return centre, scale * min(sides), scale * max(sides), float(angle)
