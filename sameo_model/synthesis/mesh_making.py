"""Make one object ready: read, repaired, sized, decomposed, dropped once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import mujoco
import numpy as np

from sameo_model.synthesis.assets import Asset, scale_asset
from sameo_model.synthesis.decomposition import box_around, decompose, hull_around, thicken
from sameo_model.synthesis.mesh_discovery import MeshFile
from sameo_model.synthesis.mesh_reading import MeshPart, parts_to_surfaces, read_parts, repair_parts
from sameo_model.synthesis.mesh_units import unit_of
from sameo_model.synthesis.mjcf_objects import read_mjcf
from sameo_model.synthesis.physics import settle
from sameo_model.synthesis.ready_objects import OWN
from sameo_model.synthesis.stage import SceneBuilder, Stage


@dataclass(frozen=True)
class Sizing:
    """How large objects are taken to be."""

    range_m: tuple[float, float]  # plausible longest sides in metres
    unit: str | None = None  # unit of the folder; None decides for each file alone
    is_given: bool = False  # whether the user named the unit, so that no file is taken in another


@dataclass(frozen=True)
class MeshReport:
    """What became of one object."""

    name: str
    key: str  # path inside the folder of meshes
    notes: tuple[str, ...] = ()  # what was odd and how it was repaired
    skipped: str = ""  # why it cannot be used; empty if it can
    unit: str = ""  # unit that the file is taken to be in, "rescaled" if none was plausible
    size_m: float = 0.0  # longest side in metres
    faces: int = 0
    colliders: int = 0
    # numbers of the surfaces that the file does not colour; every scene paints them anew
    bare: tuple[int, ...] = ()


@dataclass(frozen=True)
class Mesh:
    """What an object's file holds: an MJCF asset in its own unit, or parts of a mesh file."""

    longest: float
    notes: list[str]
    asset: Asset | None = None
    parts: list[MeshPart] = field(default_factory=list)
    bare: tuple[int, ...] = ()


def read_mesh(entry: MeshFile) -> Mesh:
    """Read and repair an object.

    Raises:
        ValueError: If it cannot be used.
    """
    if entry.path.suffix.lower() in (".xml", ".mjcf"):
        surfaces, colliders, missing = read_mjcf(entry.path)
        asset = Asset(OWN, entry.name, surfaces, colliders)
        notes = [f"texture {file} is missing or damaged: painted anew" for file in missing.values()]
        return Mesh(float(asset.extent.max()), notes, asset, bare=tuple(missing))
    parts, odd = read_parts(entry.path)
    parts, repaired = repair_parts(parts)
    points = np.concatenate([part.triangles.reshape(-1, 3) for part in parts])
    bare = tuple(k for k, part in enumerate(parts) if part.is_bare)
    return Mesh(float(np.ptp(points, axis=0).max()), odd + repaired, None, parts, bare)


def make_ready(entry: MeshFile, sizing: Sizing) -> tuple[Asset, MeshReport]:
    """Read, repair, size and decompose one object, and drop it once.

    Raises:
        ValueError: If it cannot be used.
    """
    mesh = read_mesh(entry)
    unit, factor, odd = unit_of(mesh.longest, sizing.range_m, sizing.unit, is_given=sizing.is_given)
    if mesh.asset is not None:
        asset = scale_asset(mesh.asset, factor)
    else:
        points = np.concatenate([part.triangles.reshape(-1, 3) for part in mesh.parts])
        middle = (points.min(0) + points.max(0)) / 2
        parts = [replace(p, triangles=(p.triangles - middle) * factor) for p in mesh.parts]
        colliders = decompose(np.concatenate([part.triangles for part in parts]))
        asset = Asset(OWN, entry.name, parts_to_surfaces(parts), colliders)
    asset, fallback = _make_stable(asset)
    report = MeshReport(
        entry.name,
        entry.key,
        notes=(*mesh.notes, *odd, *fallback),
        unit=unit,
        size_m=round(float(asset.extent.max()), 4),
        faces=sum(len(surface.triangles) for surface in asset.surfaces),
        colliders=len(asset.colliders),
        bare=mesh.bare,
    )
    return asset, report


def _make_stable(asset: Asset) -> tuple[Asset, list[str]]:
    """Return the object with colliders with which it comes to rest, and what had to be changed."""
    if _comes_to_rest(asset):
        return asset, []
    points = thicken(np.unique(asset.points, axis=0))
    for make, name in ((hull_around, "its convex hull"), (box_around, "its box")):
        simpler = replace(asset, colliders=(make(points),))
        if _comes_to_rest(simpler):
            return simpler, [f"does not come to rest: collides as {name}"]
    raise ValueError("does not come to rest, even as a box")


def _comes_to_rest(asset: Asset) -> bool:
    builder = SceneBuilder(np.random.default_rng(0), (64, 64))
    builder.add_stage(Stage("floor", (3.0, 3.0)))
    points = asset.points
    lift = np.array([0.0, 0.0, 0.01 - points[:, 2].min()])
    builder.add_object(asset, lift, np.array([1.0, 0, 0, 0]))
    try:
        model = builder.compile()
    except ValueError:
        return False
    return settle(model, mujoco.MjData(model))
