"""Make anyone's folder of meshes ready for scenes: read, repaired, sized, decomposed, dropped once.

What is ready lies in the set's folder `objects/`, so that a set goes on with the same objects, and
`meshes.json` says of every file what became of it.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from sameo_model.synthesis.assets import Asset, scale_asset
from sameo_model.synthesis.decomposition import box_around, decompose, hull_around, thicken
from sameo_model.synthesis.json_files import write_json
from sameo_model.synthesis.mesh_discovery import Discovery, MeshFile
from sameo_model.synthesis.mesh_reading import parts_to_surfaces, read_parts, repair_parts
from sameo_model.synthesis.mjcf_objects import read_mjcf
from sameo_model.synthesis.physics import settle
from sameo_model.synthesis.ready_objects import OWN, load_ready, save_ready
from sameo_model.synthesis.stage import SceneBuilder, Stage

CPU_LIMIT_S = 300  # for one object; a usual one takes a few seconds
MEMORY_LIMIT_GIB = 8  # for one object; a usual one takes half of one
_CRASHES = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL)
Job = tuple[Path, MeshFile, tuple[float, float]]
UNITS_M = {"m": 1.0, "mm": 0.001, "cm": 0.01, "inch": 0.0254}


@dataclass(frozen=True)
class MeshReport:
    """What became of one object.

    Attributes:
        name: Category name.
        key: Path inside the folder of meshes.
        notes: What was odd and how it was repaired.
        skipped: Why it cannot be used; empty if it can.
        unit: Unit that the file is taken to be in, "rescaled" if none was plausible.
        size_m: Longest side in metres.
        faces: Triangles that are drawn.
        colliders: Convex pieces that collide.
        bare: Numbers of the surfaces that the file does not colour; every scene paints them anew.
    """

    name: str
    key: str
    notes: tuple[str, ...] = ()
    skipped: str = ""
    unit: str = ""
    size_m: float = 0.0
    faces: int = 0
    colliders: int = 0
    bare: tuple[int, ...] = ()


@dataclass(frozen=True)
class MeshLibrary:
    """Objects that are ready.

    Attributes:
        objects: Folder of the ready objects.
        reports: Of the objects that can be used, in order of their key.
    """

    objects: Path
    reports: tuple[MeshReport, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the category names, sorted, each once."""
        return tuple(sorted({report.name for report in self.reports}))

    def load(self, index: int) -> tuple[Asset, tuple[int, ...]]:
        """Return an object and the numbers of its surfaces without colour."""
        report = self.reports[index]
        return load_ready(_ready_path(self.objects, report.key), report.name), report.bare


def guess_unit(longest: float, size_range_m: tuple[float, float]) -> tuple[str, float]:
    """Return the unit that a file is taken to be in and its length in metres.

    The first of metre, millimetre, centimetre and inch that makes the longest side plausible; if
    none does, the object is brought to the geometric middle of the range ("rescaled").

    Args:
        longest: The longest side in the file's unit.
        size_range_m: Plausible longest sides in metres.
    """
    low, high = size_range_m
    for unit, factor in UNITS_M.items():
        if low <= longest * factor <= high:
            return unit, factor
    return "rescaled", float(np.sqrt(low * high)) / longest


def prepare_objects(
    output: Path, discovery: Discovery, size_range_m: tuple[float, float], workers: int
) -> Iterator[MeshReport]:
    """Make the objects ready that are not yet; yield every object's report, in order.

    Args:
        output: Folder of the set.
        discovery: The objects.
        size_range_m: Plausible longest sides in metres.
        workers: Number of processes; they do not change the result.
    """
    folder = output / "objects"
    folder.mkdir(exist_ok=True)
    jobs = [(folder, entry, size_range_m) for entry in discovery.objects]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ThreadPoolExecutor(max(1, min(workers, len(jobs)))) as executor:
        yield from executor.map(partial(_prepare_apart, context), jobs)


def open_library(output: Path, discovery: Discovery, reports: list[MeshReport]) -> MeshLibrary:
    """Write `meshes.json` and return the objects that can be used.

    Raises:
        ValueError: If there is none.
    """
    content = {
        "objects": [asdict(report) for report in reports],
        "left_out": discovery.left_out,
    }
    write_json(output / "meshes.json", content)
    ready = tuple(report for report in reports if not report.skipped)
    if not ready:
        reasons = "; ".join(f"{r.key}: {r.skipped}" for r in reports[:3])
        raise ValueError(
            f"none of the {len(reports)} objects can be used ({reasons}); mend them, or pass "
            f"another --meshes and --output"
        )
    return MeshLibrary(output / "objects", ready)


def describe_reports(reports: list[MeshReport], left_out: dict[str, str]) -> list[str]:
    """Return lines that say what became of the objects, those with something to say by name."""
    skipped = [r for r in reports if r.skipped]
    repaired = [r for r in reports if r.notes and not r.skipped]
    lines = [
        f"{len(reports) - len(skipped)} objects are ready, {len(repaired)} of them with a note; "
        f"{len(skipped)} skipped"
    ]
    lines += [f"  skipped {r.key}: {r.skipped}" for r in skipped]
    lines += [f"  {r.key}: {', '.join(r.notes)}" for r in repaired]
    reasons = Counter(left_out.values())
    lines += [f"  {count} files left out: {reason}" for reason, count in sorted(reasons.items())]
    return lines


def _prepare_apart(context: ForkServerContext, job: Job) -> MeshReport:
    """Prepare an object in a process of its own: foreign files make readers crash and hang."""
    folder, entry, _ = job
    report_path = _ready_path(folder, entry.key).with_suffix(".json")
    if not report_path.is_file():
        process = context.Process(target=_prepare, args=(job,), daemon=True)
        process.start()
        process.join()
        reason = ""
        if process.exitcode == -signal.SIGXCPU:
            reason = f"takes longer than {CPU_LIMIT_S} s of processor time"
        elif process.exitcode in _CRASHES:
            reason = f"makes its reader crash ({signal.Signals(-process.exitcode).name})"
        elif process.exitcode != 0:
            raise RuntimeError(
                f"reading {entry.key} was stopped (exit code {process.exitcode}); start again"
            )
        if reason:
            report = MeshReport(entry.name, entry.key, skipped=reason)
            write_json(report_path, asdict(report))
    return _report_from_json(json.loads(report_path.read_text()))


def _prepare(job: Job) -> None:
    folder, entry, size_range_m = job
    path = _ready_path(folder, entry.key)
    used_s = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used_s + CPU_LIMIT_S, most))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_GIB << 30, most))
    try:
        asset, report = make_ready(entry, size_range_m)
        save_ready(path, asset)
    except MemoryError:
        reason = f"needs more than {MEMORY_LIMIT_GIB} GiB of memory"
        report = MeshReport(entry.name, entry.key, skipped=reason)
    except Exception as error:  # readers of foreign files fail in every way; the run must go on
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        report = MeshReport(entry.name, entry.key, skipped=reason)
    write_json(path.with_suffix(".json"), asdict(report))


def make_ready(entry: MeshFile, size_range_m: tuple[float, float]) -> tuple[Asset, MeshReport]:
    """Read, repair, size and decompose one object, and drop it once.

    Raises:
        ValueError: If it cannot be used.
    """
    notes: list[str] = []
    bare: tuple[int, ...] = ()
    if entry.path.suffix.lower() in (".xml", ".mjcf"):
        surfaces, colliders, missing = read_mjcf(entry.path)
        notes = [f"texture {file} is missing" for file in missing.values()]
        bare = tuple(missing)
        asset = Asset(OWN, entry.name, surfaces, colliders)
        unit, factor = guess_unit(float(asset.extent.max()), size_range_m)
        asset = scale_asset(asset, factor)
    else:
        parts, odd = read_parts(entry.path)
        parts, repaired = repair_parts(parts)
        notes = odd + repaired
        points = np.concatenate([part.triangles.reshape(-1, 3) for part in parts])
        low, high = points.min(0), points.max(0)
        unit, factor = guess_unit(float((high - low).max()), size_range_m)
        middle = (low + high) / 2
        parts = [replace(p, triangles=(p.triangles - middle) * factor) for p in parts]
        bare = tuple(k for k, part in enumerate(parts) if part.is_bare)
        surfaces = parts_to_surfaces(parts)
        colliders = decompose(np.concatenate([part.triangles for part in parts]))
        asset = Asset(OWN, entry.name, surfaces, colliders)
    if unit not in ("m", "mm", "cm"):
        notes.append("size not plausible in any unit: rescaled" if unit == "rescaled" else unit)
    asset, fallback = _make_stable(asset)
    report = MeshReport(
        entry.name,
        entry.key,
        notes=(*notes, *fallback),
        unit=unit,
        size_m=round(float(asset.extent.max()), 4),
        faces=sum(len(surface.triangles) for surface in asset.surfaces),
        colliders=len(asset.colliders),
        bare=bare,
    )
    return asset, report


def _make_stable(asset: Asset) -> tuple[Asset, list[str]]:
    """Return the object with colliders with which it comes to rest, and what had to be changed."""
    if _comes_to_rest(asset):
        return asset, []
    points = thicken(np.unique(asset.points, axis=0))
    for make, name in ((hull_around, "its convex hull"), (box_around, "its box")):
        simpler = replace(asset, colliders=(make(points),))
        if _comes_to_rest(simpler):
            return simpler, [f"does not come to rest: collides as {name}"]
    raise ValueError("does not come to rest, even as a box")


def _comes_to_rest(asset: Asset) -> bool:
    builder = SceneBuilder(np.random.default_rng(0), (64, 64))
    builder.add_stage(Stage("floor", (3.0, 3.0)))
    points = asset.points
    lift = np.array([0.0, 0.0, 0.01 - points[:, 2].min()])
    builder.add_object(asset, lift, np.array([1.0, 0, 0, 0]))
    try:
        model = builder.compile()
    except ValueError:
        return False
    return settle(model, mujoco.MjData(model))


def _ready_path(folder: Path, key: str) -> Path:
    return folder / f"{key.replace('/', '__')}.npz"


def _report_from_json(content: dict[str, Any]) -> MeshReport:
    lists = {name: tuple(content[name]) for name in ("notes", "bare")}
    return MeshReport(**{**content, **lists})
