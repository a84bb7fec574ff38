"""What scenes are made of: where objects and photographs come from, and how objects are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from sameo_model.runtime.images import read_image
from sameo_model.synthesis.assets import Asset, scale_asset
from sameo_model.synthesis.mesh_families import FAMILIES, find_family_root, load_mesh_asset
from sameo_model.synthesis.mesh_library import MeshLibrary
from sameo_model.synthesis.photographs import Photographs, paint_object
from sameo_model.synthesis.ready_objects import OWN
from sameo_model.synthesis.shapes import make_procedural_asset
from sameo_model.synthesis.stage import Grounds
from sameo_model.synthesis.textures import Image

Rng = np.random.Generator
PROCEDURAL = "procedural"


@dataclass(frozen=True)
class SceneMaterials:
    """Where meshes and photographs come from."""

    # folders to take instead of the installed packages', by family
    mesh_roots: Mapping[str, Path] = field(default_factory=dict)
    # for tables, walls, surroundings and some objects' surfaces; None for none
    photographs: Photographs | None = None
    library: MeshLibrary | None = None  # the user's own objects; None for none


class AssetSource:
    """Draw objects of the wanted families."""

    def __init__(
        self, families: Mapping[str, float], sources: SceneMaterials | None = None
    ) -> None:
        """Find the families' meshes.

        Args:
            families: Names with the share of objects that is drawn from each.

        Raises:
            FileNotFoundError: If a family's meshes are missing.
        """
        sources = sources or SceneMaterials()
        self.photographs, self.library = sources.photographs, sources.library
        self.roots = {n: find_family_root(n, sources.mesh_roots) for n in families if n in FAMILIES}
        tiles = (
            sorted((self.roots["robosuite"] / "textures").glob("*.png"))
            if "robosuite" in self.roots
            else []
        )
        self.grounds = Grounds(tuple(_load_tile(path) for path in tiles), self.photographs)
        self._names, self._shares = list(families), np.array(list(families.values()))

    def draw(self, rng: Rng, distractor_share: float | None = None) -> Asset:
        """Return a random object."""
        if distractor_share and rng.random() < distractor_share:
            asset = make_procedural_asset(rng, photographs=self.photographs)
            return replace(asset, is_distractor=True)
        family = self._names[int(rng.choice(len(self._names), p=self._shares / self._shares.sum()))]
        if family == PROCEDURAL:
            return make_procedural_asset(rng, photographs=self.photographs)
        if family == OWN:
            return self._draw_own(rng)
        objects = list(FAMILIES[family].objects)
        asset = load_mesh_asset(
            family, objects[int(rng.integers(len(objects)))], self.roots[family]
        )
        return vary_asset(rng, asset, self.photographs) if FAMILIES[family].for_training else asset

    def _draw_own(self, rng: Rng) -> Asset:
        assert self.library is not None
        asset, bare = self.library.load(int(rng.integers(len(self.library.reports))))
        surfaces = list(asset.surfaces)
        for k in bare:  # the file does not say how it looks
            surfaces[k] = replace(surfaces[k], texture=paint_object(rng, self.photographs))
        shine, sharp = float(rng.uniform(0, 0.8) ** 2), float(rng.uniform(0.05, 0.7))
        surfaces = [replace(s, specular=shine, shininess=sharp) for s in surfaces]
        return replace(asset, surfaces=tuple(surfaces))


def vary_asset(rng: Rng, asset: Asset, photographs: Photographs | None = None) -> Asset:
    """Return a mesh object in another size and often in other colours or another texture."""
    surfaces = []
    for surface in asset.surfaces:
        choice, texture = rng.random(), surface.texture
        if texture is None or choice < 0.25:
            texture = paint_object(rng, photographs)
        elif choice < 0.6:
            texture = shift_colours(rng, texture)
        specular, shininess = float(rng.uniform(0, 1) ** 2), float(rng.uniform(0.05, 0.9))
        surfaces.append(
            replace(
                surface,
                texture=texture,
                rgb=(1.0, 1.0, 1.0),
                specular=specular,
                shininess=shininess,
            )
        )
    return scale_asset(replace(asset, surfaces=tuple(surfaces)), float(rng.uniform(0.8, 1.25)))


def shift_colours(rng: Rng, texture: Image) -> Image:
    """Return a texture uint8 (H, W, 3), RGB, with other hues, saturation and brightness."""
    hsv = cv2.cvtColor(texture, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(0, 180)) % 180
    hsv[..., 1:] = np.clip(
        hsv[..., 1:] * rng.uniform(0.6, 1.4, 2) + rng.uniform(-20, 40, 2), 0, 255
    )
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB))


def _load_tile(path: Path) -> Image:
    tile = cv2.resize(read_image(path), (512, 512), interpolation=cv2.INTER_AREA)
    return np.asarray(tile, dtype=np.uint8)
