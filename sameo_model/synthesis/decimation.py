"""Thin out scanned meshes without tearing their textures."""

from __future__ import annotations

import fast_simplification  # type: ignore[import-untyped]
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from sameo_model.synthesis.surfaces import Array, Soup


def decimate(soup: Soup, normals: Array, max_faces: int) -> tuple[Soup, Array]:
    """Return at most about `max_faces` triangles of the same shape, with their corner normals.

    A texture atlas has seams: points that are neighbours on the object lie far apart in the
    texture. So each new triangle takes its coordinates from one chart of the atlas, that of the old
    triangle nearest to it. Normals come from there too: they keep the relief that the fewer
    triangles have lost.

    Args:
        soup: The mesh.
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


def _chart_of_faces(soup: Soup) -> np.ndarray:
    """Return int (F,): faces with a corner of equal position and coordinates share a chart."""
    corners = np.concatenate([soup.triangles, soup.uvs], axis=2).reshape(-1, 5)
    _, vertex = np.unique(np.round(corners * 1e5).astype(np.int64), axis=0, return_inverse=True)
    faces = vertex.reshape(-1, 3)
    count = int(faces.max()) + 1
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    return np.asarray(labels[faces[:, 0]])


def _face_features(triangles: Array, scale_m: float) -> Array:
    normals = _normals(triangles)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15)
    # Inside and outside of a thin wall are close in space; the direction tells them apart.
    return np.concatenate([triangles.mean(axis=1), 0.1 * scale_m * normals], axis=1)


def _matching_corners(soup: Soup, triangles: Array) -> np.ndarray:
    """Return int (F * 3,): the corner of `soup` that each corner of `triangles` stands for."""
    charts = _chart_of_faces(soup)
    scale_m = float(np.ptp(soup.triangles.reshape(-1, 3), axis=0).max())
    _, nearest = cKDTree(_face_features(soup.triangles, scale_m)).query(
        _face_features(triangles, scale_m)
    )
    # A chart can meet itself, as a label that is wrapped around a can: nearness in the texture
    # decides between the two sides of such a seam.
    apart_m, seam_m = 10 * scale_m, 0.1 * scale_m

    def feature(corners: Array, chart: np.ndarray, uvs: Array) -> Array:
        column = np.repeat(chart, 3)[:, None] * apart_m
        return np.concatenate([corners.reshape(-1, 3), column, uvs.reshape(-1, 2) * seam_m], axis=1)

    tree = cKDTree(feature(soup.triangles, charts, soup.uvs))
    middles = np.repeat(soup.uvs[nearest].mean(axis=1), 3, axis=0)
    _, corner = tree.query(feature(triangles, charts[nearest], middles))
    return np.asarray(corner)
