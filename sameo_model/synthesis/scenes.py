"""Rendered clutter: one scene is a random stage, objects dropped onto it, and several cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.arrangements import ARRANGEMENTS, arrange
from sameo_model.synthesis.assets import Asset
from sameo_model.synthesis.balancing import CANDIDATES_PER_VIEW, choose_views
from sameo_model.synthesis.cameras import PinholeCamera, sample_camera
from sameo_model.synthesis.depth_sensor import sense_depth
from sameo_model.synthesis.mesh_families import FAMILIES
from sameo_model.synthesis.photometric import degrade
from sameo_model.synthesis.physics import is_on_stage, place_above, settle
from sameo_model.synthesis.ready_objects import OWN
from sameo_model.synthesis.rendering import SceneRenderer
from sameo_model.synthesis.sources import PROCEDURAL, AssetSource, SceneMaterials
from sameo_model.synthesis.stage import SceneBuilder, Stage, open_fence
from sameo_model.synthesis.textures import Image
from sameo_model.synthesis.truth import Keep, ViewTruth, object_corners, view_truth

Rng = np.random.Generator
MAX_ATTEMPTS = 20


@dataclass(frozen=True)
class SceneConfig:
    """What decides every pixel and number of a synthesised set."""

    seed: int = 0  # each scene's random numbers follow from the seed and the scene's number alone
    # names with the share of objects that is drawn from each; shares sum to 1
    families: Mapping[str, float] = field(default_factory=lambda: {PROCEDURAL: 1.0})
    views: int = 8
    image_hw: tuple[int, int] = (480, 640)  # height and width in pixels
    keep: Keep = field(default_factory=Keep)  # which instances become annotations
    # keys of `ARRANGEMENTS` with their shares; None takes loose tables, floors and bins
    arrangements: Mapping[str, float] | None = None
    # share of procedural objects that only lie in the way and are not annotated
    distractors: float | None = None
    # whether views are chosen for a balance of occlusion rates; None for not
    is_balanced: bool | None = None
    # whether depth as a camera measures it is written too; None for not
    has_depth_noise: bool | None = None

    def __post_init__(self) -> None:
        known = (PROCEDURAL, *FAMILIES, OWN)
        for name in self.families:
            if name not in known:
                raise ValueError(
                    f"family must be one of {', '.join(known)}, got '{name}'; correct --families"
                )
        kept_apart = [n for n in self.families if n in FAMILIES and not FAMILIES[n].for_training]
        if kept_apart and len(self.families) > 1:
            raise ValueError(
                f"family '{kept_apart[0]}' must be rendered alone, because nothing may be trained "
                f"on it, got {', '.join(self.families)}; write it into a folder of its own"
            )
        if not self.families or min(self.families.values()) <= 0:
            raise ValueError(f"shares of families must be positive, got {dict(self.families)}")
        shares = self.arrangements or {"table": 1.0}
        unknown = [name for name in shares if name not in ARRANGEMENTS]
        if unknown or min(shares.values()) <= 0:
            raise ValueError(
                f"arrangements must be of {', '.join(ARRANGEMENTS)} with positive shares, got "
                f"{dict(shares)}"
            )
        if not 0 <= (self.distractors or 0.0) < 1:
            raise ValueError(f"the share of distractors must be in [0, 1), got {self.distractors}")
        if self.views < 1:
            raise ValueError(f"views must be at least 1, got {self.views}")
        if min(self.image_hw) < 64 or max(self.image_hw) > 4096:
            raise ValueError(f"image sides must be 64 to 4096 pixels, got {self.image_hw}")


@dataclass(frozen=True)
class RenderedView:
    """One image of a scene."""

    camera: PinholeCamera  # where it was taken from
    image: Image  # uint8 (H, W, 3), RGB, 0-255
    truth: ViewTruth  # its objects and its depth
    # (H, W), the depth as a camera measures it, or None
    sensed_depth_m: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class RenderedScene:
    """A rendered scene."""

    names: list[str]  # category name of every object, by its number
    views: list[RenderedView]
    failures: dict[str, int]  # attempts that were thrown away, by cause


class SceneFactory:
    """Make scenes of one configuration; find the meshes once."""

    def __init__(self, config: SceneConfig, sources: SceneMaterials | None = None) -> None:
        """Find the families' meshes.

        Raises:
            FileNotFoundError: If a family's meshes are missing.
        """
        self.config = config
        self.assets = AssetSource(config.families, sources)

    def make(self, number: int) -> RenderedScene:
        """Return scene `number`; the same for the same configuration, whatever was made before.

        Raises:
            RuntimeError: If no attempt gave a scene.
        """
        failures: dict[str, int] = {}
        for attempt in range(MAX_ATTEMPTS):
            rng = np.random.default_rng([self.config.seed, number, attempt])
            result = self._attempt(rng)
            if not isinstance(result, str):
                return replace(result, failures=failures)
            failures[result] = failures.get(result, 0) + 1
        raise RuntimeError(
            f"scene {number} failed {MAX_ATTEMPTS} times ({failures}); report its seed"
        )

    def _attempt(self, rng: Rng) -> RenderedScene | str:
        count = draw_object_count(rng)
        assets = [self.assets.draw(rng, self.config.distractors) for _ in range(count)]
        stage, radius, poses = arrange(rng, assets, self.config.arrangements)
        builder = SceneBuilder(rng, self.config.image_hw, self.assets.grounds)
        builder.add_lights()
        builder.add_stage(stage)
        for asset, pose in zip(assets, poses or place_above(rng, assets, radius), strict=True):
            builder.add_object(asset, *pose)
        model = builder.compile()
        data = mujoco.MjData(model)
        if not settle(model, data) or (open_fence(model) and not settle(model, data, 8.0)):
            return "unsettled"
        mujoco.mj_forward(model, data)
        lost = [k for k in range(len(assets)) if not is_on_stage(data.xpos[k + 1], stage)]
        if len(assets) - len(lost) < 3:
            return "fell off"
        corners = object_corners(model, data, len(assets))
        sunk = [k for k in range(len(assets)) if k not in lost and corners[k, :, 2].min() < -0.01]
        if sunk:
            return "sank in"
        views = self._take_views(rng, model, data, assets, stage, corners, set(lost))
        return (
            views if isinstance(views, str) else RenderedScene([a.name for a in assets], views, {})
        )

    def _take_views(
        self,
        rng: Rng,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        assets: list[Asset],
        stage: Stage,
        corners: NDArray[np.float64],
        lost: set[int],
    ) -> list[RenderedView] | str:
        remaining = [k for k in range(len(assets)) if k not in lost]
        centres = corners.mean(axis=1)[remaining]
        sizes = np.array([assets[k].extent.max() for k in remaining])
        unmarked = frozenset(k for k, asset in enumerate(assets) if asset.is_distractor)
        num_views, image_hw = self.config.views, self.config.image_hw
        wanted = num_views * (CANDIDATES_PER_VIEW if self.config.is_balanced else 1)
        views: list[RenderedView] = []
        with SceneRenderer(model, data, image_hw) as renderer:
            for _ in range(wanted * 4):
                camera = sample_camera(rng, stage, centres, sizes, image_hw)
                keep = self.config.keep
                truth = view_truth(renderer, camera, corners, keep, unmarked)
                if len(truth.instances) < 2:
                    continue
                blank = np.empty((0, 0, 3), np.uint8)
                views.append(RenderedView(camera, blank, truth))
                if not self.config.is_balanced:
                    views[-1] = self._photograph(rng, renderer, views[-1])
                if len(views) == wanted:
                    break
            if len(views) < num_views:
                return "views without objects"
            if not self.config.is_balanced:
                return views
            rates = [[one.occlusion_rate for one in view.truth.instances] for view in views]
            chosen = [views[k] for k in choose_views(rates, num_views)]
            return [self._photograph(rng, renderer, view) for view in chosen]

    def _photograph(self, rng: Rng, renderer: SceneRenderer, view: RenderedView) -> RenderedView:
        view = replace(view, image=degrade(rng, renderer.colour(view.camera)))
        if not self.config.has_depth_noise:
            return view
        depth_m = view.truth.depth_m
        focal_px = view.camera.focal_px(depth_m.shape[0])
        # A generator of its own: images are the same with and without a depth camera.
        sensor = np.random.default_rng(view.image[::16, ::16].astype(np.uint64).sum())
        return replace(view, sensed_depth_m=sense_depth(sensor, depth_m, focal_px))


def draw_object_count(rng: Rng) -> int:
    """Draw how many objects are dropped: 6 to 12 in most scenes, else 3 to 5 or 13 to 15."""
    low, high = [(6, 12), (3, 5), (13, 15)][int(rng.choice(3, p=[0.74, 0.1, 0.16]))]
    return int(rng.integers(low, high + 1))
