"""Render colour, instance masks and depth of a resting scene with MuJoCo on EGL."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.cameras import PinholeCamera
from sameo_model.synthesis.stage import HIDDEN_GROUP, OBJECT_GROUP

WIDE_FACTOR = 3  # the wide view shows the image in its middle third


@lru_cache(maxsize=1)
def _gl_context() -> Any:
    """Make the process's one EGL context current and keep it.

    Raises:
        RuntimeError: If the machine has no EGL.
    """
    try:
        from mujoco.egl import GLContext

        context = GLContext(1, 1)  # images are drawn into buffers of their own
        context.make_current()
    except Exception as error:  # whatever the loader raises, the remedy is the same
        raise RuntimeError(
            f"rendering needs EGL, which could not be started ({error}); install it with "
            f"`sudo apt-get install libegl1 libgl1-mesa-dri`"
        ) from error
    return context


def _upload(model: mujoco.MjModel, *, is_plain: bool = False) -> mujoco.MjrContext:
    """Give a scene's meshes and textures to the renderer.

    Args:
        is_plain: Draw with one sample a pixel and without shadows, whatever the model says.
    """
    quality = model.vis.quality
    wanted = quality.offsamples, quality.shadowsize
    try:
        if is_plain:
            quality.offsamples, quality.shadowsize = 0, 0
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    finally:
        quality.offsamples, quality.shadowsize = wanted
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
    return context


class SceneRenderer:
    """Draw one compiled scene from any camera; use as a context manager.

    Object k is the k-th body with a free joint. Masks count a pixel by its centre.
    """

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, image_hw: tuple[int, int]
    ) -> None:
        """Upload the scene.

        Args:
            model: The scene, with a camera of number 0.
            image_hw: Height and width of the images in pixels.

        Raises:
            RuntimeError: If the machine has no EGL.
        """
        self.model, self.data, self.image_hw = model, data, image_hw
        height, width = image_hw
        _gl_context()
        # Masks count pixels by their centres: more samples and shadows would be work for nothing.
        self._colour_context = _upload(model)
        self._mask_context = _upload(model, is_plain=True)
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 64)
        self._option = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        self._view.type, self._view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._drawn = np.flatnonzero(np.asarray(model.geom_group) == OBJECT_GROUP)
        self._stage = np.flatnonzero(np.asarray(model.geom_group) < OBJECT_GROUP)
        self._object_of_geom = np.asarray(model.geom_bodyid)[:] - 1

    def __enter__(self) -> SceneRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self._colour_context.free()
        self._mask_context.free()

    def colour(self, camera: PinholeCamera) -> NDArray[np.uint8]:
        """Return the image, uint8 (H, W, 3), RGB, 0-255."""
        self._update(camera, shown=None, stage=True)
        self._set_flags(segment=False)
        mujoco.mjr_restoreBuffer(self._colour_context)
        mujoco.mjr_render(self._rect, self._scene, self._colour_context)
        image = np.empty((*self.image_hw, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(image, None, self._rect, self._colour_context)
        return np.ascontiguousarray(image[::-1])

    def objects(self, camera: PinholeCamera) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Draw which object is where; table, floor, walls and bin hide what is behind.

        Returns:
            int16 (H, W), object numbers, -1 elsewhere, and float32 (H, W), depth in metres along
            the viewing direction, 0 where there is nothing.
        """
        z_buffer = np.empty(self.image_hw, dtype=np.float32)
        numbers = self._draw_numbers(camera, None, z_buffer, stage=True)
        return numbers, self._to_metres(z_buffer)[::-1]

    def object_mask(
        self, camera: PinholeCamera, shown: set[int], *, wide: bool = False
    ) -> NDArray[np.int16]:
        """Draw only the objects `shown`, nothing hiding them.

        Args:
            shown: Objects to draw; they hide each other.
            wide: Draw `WIDE_FACTOR` times the field of view at as much lower a resolution, so that
                the middle third of the result is the image.

        Returns:
            int16 (H, W), object numbers, -1 elsewhere.
        """
        if wide:
            half = np.arctan(WIDE_FACTOR * np.tan(np.radians(camera.fovy_deg) / 2))
            camera = PinholeCamera(camera.position, camera.rotation, float(np.degrees(2 * half)))
        return self._draw_numbers(camera, shown, None, stage=False)

    def _draw_numbers(
        self,
        camera: PinholeCamera,
        shown: set[int] | None,
        z_buffer: NDArray[np.float32] | None,
        *,
        stage: bool,
    ) -> NDArray[np.int16]:
        self._update(camera, shown, stage)
        self._set_flags(segment=True)
        mujoco.mjr_restoreBuffer(self._mask_context)
        mujoco.mjr_render(self._rect, self._scene, self._mask_context)
        colours = np.empty((*self.image_hw, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(colours, z_buffer, self._rect, self._mask_context)
        return self._decode(colours)[::-1]

    def _update(self, camera: PinholeCamera, shown: set[int] | None, stage: bool) -> None:
        # MuJoCo's camera looks along -z with y up.
        self.data.cam_xpos[0] = camera.position
        self.data.cam_xmat[0] = (camera.rotation * np.array([1.0, -1.0, -1.0])).ravel()
        self.model.cam_fovy[0] = camera.fovy_deg
        for geom in self._drawn:
            hidden = shown is not None and int(self._object_of_geom[geom]) not in shown
            self.model.geom_group[geom] = HIDDEN_GROUP if hidden else OBJECT_GROUP
        for geom in self._stage:
            self.model.geom_group[geom] = OBJECT_GROUP if stage else HIDDEN_GROUP
        mujoco.mjv_updateScene(
            self.model,
            self.data,
            self._option,
            None,
            self._view,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )

    def _set_flags(self, *, segment: bool) -> None:
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = segment
        flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = segment
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = not segment
        flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = not segment

    def _decode(self, colours: NDArray[np.uint8]) -> NDArray[np.int16]:
        table = np.full(self._scene.ngeom + 2, -1, dtype=np.int16)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == int(mujoco.mjtObj.mjOBJ_GEOM):
                table[geom.segid + 1] = self._object_of_geom[geom.objid]
        if len(table) <= 256:  # one byte says it all
            table = np.resize(table, 256)
            return np.asarray(cv2.LUT(cv2.extractChannel(colours, 0), table), np.int16)
        numbers = colours[..., 0].astype(np.int32) + 256 * colours[..., 1].astype(np.int32)
        return np.asarray(table[numbers])

    def _to_metres(self, z_buffer: NDArray[np.float32]) -> NDArray[np.float32]:
        extent = self.model.stat.extent
        near, far = self.model.vis.map.znear * extent, self.model.vis.map.zfar * extent
        depth = near * far / (near + z_buffer.astype(np.float64) * (far - near))
        return np.where(z_buffer > 0, depth, 0.0).astype(np.float32)
