"""Procedural household and workshop objects, 3 to 25 cm, each with its own category name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sameo_model.synthesis import solids, vessels
from sameo_model.synthesis.assets import Asset, ObjectSurface
from sameo_model.synthesis.colliders import Parts
from sameo_model.synthesis.photographs import Photographs, paint_object
from sameo_model.synthesis.surfaces import Soup, corner_normals
from sameo_model.synthesis.textures import random_rgb

Rng = np.random.Generator

MAKERS: dict[str, tuple[Callable[[Rng], Parts], float]] = {
    "box": (solids.box, 3.0),
    "book": (solids.book, 1.0),
    "can": (vessels.can, 1.5),
    "bottle": (vessels.bottle, 1.5),
    "jar": (vessels.jar, 1.0),
    "cup": (vessels.cup, 1.2),
    "bowl": (vessels.bowl, 1.2),
    "vase": (vessels.vase, 0.7),
    "plate": (vessels.plate, 0.6),
    "mug": (vessels.mug, 1.6),
    "pitcher": (vessels.pitcher, 0.7),
    "superquadric": (solids.superquadric, 1.6),
    "ball": (solids.ball, 0.7),
    "fruit": (solids.fruit, 0.9),
    "prism": (solids.prism, 1.0),
    "cookie_cutter": (solids.cookie_cutter, 0.7),
    "bracket": (solids.bracket, 1.0),
    "cross_block": (solids.cross_block, 0.5),
    "toy_car": (solids.toy_car, 0.9),
    "tool": (solids.tool, 1.0),
    "ring": (vessels.ring, 0.8),
    "bent_tube": (solids.bent_tube, 1.0),
    "cone": (solids.cone, 0.6),
    "spool": (solids.spool, 0.6),
    "figure": (solids.figure, 1.0),
    "spray_bottle": (vessels.spray_bottle, 1.0),
    "open_box": (solids.open_box, 0.8),
}


def dress(rng: Rng, soup: Soup, photographs: Photographs | None = None) -> ObjectSurface:
    """Return a soup as a surface with a random material, painted or (where given) photographed."""
    plain = rng.random() < 0.15
    # Row 0 of a texture lies at v = 0: turned over, writing can be read.
    texture = None if plain else paint_object(rng, photographs)[::-1]
    red, green, blue = (random_rgb(rng) if plain else np.ones(3)).tolist()
    return ObjectSurface(
        triangles=soup.triangles,
        normals=corner_normals(soup.triangles),
        uvs=soup.uvs * rng.choice([1.0, 1.0, 2.0]),
        texture=texture,
        rgb=(red, green, blue),
        specular=float(rng.uniform(0, 1) ** 2),
        shininess=float(rng.uniform(0.05, 0.9)),
    )


def make_procedural_asset(
    rng: Rng, name: str | None = None, photographs: Photographs | None = None
) -> Asset:
    """Return a random object, of category `name` or (None) of a category drawn by weight.

    Args:
        name: A key of `MAKERS`, or None.
        photographs: Where some textures are cut from; None paints all.

    Raises:
        KeyError: If there is no such category.
    """
    weights = np.array([weight for _, weight in MAKERS.values()])
    drawn = str(rng.choice(list(MAKERS), p=weights / weights.sum()))
    name = drawn if name is None else name
    soups, colliders = MAKERS[name][0](rng)
    surfaces = tuple(dress(rng, soup, photographs) for soup in soups)
    return Asset("procedural", name, surfaces, tuple(colliders))
