"""Random changes of training scenes that keep amodal truth exact (numpy and OpenCV only)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_PIXELS = 64  # instances with a smaller amodal mask in the window teach nothing
MIN_VISIBLE_SHARE = 0.1  # the paper drops instances that are hidden by more than 90 % (section 3.2)

SceneT = TypeVar("SceneT", bound="Scene")


@dataclass(frozen=True)
class Scene:
    """One image with the true masks of some of its instances."""

    image_rgb: NDArray[np.uint8]  # (H, W, 3), RGB, 0 to 255
    amodal_masks: NDArray[np.bool_]  # (N, H, W), whole shapes inside the image
    visible_masks: NDArray[np.bool_]  # (N, H, W), visible parts, each inside its amodal mask
    # (N,), False where the whole shape is not known; its mask is the visible one then
    has_amodal: NDArray[np.bool_]

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Scene:
        """Return the scene with only the instances `rows` (bool (N,) or indices)."""
        return replace(
            self,
            amodal_masks=self.amodal_masks[rows],
            visible_masks=self.visible_masks[rows],
            has_amodal=self.has_amodal[rows],
        )

    def cut(self: SceneT, height: int, width: int, generator: np.random.Generator) -> SceneT:
        """Return a part of the scene, `height` x `width` pixels at a random place."""
        y = int(generator.integers(0, self.image_rgb.shape[0] - height + 1))
        x = int(generator.integers(0, self.image_rgb.shape[1] - width + 1))
        part = (slice(y, y + height), slice(x, x + width))
        return replace(
            self,
            image_rgb=self.image_rgb[part],
            amodal_masks=self.amodal_masks[:, part[0], part[1]],
            visible_masks=self.visible_masks[:, part[0], part[1]],
        )


def drop_unusable(scene: Scene) -> Scene:
    """Return the scene without instances that are tiny or hidden by more than 90 %."""
    amodal = scene.amodal_masks.sum((1, 2))
    visible = scene.visible_masks.sum((1, 2))
    return scene.select((amodal >= MIN_PIXELS) & (visible >= MIN_VISIBLE_SHARE * amodal))


def random_window(scene: Scene, generator: np.random.Generator, min_share: float) -> Scene:
    """Cut a random window out of the scene.

    Args:
        min_share: smallest side of the window as a share of the image's side, in (0, 1].
    """
    height, width = scene.image_rgb.shape[:2]
    share = generator.uniform(min_share, 1.0)
    aspect = np.exp(generator.uniform(-0.2, 0.2))
    window_h = min(height, round(height * share * aspect))
    window_w = min(width, round(width * share / aspect))
    return scene.cut(window_h, window_w, generator)


def flip(scene: Scene, axis: int) -> Scene:
    """Mirror the scene: axis 1 left to right, axis 0 upside down."""
    return replace(
        scene,
        image_rgb=np.flip(scene.image_rgb, axis),
        amodal_masks=np.flip(scene.amodal_masks, axis + 1),
        visible_masks=np.flip(scene.visible_masks, axis + 1),
    )


def paste_occluder(
    scene: Scene,
    cutout_rgb: NDArray[np.uint8],
    cutout_mask: NDArray[np.bool_],
    generator: np.random.Generator,
) -> Scene:
    """Paste a whole object over a random instance; the pasted object becomes an instance.

    Whole masks of the other instances stay exact, their visible masks shrink (the composition of
    section 3.3, done on the fly).

    Args:
        cutout_rgb: uint8 (h, w, 3), RGB, tight crop around an unoccluded object.
        cutout_mask: bool (h, w), that object's mask.
    """
    target = scene.amodal_masks[generator.integers(len(scene.amodal_masks))]
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    target_hw = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
    scale = generator.uniform(0.5, 1.3) * np.sqrt(target_hw.prod() / cutout_mask.size)
    size_hw = np.clip(np.round(np.array(cutout_mask.shape) * scale), 8, 400).astype(int)
    wh = (int(size_hw[1]), int(size_hw[0]))
    resized = np.asarray(cv2.resize(cutout_rgb, wh, interpolation=cv2.INTER_AREA), np.uint8)
    coverage = cv2.resize(cutout_mask.astype(np.float32), wh, interpolation=cv2.INTER_AREA)
    alpha = np.asarray(coverage, np.float32)
    centre = np.array([rows.mean(), columns.mean()]) + generator.uniform(-0.7, 0.7, 2) * target_hw
    return _paste(scene, resized, alpha, np.round(centre - size_hw / 2).astype(int))


def _paste(
    scene: Scene, cutout_rgb: NDArray[np.uint8], alpha: NDArray[np.float32], top_left: NDArray
) -> Scene:
    image_hw = np.array(scene.image_rgb.shape[:2])
    start = np.maximum(top_left, 0)
    stop = np.minimum(top_left + alpha.shape, image_hw)
    if (stop - start <= 2).any():
        return scene
    into = (slice(start[0], stop[0]), slice(start[1], stop[1]))
    out_of = tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, top_left, strict=True))
    alpha = alpha[out_of]
    image = scene.image_rgb.copy()
    blend = alpha[..., None] * cutout_rgb[out_of] + (1 - alpha[..., None]) * image[into]
    image[into] = blend.round()
    pasted = np.zeros(scene.image_rgb.shape[:2], bool)
    pasted[into] = alpha > 0.5
    return Scene(
        image,
        np.concatenate([scene.amodal_masks, pasted[None]]),
        np.concatenate([scene.visible_masks & ~pasted, pasted[None]]),
        np.append(scene.has_amodal, True),
    )
