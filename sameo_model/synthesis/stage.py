"""Put objects on a table, a floor or into a bin: the MuJoCo model of one scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.assets import Asset, Collider
from sameo_model.synthesis.photographs import Photographs
from sameo_model.synthesis.textures import GROUND_PAINTERS, Image, paint_texture, random_rgb

Rng = np.random.Generator
StageKind = Literal["table", "floor", "bin", "shelf"]
STAGE_GROUP, OBJECT_GROUP, COLLIDER_GROUP, HIDDEN_GROUP = 0, 1, 4, 5
PHOTO_GROUND_SHARE, PHOTO_SKY_SHARE = 0.6, 0.85  # where there are photographs
_GEOM_TYPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    "hull": mujoco.mjtGeom.mjGEOM_MESH,
}


@dataclass(frozen=True)
class Stage:
    """Where objects lie; the supporting surface is the plane z = 0."""

    # table (a board above a floor), floor, bin (four walls) or shelf (open towards -y)
    kind: StageKind
    half_xy: tuple[float, float]  # half sizes of the usable area in metres
    wall_m: float = 0.0  # height of a bin's or shelf's walls in metres, else 0
    # heights of a shelf's boards in metres, the lowest 0; else empty
    boards_z: tuple[float, ...] = ()
    # half side of an unseen fence that holds a pile together while it forms, or 0
    fence_m: float = 0.0


def sample_stage(rng: Rng, radius_m: float, kind: StageKind | None = None) -> Stage:
    """Draw a stage, but no shelf, for objects dropped within `radius_m` of its middle."""
    if kind is None:
        kind = rng.choice(["table", "floor", "bin"], p=[0.5, 0.25, 0.25])
    if kind == "bin":
        half = radius_m * rng.uniform(1.0, 1.35, 2) + 0.06
        return Stage("bin", (float(half[0]), float(half[1])), float(rng.uniform(0.05, 0.16)))
    margin = rng.uniform(0.12, 0.6, 2) if kind == "table" else np.full(2, 3.0)
    return Stage(kind, (float(radius_m + margin[0]), float(radius_m + margin[1])))


@dataclass(frozen=True)
class Grounds:
    """Photographed surfaces for table, floor, walls and sky."""

    tiles: tuple[Image, ...] = ()  # uint8 (H, W, 3) each, RGB: surfaces made to be repeated
    photographs: Photographs | None = None  # photographs of anything, or None


def open_fence(model: mujoco.MjModel) -> bool:
    """Take the fence of a pile away; return whether there was one."""
    fence = [k for k in range(model.ngeom) if model.geom(k).name.startswith("fence_")]
    model.geom_contype[fence] = 0
    model.geom_conaffinity[fence] = 0
    return bool(fence)


class SceneBuilder:
    """Collect lights, stage and objects, then compile them in memory.

    Objects become bodies `object_<k>` with a free joint; their surfaces belong to
    `OBJECT_GROUP` and do not collide, their colliders to `COLLIDER_GROUP` and are not drawn.
    """

    def __init__(self, rng: Rng, image_hw: tuple[int, int], grounds: Grounds | None = None) -> None:
        """Start an empty scene.

        Args:
            image_hw: Height and width of the images in pixels.
        """
        self.rng = rng
        self.grounds = grounds or Grounds()
        self.spec = mujoco.MjSpec()
        spec = self.spec
        spec.stat.extent = 1.0
        spec.visual.map.znear, spec.visual.map.zfar = 0.01, 30.0
        spec.visual.global_.offheight, spec.visual.global_.offwidth = image_hw
        spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 4
        spec.option.timestep = 0.004
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.iterations, spec.option.ls_iterations = 20, 10
        camera = spec.worldbody.add_camera()
        camera.name = "camera"
        self._count = 0

    def add_lights(self) -> None:
        """Add an ambient light and one to three lamps, the first of which casts shadows."""
        rng, headlight = self.rng, self.spec.visual.headlight
        headlight.ambient = np.full(3, rng.uniform(0.15, 0.45))
        headlight.diffuse = np.full(3, rng.uniform(0.0, 0.25))
        headlight.specular = np.zeros(3)
        for k in range(int(rng.integers(1, 4))):
            angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 1.1)
            position = rng.uniform(1.2, 2.5) * np.array(
                [np.cos(angle) * np.sin(tilt), np.sin(angle) * np.sin(tilt), np.cos(tilt)]
            )
            light = self.spec.worldbody.add_light()
            light.pos, light.dir = position, -position / np.linalg.norm(position)
            light.type = (
                mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
                if rng.random() < 0.5
                else mujoco.mjtLightType.mjLIGHT_SPOT
            )
            light.cutoff, light.exponent = 60.0, 2.0
            tint = np.clip(1 + rng.normal(0, 0.06, 3), 0.7, 1.2)
            light.diffuse = tint * (rng.uniform(0.35, 0.8) if k == 0 else rng.uniform(0.05, 0.35))
            light.specular = tint * rng.uniform(0.1, 0.6)
            light.castshadow = k == 0 and rng.random() < 0.85

    def add_material(
        self,
        texture: Image | None,
        *,
        rgb: tuple[float, float, float] = (1.0, 1.0, 1.0),
        specular: float = 0.2,
        shininess: float = 0.2,
        repeat: tuple[float, float] = (1.0, 1.0),
    ) -> str:
        """Add a material and return its name.

        Args:
            texture: uint8 (H, W, 3), RGB, or None for a plain colour.
            rgb: Colour in [0, 1].
            specular: Strength of highlights in [0, 1].
            shininess: Sharpness of highlights in [0, 1].
            repeat: How often the texture repeats along x and y of a plane or box.
        """
        name = f"material_{self._next()}"
        material = self.spec.add_material()
        material.name, material.rgba = name, (*rgb, 1.0)
        material.specular, material.shininess, material.reflectance = specular, shininess, 0.0
        if texture is not None:
            image = self.spec.add_texture()
            image.name, image.type = f"texture_{name}", mujoco.mjtTexture.mjTEXTURE_2D
            image.height, image.width, image.nchannel = *texture.shape[:2], 3
            image.data = texture.tobytes()
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = image.name
            material.texrepeat = repeat
        return name

    def add_stage(self, stage: Stage) -> None:
        """Add sky, ground and, by kind, table board, bin or shelf, and walls of the room."""
        rng = self.rng
        self.add_sky()
        x, y = stage.half_xy
        is_raised = stage.kind in ("table", "shelf")
        floor_z = -float(rng.uniform(0.4, 0.8)) if is_raised else 0.0
        self._add_box((4.0, 4.0, 0.25), (0, 0, floor_z - 0.25), self._ground(4.0))
        if stage.kind == "table":
            self._add_box((x, y, 0.02), (0, 0, -0.02), self._ground(max(x, y)))
            # A deep block below the board: whatever sinks in is pushed up again.
            block = self.spec.worldbody.add_geom()
            block.type, block.size, block.pos = _GEOM_TYPES["box"], (x, y, 0.15), (0, 0, -0.15)
            block.group = COLLIDER_GROUP
        if stage.kind == "bin":
            self._add_bin(stage)
        if stage.kind == "shelf":
            self._add_shelf(stage)
        if stage.fence_m:
            self._add_fence(stage.fence_m)
        for k in range(int(rng.integers(0, 4))):
            angle, distance = (
                k * np.pi / 2,
                rng.uniform(0.7, 2.0) + max(x, y) * (stage.kind != "floor"),
            )
            position = (distance * np.cos(angle), distance * np.sin(angle), floor_z + 1.2)
            size = (0.02, 3.0, 1.2) if k % 2 == 0 else (3.0, 0.02, 1.2)
            self._add_box(size, position, self._ground(2.0))

    def add_object(
        self, asset: Asset, position: NDArray[np.float64], quat: NDArray[np.float64]
    ) -> None:
        """Add a free body.

        Args:
            position: float64 (3,), xyz of its frame in metres.
            quat: float64 (4,), rotation as (w, x, y, z).
        """
        body = self.spec.worldbody.add_body()
        body.name = f"object_{self._next()}"
        body.pos, body.quat = position, quat
        body.add_freejoint()
        for surface in asset.surfaces:
            material = self.add_material(
                surface.texture,
                rgb=surface.rgb,
                specular=surface.specular,
                shininess=surface.shininess,
            )
            mesh = self.spec.add_mesh()
            mesh.name = f"mesh_{self._next()}"
            mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # open and thin ones are fine
            mesh.uservert = surface.triangles.astype(np.float32).ravel()
            mesh.usernormal = surface.normals.astype(np.float32).ravel()
            mesh.usertexcoord = surface.uvs.astype(np.float32).ravel()
            mesh.userface = np.arange(3 * len(surface.triangles), dtype=np.int32)
            geom = body.add_geom()
            geom.type, geom.meshname, geom.material = _GEOM_TYPES["hull"], mesh.name, material
            geom.contype, geom.conaffinity, geom.mass, geom.group = 0, 0, 0.0, OBJECT_GROUP
        for collider in asset.colliders:
            self._add_collider(body, collider, asset.density)

    def compile(self) -> mujoco.MjModel:
        """Return the compiled model.

        Raises:
            ValueError: If MuJoCo refuses a part of it.
        """
        return self.spec.compile()

    def _next(self) -> int:
        self._count += 1
        return self._count

    def add_sky(self) -> None:
        """Add what is seen beyond everything else: a photograph or a gradient."""
        rng, photographs = self.rng, self.grounds.photographs
        sky = self.spec.add_texture()
        sky.name, sky.type = "sky", mujoco.mjtTexture.mjTEXTURE_SKYBOX
        if photographs is not None and rng.random() < PHOTO_SKY_SHARE:
            faces = photographs.sky(rng)
            sky.height, sky.width, sky.nchannel = *faces.shape[:2], 3
            sky.data = faces.tobytes()
            return
        sky.builtin = mujoco.mjtBuiltin.mjBUILTIN_GRADIENT
        sky.rgb1, sky.rgb2 = random_rgb(rng), random_rgb(rng)
        sky.width, sky.height = 64, 384

    def _ground(self, half_m: float) -> str:
        texture, period_m = self._ground_texture(512)
        rng = self.rng
        repeat = float(np.ceil(2 * half_m / period_m))
        return self.add_material(
            texture,
            specular=float(rng.uniform(0, 0.5)),
            shininess=float(rng.uniform(0.1, 0.7)),
            repeat=(repeat, repeat),
        )

    def _ground_texture(self, size: int) -> tuple[Image, float]:
        """Return a texture and the length in metres after which it repeats."""
        rng, grounds = self.rng, self.grounds
        if grounds.photographs is not None and rng.random() < PHOTO_GROUND_SHARE:
            mirrored = bool(rng.random() < 0.6)
            texture = grounds.photographs.crop(rng, size, mirrored=mirrored)
            return texture, float(np.exp(rng.uniform(np.log(0.4), np.log(4.0))))
        if grounds.tiles and rng.random() < 0.4:
            texture = grounds.tiles[int(rng.integers(len(grounds.tiles)))]
        else:
            texture = paint_texture(rng, GROUND_PAINTERS, size)
        return texture, float(rng.uniform(0.3, 1.2))

    def _add_box(
        self, half_size: tuple[float, ...], position: tuple[float, ...], material: str
    ) -> None:
        geom = self.spec.worldbody.add_geom()
        geom.type, geom.size, geom.pos = _GEOM_TYPES["box"], half_size, position
        geom.material, geom.group = material, STAGE_GROUP

    def _add_bin(self, stage: Stage) -> None:
        x, y = stage.half_xy
        wall, half = 0.006, stage.wall_m / 2
        photographs = self.grounds.photographs
        if photographs is not None and self.rng.random() < 0.5 * PHOTO_GROUND_SHARE:
            texture = photographs.crop(self.rng, 256)
        else:
            texture = paint_texture(self.rng, GROUND_PAINTERS, 256)
        material = self.add_material(texture, specular=0.2)
        self._add_box((x, y, 0.002), (0, 0, -0.0015), material)
        for sign in (-1, 1):
            self._add_box((wall, y + 2 * wall, half), (sign * (x + wall), 0, half), material)
            self._add_box((x, wall, half), (0, sign * (y + wall), half), material)

    def _add_shelf(self, stage: Stage) -> None:
        x, y = stage.half_xy
        board, half = 0.01, stage.wall_m / 2
        material, back = self._ground(max(x, y)), self._ground(max(x, y))
        for z in (*stage.boards_z, stage.wall_m + 2 * board):
            self._add_box((x, y, board), (0, 0, z - board), material)
        for sign in (-1, 1):
            self._add_box((board, y, half + board), (sign * (x + board), 0, half), material)
        self._add_box((x + 2 * board, board, half + 2 * board), (0, y + board, half), back)

    def _add_fence(self, half_m: float) -> None:
        for k in range(4):
            fence = self.spec.worldbody.add_geom()
            fence.name, fence.type, fence.group = f"fence_{k}", _GEOM_TYPES["box"], COLLIDER_GROUP
            sides, place = [half_m + 0.1, half_m + 0.1, 2.0], [0.0, 0.0, 2.0]
            sides[k // 2], place[k // 2] = 0.05, (half_m + 0.05) * (1 - 2 * (k % 2))
            fence.size, fence.pos = sides, place

    def _add_collider(self, body: mujoco.MjsBody, collider: Collider, density: float) -> None:
        geom = body.add_geom()
        geom.type = _GEOM_TYPES[collider.shape]
        if collider.points is not None:
            mesh = self.spec.add_mesh()
            mesh.name = f"mesh_{self._next()}"
            mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
            mesh.uservert = collider.points.astype(np.float32).ravel()
            geom.meshname = mesh.name
        else:
            geom.size = (*collider.size, *([0.0] * (3 - len(collider.size))))
            geom.pos, geom.quat = collider.position, collider.quat
        geom.density, geom.group, geom.condim = density, COLLIDER_GROUP, 6
        geom.friction = (0.7, 0.01, 0.004)  # with rolling friction: cylinders come to rest
