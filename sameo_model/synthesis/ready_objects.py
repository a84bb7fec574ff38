"""Objects that are ready for scenes, on disk."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.synthesis.assets import Asset, Collider, ObjectSurface

OWN = "meshes"  # the family of a user's own objects


def save_ready(path: Path, asset: Asset) -> None:
    """Write an object as `.npz`, whole or not at all; corners are rounded to float32."""
    arrays: dict[str, Any] = {}
    meta: dict[str, Any] = {"surfaces": [], "colliders": [], "density": asset.density}
    for k, surface in enumerate(asset.surfaces):
        for name in ("triangles", "normals", "uvs"):
            arrays[f"{name}_{k}"] = getattr(surface, name).astype(np.float32)
        if surface.texture is not None:
            arrays[f"texture_{k}"] = surface.texture
        meta["surfaces"].append([surface.rgb, surface.specular, surface.shininess])
    for k, collider in enumerate(asset.colliders):
        if collider.points is not None:
            arrays[f"points_{k}"] = collider.points
        meta["colliders"].append([collider.shape, collider.size, collider.position, collider.quat])
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as stream:
        np.savez_compressed(stream, meta=np.array(json.dumps(meta)), **arrays)
    temporary.replace(path)


@lru_cache(maxsize=128)
def load_ready(path: Path, name: str) -> Asset:
    """Load a ready object."""
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    surfaces = tuple(
        ObjectSurface(
            arrays[f"triangles_{k}"].astype(np.float64),
            arrays[f"normals_{k}"].astype(np.float64),
            arrays[f"uvs_{k}"].astype(np.float64),
            arrays.get(f"texture_{k}"),
            tuple(rgb),
            specular,
            shininess,
        )
        for k, (rgb, specular, shininess) in enumerate(meta["surfaces"])
    )
    colliders = tuple(
        Collider(shape, tuple(size), tuple(position), tuple(quat), arrays.get(f"points_{k}"))
        for k, (shape, size, position, quat) in enumerate(meta["colliders"])
    )
    return Asset(OWN, name, surfaces, colliders, meta["density"])
