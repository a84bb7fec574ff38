"""Approximate a mesh's collision shape by convex pieces: a box, one hull, or V-HACD's hulls."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from sameo_model.synthesis.assets import Collider
from sameo_model.synthesis.colliders import hull
from sameo_model.synthesis.decimation import decimate
from sameo_model.synthesis.mesh_reading import is_watertight, signed_volume
from sameo_model.synthesis.surfaces import Array, Soup

BOX_SHARE = 0.97  # a hull that fills this much of its box collides as the box
HULL_SHARE = 0.92  # a body that fills this much of its hull collides as the hull
MAX_PIECES = 24
MIN_THICKNESS_M = 0.004
_MAX_FACES = 5000  # V-HACD may take minutes over more
_VOXELS = 100_000
_POINTS_PER_PIECE = 32


def decompose(triangles: Array) -> tuple[Collider, ...]:
    """Return convex pieces that together approximate a mesh.

    Args:
        triangles: float64 (F, 3, 3), metres, in the object's frame; may be open.

    Raises:
        ValueError: If it has no volume that could collide.
    """
    corners = np.unique(triangles.reshape(-1, 3), axis=0)
    points = thicken(corners)
    hull_volume = _hull_volume(points)
    if np.ptp(corners, axis=0).min() < MIN_THICKNESS_M:
        filled = 1.0
    else:  # what is open may be hollow
        filled = abs(signed_volume(triangles)) / hull_volume if is_watertight(triangles) else 0.0
    if filled > HULL_SHARE:
        is_box = hull_volume > BOX_SHARE * float(np.prod(np.ptp(points, axis=0)))
        return (box_around(points) if is_box else hull_around(points),)
    pieces = [thicken(piece) for piece in _vhacd(triangles, is_closed=filled > 0)]
    sound = [piece for piece in pieces if len(piece) >= 4]
    return tuple(hull(piece, _POINTS_PER_PIECE) for piece in sound) or (hull_around(points),)


def hull_around(points: Array) -> Collider:
    """Return the convex hull of points float64 (P, 3) in metres."""
    return hull(points[ConvexHull(points).vertices])


def box_around(points: Array) -> Collider:
    """Return the axis-aligned box around points float64 (P, 3) in metres."""
    low, high = points.min(0), points.max(0)
    a, b, c = ((high - low) / 2).tolist()
    x, y, z = ((high + low) / 2).tolist()
    return Collider("box", (a, b, c), (x, y, z))


def thicken(points: Array) -> Array:
    """Return points float64 (P, 3) in metres, doubled along directions in which they are thin."""
    centred = points - points.mean(axis=0)
    # Not the singular vectors of the points, whose other side has a row and column for each point.
    _, directions = np.linalg.eigh(centred.T @ centred)
    for direction in directions.T:
        lacking = MIN_THICKNESS_M - float(np.ptp(points @ direction))
        if lacking > 0:
            shift = direction * lacking / 2
            points = np.concatenate([points - shift, points + shift])
    return points


def _hull_volume(points: Array) -> float:
    try:
        return float(ConvexHull(points).volume)
    except QhullError as error:
        raise ValueError("has no volume that could collide") from error


def _vhacd(triangles: Array, *, is_closed: bool) -> list[Array]:
    import vhacdx  # type: ignore[import-untyped]

    soup, _ = decimate(Soup(triangles, triangles[..., :2]), triangles, _MAX_FACES)
    corners, index = np.unique(soup.triangles.reshape(-1, 3), axis=0, return_inverse=True)
    pieces = vhacdx.compute_vhacd(
        corners,
        index.reshape(-1).astype(np.uint32),
        maxConvexHulls=MAX_PIECES,
        resolution=_VOXELS,
        maxNumVerticesPerCH=_POINTS_PER_PIECE,
        fillMode="flood" if is_closed else "surface",
        asyncACD=False,
    )
    return [np.asarray(points, np.float64) for points, _ in pieces]
