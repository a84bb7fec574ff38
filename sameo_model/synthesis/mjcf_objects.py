"""Read one rigid object from an MJCF file, of a package or anyone's."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sameo_model.synthesis.assets import Collider, ColliderShape, ObjectSurface
from sameo_model.synthesis.decimation import MAX_FACES, decimate
from sameo_model.synthesis.decomposition import decompose
from sameo_model.synthesis.mesh_files import find_file
from sameo_model.synthesis.surfaces import (
    Array,
    Soup,
    box_soup,
    corner_normals,
    lathe_soup,
    project_uvs,
    superquadric_soup,
)
from sameo_model.synthesis.textures import MAX_TEXTURE_PX, shrink

_MESH = int(mujoco.mjtGeom.mjGEOM_MESH)
_ENDLESS = (int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_HFIELD))
_PRIMITIVES: dict[int, ColliderShape] = {
    int(mujoco.mjtGeom.mjGEOM_BOX): "box",
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): "cylinder",
    int(mujoco.mjtGeom.mjGEOM_SPHERE): "sphere",
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): "ellipsoid",
}


def read_mjcf(
    path: Path, *, decompose_drawn: bool = True
) -> tuple[tuple[ObjectSurface, ...], tuple[Collider, ...], dict[int, str]]:
    """Read a model in its initial pose, in metres.

    What does not collide is drawn, or everything if all collides. Its own colliders are kept, a
    mesh as its hull; where there are none, what is drawn is decomposed.

    Args:
        decompose_drawn: Whether this is done, too, if drawn meshes collide: many exporters let
            everything collide, and a cup's hull is filled. False where hulls are meant.

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
    surfaces = tuple(_read_surface(model, data, int(geom)) for geom in drawn)
    bare = {
        k: missing[name]
        for k, geom in enumerate(drawn)
        if (name := _texture_name(model, int(model.geom_matid[geom]))) in missing
    }
    doubled = kinds[np.intersect1d(drawn, solid)] == _MESH
    if len(solid) and not (decompose_drawn and doubled.any()):
        return surfaces, tuple(_read_collider(model, data, int(geom)) for geom in solid), bare
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
        with Image.open(path) as image:
            image.load()
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


def _texture_of(model: mujoco.MjModel, material: int) -> int | None:
    """Return the number of a material's texture; None where there is none (material -1, too)."""
    roles = np.atleast_1d(model.mat_texid[material]) if material >= 0 else np.array([-1])
    used = roles[roles >= 0]
    return int(used[0]) if len(used) else None


def _texture_name(model: mujoco.MjModel, material: int) -> str:
    texture = _texture_of(model, material)
    return "" if texture is None else model.texture(texture).name


def _read_texture(model: mujoco.MjModel, material: int) -> NDArray[np.uint8] | None:
    """Return a material's flat texture, uint8 (H, W, 3), shrunk; None for plain or cube ones."""
    texture = _texture_of(model, material)
    if texture is None or model.tex_type[texture] != int(mujoco.mjtTexture.mjTEXTURE_2D):
        return None
    height, width = int(model.tex_height[texture]), int(model.tex_width[texture])
    channels = int(model.tex_nchannel[texture])
    start = int(model.tex_adr[texture])
    pixels = model.tex_data[start : start + height * width * channels]
    return shrink(pixels.reshape(height, width, channels)[..., :3], MAX_TEXTURE_PX)


def _read_surface(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> ObjectSurface:
    """Return what a geom shows, in the world's frame; a mesh thinned."""
    if int(model.geom_type[geom]) == _MESH:
        soup = _mesh_soup(model, data, geom)
        soup, normals = decimate(soup, corner_normals(soup.triangles, 60.0), MAX_FACES)
    else:
        local = _primitive(int(model.geom_type[geom]), model.geom_size[geom]).triangles
        soup = Soup(_to_world(data, geom, local), project_uvs(local))
        normals = corner_normals(soup.triangles)
    material = int(model.geom_matid[geom])
    rgb = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
    red, green, blue = rgb[:3].tolist()
    texture = _read_texture(model, material)
    return ObjectSurface(soup.triangles, normals, soup.uvs, texture, (red, green, blue))


def _read_collider(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> Collider:
    """Return a geom as a collider in the world's frame; a mesh as its convex hull."""
    kind = int(model.geom_type[geom])
    if kind not in _PRIMITIVES:
        corners = np.unique(_mesh_soup(model, data, geom).triangles.reshape(-1, 3), axis=0)
        return Collider("hull", points=corners[:: max(1, len(corners) // 150)])
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, data.geom_xmat[geom])
    x, y, z = data.geom_xpos[geom].tolist()
    a, b, c, d = quat.tolist()
    return Collider(
        _PRIMITIVES[kind], tuple(model.geom_size[geom].tolist()), (x, y, z), (a, b, c, d)
    )


def _mesh_soup(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> Soup:
    """Return a mesh geom's triangles in the world's frame, with texture coordinates."""
    mesh = int(model.geom_dataid[geom])
    first = int(model.mesh_faceadr[mesh])
    faces = slice(first, first + int(model.mesh_facenum[mesh]))
    vertices = model.mesh_vert[int(model.mesh_vertadr[mesh]) :]
    triangles = _to_world(data, geom, vertices[model.mesh_face[faces]].astype(np.float64))
    if not model.mesh_texcoordnum[mesh]:
        return Soup(triangles, project_uvs(triangles))
    coordinates = model.mesh_texcoord[int(model.mesh_texcoordadr[mesh]) :]
    return Soup(triangles, coordinates[model.mesh_facetexcoord[faces]].astype(np.float64))


def _to_world(data: mujoco.MjData, geom: int, points: Array) -> Array:
    return np.asarray(points @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])


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
