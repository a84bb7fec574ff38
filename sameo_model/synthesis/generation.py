"""Make many scenes in several processes; what is finished is kept, the rest is made anew."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import mujoco

from sameo_model.data.parallel import end_with_parent
from sameo_model.synthesis.blocks import open_folder
from sameo_model.synthesis.meshes import FAMILIES
from sameo_model.synthesis.ready_objects import OWN
from sameo_model.synthesis.records import record_path, write_scene
from sameo_model.synthesis.scenes import SceneConfig, SceneFactory
from sameo_model.synthesis.shapes import MAKERS
from sameo_model.synthesis.sources import PROCEDURAL, SceneMaterials

VERSION = 3  # of the generator: raise it when the same seed gives other pictures
_factory: SceneFactory | None = None
_sources: SceneMaterials | None = None


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
    """Make the scenes that are missing and yield each one's record as it is finished.

    Args:
        num_scenes: Scenes 0 to `num_scenes` - 1 are made.

    Raises:
        RuntimeError: If rendering does not work or a scene cannot be made.
    """
    missing = [k for k in range(num_scenes) if not record_path(output, k).exists()]
    if not missing:
        return
    executor = ProcessPoolExecutor(
        min(workers, len(missing)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(config, sources),
    )
    try:
        jobs = [executor.submit(_make_scene, output, number) for number in missing]
        for job in as_completed(jobs):
            yield job.result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    shutil.rmtree(output / ".partial", ignore_errors=True)


def _start_worker(config: SceneConfig, sources: SceneMaterials | None) -> None:
    global _factory, _sources
    end_with_parent()
    # Mesa's software rasteriser works in its caller's thread: the processes share the cores.
    os.environ["LP_NUM_THREADS"] = "0"
    cv2.setNumThreads(1)
    _factory, _sources = SceneFactory(config, sources), sources


def _make_scene(output: Path, number: int) -> dict[str, Any]:
    assert _factory is not None
    scene = _factory.make(number)
    return write_scene(output, number, scene, category_ids(_factory.config, _sources))
