"""Convex pieces that approximate a shape in collisions."""

from __future__ import annotations

import numpy as np

from sameo_model.synthesis.assets import Collider
from sameo_model.synthesis.surfaces import Array, Soup

Parts = tuple[list[Soup], list[Collider]]


def hull(points: Array, most: int = 120) -> Collider:
    """Return a hull collider of points float64 (..., 3), thinned to at most `most` of them."""
    flat = points.reshape(-1, 3)
    unique = np.unique(np.round(flat, 5), axis=0)
    step = max(1, len(unique) // most)
    lowest = [int(unique[:, axis].argmin()) for axis in range(3)]
    highest = [int(unique[:, axis].argmax()) for axis in range(3)]
    keep = np.unique(np.concatenate([np.arange(0, len(unique), step), lowest, highest]))
    return Collider("hull", points=unique[keep])


def wall_colliders(outer: Array, inner: Array, sectors: int = 10) -> list[Collider]:
    """Return hulls of the wall between two profiles (2, 2) of (radius, z), low end first."""
    colliders = []
    for k in range(sectors):
        angles = 2 * np.pi * np.array([k, k + 1]) / sectors
        corners = [
            [radius * np.cos(angle), radius * np.sin(angle), z]
            for radius, z in (*outer, *inner)
            for angle in angles
        ]
        colliders.append(Collider("hull", points=np.array(corners)))
    return colliders


def disc_collider(radius: float, bottom_z: float, top_z: float) -> Collider:
    """Return an upright cylinder between two heights."""
    half = (top_z - bottom_z) / 2
    return Collider("cylinder", (radius, half), (0.0, 0.0, bottom_z + half))
