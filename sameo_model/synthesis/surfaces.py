"""Build triangle soups with texture coordinates: boxes, lathes, extrusions, superquadrics, tubes.

Every builder returns a `Soup`: corner positions float64 (F, 3, 3) in metres and texture coordinates
float64 (F, 3, 2). Triangles are counter-clockwise seen from outside.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Z_TO_Y = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""Rotation that turns the z axis into y."""


class Soup(NamedTuple):
    """Triangles float64 (F, 3, 3), xyz in metres, with texture coordinates float64 (F, 3, 2)."""

    triangles: Array
    uvs: Array


def join_soups(soups: list[Soup]) -> Soup:
    """Return all triangles of `soups` as one soup."""
    return Soup(
        np.concatenate([s.triangles for s in soups]), np.concatenate([s.uvs for s in soups])
    )


def move_soup(soup: Soup, rotation: Array | None = None, offset: object = (0, 0, 0)) -> Soup:
    """Rotate by a (3, 3) matrix (None: not at all), then shift by xyz in metres."""
    triangles = soup.triangles if rotation is None else soup.triangles @ rotation.T
    return Soup(triangles + np.asarray(offset, dtype=np.float64), soup.uvs)


def grid_soup(points: Array, uvs: Array) -> Soup:
    """Triangulate a grid of points float64 (M, N, 3) with uvs (M, N, 2); rows x columns turn right.

    The outside is where (next row) x (next column) points to.
    """

    def split(values: Array) -> Array:
        a, b, c, d = values[:-1, :-1], values[1:, :-1], values[1:, 1:], values[:-1, 1:]
        depth = values.shape[-1]
        triangles = [np.stack([a, b, c], axis=2), np.stack([a, c, d], axis=2)]
        return np.concatenate([t.reshape(-1, 3, depth) for t in triangles])

    triangles, corner_uvs = split(points), split(uvs)
    edges = triangles[:, 1:] - triangles[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    keep = area > 1e-12  # poles and axes collapse one edge of a cell
    return Soup(triangles[keep], corner_uvs[keep])


def box_soup(size: object, divisions: int = 4) -> Soup:
    """Return a box of the given xyz size, each face in its own cell of a 3x2 texture layout."""
    half = np.asarray(size, dtype=np.float64) / 2
    ticks = np.linspace(0.0, 1.0, divisions + 1)
    rows, columns = np.meshgrid(ticks, ticks, indexing="ij")
    soups = []
    for face in range(6):
        axis, sign = face // 2, 1.0 if face % 2 else -1.0
        first, second = (axis + 1) % 3, (axis + 2) % 3
        points = np.zeros((*rows.shape, 3))
        points[..., axis] = sign * half[axis]
        points[..., first] = (2 * rows - 1) * half[first]
        points[..., second] = sign * (2 * columns - 1) * half[second]
        cell = np.array([axis / 3, (face % 2) / 2])
        uvs = cell + np.stack([rows / 3, columns / 2], axis=-1)
        soups.append(grid_soup(points, uvs))
    return join_soups(soups)


def lathe_soup(profile: Array, segments: int = 32) -> Soup:
    """Turn a profile float64 (P, 2) of (radius, z) about the z axis.

    Going along the profile with the axis on the left, the outside is on the right; so a solid body
    runs from its bottom up to its top, and a hollow one goes on down along the inside.
    """
    angles = np.linspace(0, 2 * np.pi, segments + 1)
    angles[-1] = 0.0
    radius, height = profile[:, :1], profile[:, 1:]
    points = np.stack(
        [
            radius * np.cos(angles),
            radius * np.sin(angles),
            np.broadcast_to(height, (len(profile), segments + 1)),
        ],
        axis=-1,
    )
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])
    v, u = np.meshgrid(length / length[-1], np.linspace(0, 1, segments + 1), indexing="ij")
    soup = grid_soup(points.transpose(1, 0, 2), np.stack([u, v], axis=-1).transpose(1, 0, 2))
    return soup


def extrude_soup(outline_xy: Array, height: float) -> Soup:
    """Extrude a counter-clockwise outline float64 (N, 2), star-shaped about its origin, along z."""
    closed = np.concatenate([outline_xy, outline_xy[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    z = np.linspace(-height / 2, height / 2, 4)
    points = np.stack(
        [
            *(np.repeat(closed[:, k : k + 1], 4, axis=1) for k in range(2)),
            np.tile(z, (len(closed), 1)),
        ],
        axis=-1,
    )
    uvs = np.stack(np.meshgrid(length / length[-1], np.linspace(0, 1, 4), indexing="ij"), axis=-1)
    soups = [grid_soup(points, uvs)]
    scale = 2 * np.abs(outline_xy).max()
    for sign in (-1.0, 1.0):
        rim = np.concatenate([closed, np.full((len(closed), 1), sign * height / 2)], axis=1)
        centre = np.broadcast_to([0.0, 0.0, sign * height / 2], rim[1:].shape)
        order = (rim[:-1], rim[1:]) if sign > 0 else (rim[1:], rim[:-1])
        triangles = np.stack([centre, *order], axis=1)
        soups.append(Soup(triangles, triangles[..., :2] / scale + 0.5))
    return join_soups(soups)


def superquadric_soup(radii: object, exponents: tuple[float, float], steps: int = 24) -> Soup:
    """Return a superquadric; exponents (vertical, horizontal): 1 round, near 0 boxy, 2 pinched."""

    def power(value: Array, exponent: float) -> Array:
        return np.asarray(np.sign(value) * np.abs(value) ** exponent)

    latitude = np.linspace(-np.pi / 2, np.pi / 2, steps + 1)
    longitude = np.linspace(-np.pi, np.pi, 2 * steps + 1)
    around, up = np.meshgrid(longitude, latitude, indexing="ij")
    ring = power(np.cos(up).clip(0), exponents[0])
    unit = np.stack(
        [
            ring * power(np.cos(around), exponents[1]),
            ring * power(np.sin(around), exponents[1]),
            power(np.sin(up), exponents[0]),
        ],
        axis=-1,
    )
    unit[-1] = unit[0]
    uvs = np.stack([around / (2 * np.pi) + 0.5, up / np.pi + 0.5], axis=-1)
    return grid_soup(unit * np.asarray(radii), uvs)


def tube_soup(path: Array, radii: Array, segments: int = 12) -> Soup:
    """Sweep circles of radii float64 (P,) along a path float64 (P, 3) in metres, ends closed."""
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    spread = np.abs(path - path.mean(0)).max(0)
    side = np.eye(3)[int(np.argmin(spread))]  # the path is flattest along this axis
    first = np.cross(tangents, side)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(tangents, first)
    angles = np.linspace(0, 2 * np.pi, segments + 1)
    angles[-1] = 0.0
    ring = (
        np.cos(angles)[None, :, None] * first[:, None]
        + np.sin(angles)[None, :, None] * second[:, None]
    )
    points = path[:, None] + radii[:, None, None] * ring
    points = np.concatenate(
        [
            np.repeat(path[:1, None], segments + 1, 1),
            points,
            np.repeat(path[-1:, None], segments + 1, 1),
        ]
    )
    u, v = np.meshgrid(
        np.linspace(0, 1, len(points)), np.linspace(0, 1, segments + 1), indexing="ij"
    )
    return grid_soup(points.transpose(1, 0, 2), np.stack([u, v], axis=-1).transpose(1, 0, 2))


def project_uvs(triangles: Array, period_m: float = 0.12) -> Array:
    """Return float64 (F, 3, 2): texture coordinates along the two axes that each face lies in."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    axis = np.abs(normals).argmax(axis=1)
    columns = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    rows = np.arange(len(triangles))[:, None, None]
    return np.asarray(triangles[rows, np.arange(3)[None, :, None], columns[:, None, :]] / period_m)


def corner_normals(triangles: Array, crease_deg: float = 40.0) -> Array:
    """Return float64 (F, 3, 3), unit normals that are smooth except across creases.

    A corner averages, weighted by area, the faces at its position that are within `crease_deg` of
    its own face.
    """
    face = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    unit = face / np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-15)
    keys = np.round(triangles.reshape(-1, 3) * 1e6).astype(np.int64)
    _, vertex = np.unique(keys, axis=0, return_inverse=True)
    vertex = vertex.reshape(-1)
    order = np.argsort(vertex, kind="stable")
    counts = np.bincount(vertex)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    corner = np.repeat(np.arange(len(vertex)), counts[vertex])
    within = np.arange(len(corner)) - np.repeat(
        np.cumsum(counts[vertex]) - counts[vertex], counts[vertex]
    )
    other = order[starts[vertex[corner]] + within]
    near = (unit[corner // 3] * unit[other // 3]).sum(1) > np.cos(np.radians(crease_deg))
    normals = np.zeros((len(vertex), 3))
    np.add.at(normals, corner[near], face[other[near] // 3])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 1e-15, normals / np.maximum(length, 1e-15), unit.repeat(3, axis=0))
    return normals.reshape(-1, 3, 3)
