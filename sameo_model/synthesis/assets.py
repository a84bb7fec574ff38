"""The common form of every object that a scene can hold: surfaces to draw, colliders to drop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ColliderShape = Literal["box", "cylinder", "sphere", "capsule", "ellipsoid", "hull"]
IDENTITY_QUAT = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ObjectSurface:
    """A textured triangle soup in the object's frame."""

    # (F, 3, 3), corners xyz in metres, counter-clockwise from outside
    triangles: NDArray[np.float64]
    normals: NDArray[np.float64]  # (F, 3, 3), unit normal of every corner
    # (F, 3, 2), texture coordinates of every corner; they repeat beyond [0, 1]
    uvs: NDArray[np.float64]
    texture: NDArray[np.uint8] | None = None  # (H, W, 3), RGB, 0-255, or None for a plain colour
    # colour in [0, 1], multiplied with the texture
    rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)
    specular: float = 0.3  # strength of highlights in [0, 1]
    shininess: float = 0.3  # sharpness of highlights in [0, 1]


@dataclass(frozen=True)
class Collider:
    """A convex piece of an object's collision shape, in the object's frame."""

    shape: ColliderShape  # a MuJoCo primitive, or "hull" for the convex hull of `points`
    # half sizes in metres in MuJoCo's order for that primitive; empty for a hull
    size: tuple[float, ...] = ()
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)  # xyz in metres
    quat: tuple[float, float, float, float] = IDENTITY_QUAT  # rotation as (w, x, y, z)
    points: NDArray[np.float64] | None = None  # (P, 3), metres, for a hull; else None


@dataclass(frozen=True)
class Asset:
    """One loose object."""

    family: str  # the family that it came from, e.g. "procedural"
    name: str  # category name, e.g. "mug"
    surfaces: tuple[ObjectSurface, ...]
    colliders: tuple[Collider, ...]
    density: float = 400.0  # of the colliders, kg per cubic metre
    # whether it only lies in the way: it hides others and gets no annotation
    is_distractor: bool = False

    @property
    def points(self) -> NDArray[np.float64]:
        """Return float64 (P, 3): all surface corners, xyz in metres in the object's frame."""
        return np.concatenate([s.triangles.reshape(-1, 3) for s in self.surfaces])

    @property
    def extent(self) -> NDArray[np.float64]:
        """Return float64 (3,): size of the axis-aligned bounding box in metres."""
        points = self.points
        return np.asarray(points.max(0) - points.min(0))


def scale_asset(asset: Asset, factor: float) -> Asset:
    """Return the asset `factor` times as large, about its frame's origin."""
    surfaces = tuple(replace(s, triangles=s.triangles * factor) for s in asset.surfaces)
    colliders = tuple(
        replace(
            c,
            size=tuple(value * factor for value in c.size),
            position=tuple(value * factor for value in c.position),  # type: ignore[arg-type]
            points=None if c.points is None else c.points * factor,
        )
        for c in asset.colliders
    )
    return replace(asset, surfaces=surfaces, colliders=colliders)
