"""Thin out scanned meshes without tearing their textures."""

from __future__ import annotations

import fast_simplification  # type: ignore[import-untyped]
import numpy as np
from scipy.spatial import cKDTree

from sameo_model.synthesis.surfaces import Array, Soup

MAX_FACES = 20000  # fewer make thin walls pierce themselves; more cost time only when loading


def decimate(soup: Soup, normals: Array, max_faces: int) -> tuple[Soup, Array]:
    """Return at most about `max_faces` triangles of the same shape, with their corner normals.

    A texture has seams, where corners at one place have coordinates far apart. So each corner takes
    those of an old corner that is near in space and, in the texture, near to the old triangle that
    its own triangle stands for. Normals come from there too: they keep the relief that the fewer
    triangles have lost.

    Args:
        normals: float64 (F, 3, 3), unit normal of every corner.
        max_faces: How many triangles may remain.
    """
    if len(soup.triangles) <= max_faces:
        return soup, normals
    points, faces = _weld(soup.triangles, 1e-6)
    new_points, new_faces = fast_simplification.simplify(
        points.astype(np.float32), faces.astype(np.int32), target_count=max_faces
    )
    triangles = new_points[new_faces].astype(np.float64)
    area = np.linalg.norm(_normals(triangles), axis=1)
    triangles = triangles[area > 1e-12]
    corners = _matching_corners(soup, triangles)
    uvs = soup.uvs.reshape(-1, 2)[corners].reshape(-1, 3, 2)
    return Soup(triangles, uvs), normals.reshape(-1, 3)[corners].reshape(-1, 3, 3)


def _weld(triangles: Array, step_m: float) -> tuple[Array, np.ndarray]:
    keys = np.round(triangles.reshape(-1, 3) / step_m).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    faces = inverse.reshape(-1, 3)
    distinct = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    return triangles.reshape(-1, 3)[first], faces[distinct]


def _normals(triangles: Array) -> Array:
    return np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])


def _face_features(triangles: Array, scale_m: float) -> Array:
    normals = _normals(triangles)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15)
    # Inside and outside of a thin wall are close in space; the direction tells them apart.
    return np.concatenate([triangles.mean(axis=1), 0.1 * scale_m * normals], axis=1)


def _matching_corners(soup: Soup, triangles: Array) -> np.ndarray:
    """Return int (F * 3,): the corner of `soup` that each corner of `triangles` stands for."""
    scale_m = float(np.ptp(soup.triangles.reshape(-1, 3), axis=0).max())
    _, nearest = cKDTree(_face_features(soup.triangles, scale_m)).query(
        _face_features(triangles, scale_m)
    )

    def feature(corners: Array, uvs: Array) -> Array:
        return np.concatenate([corners.reshape(-1, 3), 0.1 * scale_m * uvs.reshape(-1, 2)], axis=1)

    middles = np.repeat(soup.uvs[nearest].mean(axis=1), 3, axis=0)
    _, corner = cKDTree(feature(soup.triangles, soup.uvs)).query(feature(triangles, middles))
    return np.asarray(corner)
