"""Write tiny mesh files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# A cube from -1 to 1: corners, and outward counter-clockwise triangles.
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
FACES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]
)  # fmt: skip


def cube(half_xyz=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Return float64 (12, 3, 3): a cuboid of the given half sizes."""
    return (CORNERS * half_xyz)[FACES]


def lidless_box(half_xyz=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Return float64 (10, 3, 3): the cuboid without its top, one surface thick."""
    triangles = cube(half_xyz)
    return triangles[~(triangles[:, :, 2] > 0).all(axis=1)]


def write_obj(path: Path, triangles: np.ndarray, material: str = "") -> Path:
    """Write an OBJ with coordinates; `material` is the text of its MTL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["vt 0.25 0.25", "vt 0.75 0.25", "vt 0.75 0.75"]
    if material:
        path.with_suffix(".mtl").write_text(material)
        lines += [f"mtllib {path.stem}.mtl", f"usemtl {material.split()[1]}"]
    lines += [f"v {x} {y} {z}" for x, y, z in triangles.reshape(-1, 3)]
    lines += [f"f {3 * k + 1}/1 {3 * k + 2}/2 {3 * k + 3}/3" for k in range(len(triangles))]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_stl(path: Path, triangles: np.ndarray) -> Path:
    """Write a text STL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["solid s"]
    for triangle in triangles:
        lines += ["facet normal 0 0 0", "outer loop"]
        lines += [f"vertex {x} {y} {z}" for x, y, z in triangle]
        lines += ["endloop", "endfacet"]
    path.write_text("\n".join([*lines, "endsolid s"]) + "\n")
    return path
