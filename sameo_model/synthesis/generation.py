"""Make many scenes in several processes; what is finished is kept, the rest is made anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import mujoco

from sameo_model.data.parallel import ordered_map
from sameo_model.synthesis.blocks import open_folder
from sameo_model.synthesis.mesh_families import FAMILIES
from sameo_model.synthesis.ready_objects import OWN
from sameo_model.synthesis.records import record_path, write_scene
from sameo_model.synthesis.scenes import SceneConfig, SceneFactory
from sameo_model.synthesis.shapes import MAKERS
from sameo_model.synthesis.sources import PROCEDURAL, SceneMaterials

VERSION = 4  # of the generator: raise it when the same seed gives other files


def category_ids(config: SceneConfig, sources: SceneMaterials | None = None) -> dict[str, int]:
    """Return the number of every category that the configuration can show, from 1, by name."""
    names: set[str] = set()
    for family in config.families:
        if family == PROCEDURAL:
            names |= set(MAKERS)
        elif family != OWN:
            names |= set(FAMILIES[family].objects)
        elif sources and sources.library:
            names |= set(sources.library.names)
    return {name: k for k, name in enumerate(sorted(names), start=1)}


def open_output(
    output: Path,
    config: SceneConfig,
    sources: SceneMaterials | None = None,
    mesh_settings: Mapping[str, Any] | None = None,
) -> None:
    """Make the folder of a set, or check that it was begun with the same settings.

    Args:
        sources: What it is made of; photographs count by their content, not by their place.
        mesh_settings: What decides how the user's own objects are made ready.

    Raises:
        ValueError: If the folder holds a set of other settings, or other files.
    """
    # What is None was not there when older sets were begun, and they may go on.
    chosen = {name: value for name, value in asdict(config).items() if value is not None}
    settings = {"version": VERSION, "mujoco": mujoco.__version__, **chosen, **(mesh_settings or {})}
    if sources and sources.photographs:
        settings["photographs"] = sources.photographs.digest
    open_folder(output, settings)


def generate_scenes(
    output: Path,
    config: SceneConfig,
    num_scenes: int,
    workers: int,
    sources: SceneMaterials | None = None,
) -> Iterator[dict[str, Any]]:
    """Make the scenes that are missing and yield their records in order.

    Args:
        num_scenes: Scenes 0 to `num_scenes` - 1 are made.

    Raises:
        RuntimeError: If rendering does not work or a scene cannot be made.
    """
    missing = [k for k in range(num_scenes) if not record_path(output, k).exists()]
    if not missing:
        return
    factory = SceneFactory(config, sources)
    make = partial(_make_scene, output, factory, category_ids(config, sources))
    yield from ordered_map(make, missing, min(workers, len(missing)))
    shutil.rmtree(output / ".partial", ignore_errors=True)


def _make_scene(
    output: Path, factory: SceneFactory, categories: dict[str, int], number: int
) -> dict[str, Any]:
    # Mesa's software rasteriser works in its caller's thread: the processes share the cores.
    os.environ["LP_NUM_THREADS"] = "0"
    cv2.setNumThreads(1)
    return write_scene(output, number, factory.make(number), categories)
