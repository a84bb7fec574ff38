"""Read one rigid object from anyone's MJCF file."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco
import numpy as np
from PIL import Image

from sameo_model.synthesis.assets import Collider, ObjectSurface
from sameo_model.synthesis.decomposition import decompose
from sameo_model.synthesis.mesh_files import find_file
from sameo_model.synthesis.meshes import (
    project_uvs,
    read_collider,
    read_surface,
    read_texture,
    texture_of,
)
from sameo_model.synthesis.surfaces import (
    Soup,
    box_soup,
    corner_normals,
    lathe_soup,
    superquadric_soup,
)

_MESH = int(mujoco.mjtGeom.mjGEOM_MESH)
_ENDLESS = (int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_HFIELD))


def read_mjcf(path: Path) -> tuple[tuple[ObjectSurface, ...], tuple[Collider, ...], dict[int, str]]:
    """Read a model in its initial pose, in metres.

    What does not collide is drawn, or everything if all collides. Its own colliders are kept,
    unless they are the drawn meshes themselves: then those are decomposed.

    Returns:
        Surfaces, colliders, and the files of missing textures by the surfaces that need them.

    Raises:
        ValueError: If the model moves in itself, contains a ground, or MuJoCo cannot read it.
    """
    if _has_joints(path):
        raise ValueError("has joints: only rigid objects can be dropped")
    spec = mujoco.MjSpec.from_file(str(path))
    missing = _replace_missing_textures(spec, path.parent)
    _find_meshes(spec, path.parent)
    model = spec.compile()
    if any(kind != int(mujoco.mjtJoint.mjJNT_FREE) for kind in np.asarray(model.jnt_type)):
        raise ValueError("has joints: only rigid objects can be dropped")
    kinds = np.asarray(model.geom_type)
    if np.isin(kinds, _ENDLESS).any():
        raise ValueError("contains a plane or height field: a scene, not an object")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    collides = (np.asarray(model.geom_contype) != 0) | (np.asarray(model.geom_conaffinity) != 0)
    visible = np.asarray(model.geom_rgba)[:, 3] > 0
    drawn = np.flatnonzero(~collides & visible)
    solid = np.flatnonzero(collides)
    if not len(drawn):
        drawn = np.flatnonzero(visible)
    if not len(drawn):
        raise ValueError("has no faces")
    surfaces = tuple(_surface(model, data, int(geom)) for geom in drawn)
    bare = {
        k: missing[name]
        for k, geom in enumerate(drawn)
        if (name := _texture_name(model, int(model.geom_matid[geom]))) in missing
    }
    doubled = np.intersect1d(drawn, solid)
    if len(solid) and not (kinds[doubled] == _MESH).any():
        return surfaces, tuple(read_collider(model, data, int(geom)) for geom in solid), bare
    return surfaces, decompose(np.concatenate([s.triangles for s in surfaces])), bare


def _has_joints(path: Path) -> bool:
    """Look for joints before meshes are read: a robot's take long."""
    joints = ElementTree.parse(path).getroot().iterfind(".//body//joint")
    return any(
        joint.get("type", "hinge") != "free" and "class" not in joint.attrib for joint in joints
    )


def _replace_missing_textures(spec: mujoco.MjSpec, folder: Path) -> dict[str, str]:
    """Make textures plain whose file is missing or damaged; return these by the textures' names.

    Files that lie there under a name of another system (backslashes, case) are found.
    """
    missing = {}
    for texture in spec.textures:
        if not texture.file:
            continue
        path = folder / spec.texturedir / texture.file
        found = (
            path if path.is_file() else find_file(texture.file, [folder / spec.texturedir, folder])
        )
        if found is not None and not _is_damaged(found):
            if found != path:
                texture.file = str(found.resolve())
        else:
            missing[texture.name or Path(texture.file).stem] = Path(texture.file).name
            texture.name = texture.name or Path(texture.file).stem
            texture.file, texture.builtin = "", mujoco.mjtBuiltin.mjBUILTIN_FLAT
            is_flat = texture.type == mujoco.mjtTexture.mjTEXTURE_2D
            texture.width, texture.height = 8, 8 if is_flat else 48  # a cube has six faces
            texture.rgb1 = np.full(3, 0.6)
    return missing


def _is_damaged(path: Path) -> bool:
    """Return whether a PNG cannot be read; MuJoCo knows other kinds of its own."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return True
    return False


def _find_meshes(spec: mujoco.MjSpec, folder: Path) -> None:
    """Name meshes as they lie there, where the model names them as another system does."""
    for mesh in spec.meshes:
        if mesh.file and not (folder / spec.meshdir / mesh.file).is_file():
            found = find_file(mesh.file, [folder / spec.meshdir, folder])
            if found is not None:
                mesh.file = str(found.resolve())


def _texture_name(model: mujoco.MjModel, material: int) -> str:
    texture = texture_of(model, material)
    return "" if texture is None else model.texture(texture).name


def _surface(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> ObjectSurface:
    if int(model.geom_type[geom]) == _MESH:
        return read_surface(model, data, geom)
    soup = _primitive(int(model.geom_type[geom]), model.geom_size[geom])
    rotation = data.geom_xmat[geom].reshape(3, 3)
    triangles = soup.triangles @ rotation.T + data.geom_xpos[geom]
    material = int(model.geom_matid[geom])
    rgb = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
    red, green, blue = (float(value) for value in rgb[:3])
    return ObjectSurface(
        triangles,
        corner_normals(triangles),
        project_uvs(soup.triangles),
        read_texture(model, material),
        (red, green, blue),
    )


def _primitive(kind: int, size: np.ndarray) -> Soup:
    geoms = mujoco.mjtGeom
    if kind == int(geoms.mjGEOM_BOX):
        return box_soup(2 * size)
    if kind == int(geoms.mjGEOM_SPHERE):
        return superquadric_soup((size[0],) * 3, (1.0, 1.0))
    if kind == int(geoms.mjGEOM_ELLIPSOID):
        return superquadric_soup(size, (1.0, 1.0))
    radius, half = float(size[0]), float(size[1])
    if kind == int(geoms.mjGEOM_CYLINDER):
        return lathe_soup(np.array([[0, -half], [radius, -half], [radius, half], [0, half]]))
    if kind == int(geoms.mjGEOM_CAPSULE):
        angles = np.linspace(-np.pi / 2, np.pi / 2, 16)
        ends = half * np.sign(angles) * (angles != 0)
        profile = np.stack([radius * np.cos(angles), radius * np.sin(angles) + ends], axis=1)
        profile[[0, -1], 0] = 0.0
        return lathe_soup(profile)
    raise ValueError(f"has a geom of type {kind}, which cannot be drawn")
