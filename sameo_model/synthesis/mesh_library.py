"""Make anyone's folder of meshes ready for scenes: read, repaired, sized, decomposed, dropped once.

What is ready lies in the set's folder `objects/`, so that a continued set has the same objects, and
`meshes.json` says of every file what became of it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sameo_model.data.parallel import end_with_parent
from sameo_model.runtime.files import write_json
from sameo_model.runtime.wording import counted
from sameo_model.synthesis.assets import Asset
from sameo_model.synthesis.mesh_discovery import Discovery, MeshFile
from sameo_model.synthesis.mesh_making import MeshReport, Sizing, make_ready, read_mesh
from sameo_model.synthesis.mesh_units import choose_unit
from sameo_model.synthesis.ready_objects import load_ready, save_ready

READER_VERSION = 2  # raise it when the same files give other objects
CPU_LIMIT_S = 300  # for one object; a usual one takes a few seconds
MEMORY_LIMIT_GIB = 8  # for one object; a usual one takes half of one
_MAX_NAME = 200
Result = TypeVar("Result")
_CRASHES = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL)


Job = tuple[Path, MeshFile, Sizing]


@dataclass(frozen=True)
class MeshLibrary:
    """Objects that are ready."""

    objects: Path  # folder of the ready objects
    reports: tuple[MeshReport, ...]  # of the objects that can be used, in order of their key

    @property
    def names(self) -> tuple[str, ...]:
        """Return the category names, sorted, each once."""
        return tuple(sorted({report.name for report in self.reports}))

    def load(self, index: int) -> tuple[Asset, tuple[int, ...]]:
        """Return an object and the numbers of its surfaces without colour."""
        report = self.reports[index]
        return load_ready(_ready_path(self.objects, report.key), report.name), report.bare


def find_unit(
    output: Path, discovery: Discovery, size_range_m: tuple[float, float], workers: int
) -> str | None:
    """Return the unit in which most objects of a folder have a plausible size; None if none has.

    The sizes are kept in the set's folder, so that a continued set has the same unit.

    Args:
        size_range_m: Plausible longest sides in metres.
    """
    jobs = _jobs(output, discovery, Sizing(size_range_m))
    sizes = _map_apart(_measure_apart, jobs, workers)
    return choose_unit([size for size in sizes if size is not None], size_range_m)


def prepare_objects(
    output: Path, discovery: Discovery, sizing: Sizing, workers: int
) -> Iterator[MeshReport]:
    """Make the objects ready that are not yet; yield every object's report, in order."""
    return _map_apart(_prepare_apart, _jobs(output, discovery, sizing), workers)


def _jobs(output: Path, discovery: Discovery, sizing: Sizing) -> list[Job]:
    folder = output / "objects"
    folder.mkdir(exist_ok=True)
    return [(folder, entry, sizing) for entry in discovery.objects]


def _map_apart(
    function: Callable[[ForkServerContext, Job], Result], jobs: list[Job], workers: int
) -> Iterator[Result]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ThreadPoolExecutor(max(1, min(workers, len(jobs)))) as executor:
        yield from executor.map(partial(function, context), jobs)


def open_library(
    output: Path, discovery: Discovery, reports: list[MeshReport], unit: str | None = None
) -> MeshLibrary:
    """Write `meshes.json` and return the objects that can be used.

    Raises:
        ValueError: If there is none.
    """
    content = {
        "unit": unit,
        "objects": [asdict(report) for report in reports],
        "left_out": discovery.left_out,
    }
    write_json(output / "meshes.json", content)
    ready = tuple(report for report in reports if not report.skipped)
    if not ready:
        reasons = "; ".join(f"{r.key}: {r.skipped}" for r in reports[:3])
        raise ValueError(
            f"none of the {len(reports)} objects can be used ({reasons}); repair them, or pass "
            f"another --meshes and --output"
        )
    return MeshLibrary(output / "objects", ready)


def describe_reports(
    reports: list[MeshReport], left_out: dict[str, str], unit: str | None = None
) -> list[str]:
    """Return lines that say what became of the objects, those with something to say by name."""
    skipped = [r for r in reports if r.skipped]
    repaired = [r for r in reports if r.notes and not r.skipped]
    lines = [
        f"{counted(len(reports) - len(skipped), 'object')} ready, {len(repaired)} of them with a "
        f"note; {len(skipped)} skipped"
    ]
    if unit is not None:
        count = sum(r.unit == unit for r in reports)
        lines.append(
            f"  {count} are taken in {unit}, the unit of the folder (--unit names another)"
        )
    lines += [f"  skipped {r.key}: {r.skipped}" for r in skipped]
    lines += [f"  {r.key}: {', '.join(r.notes)}" for r in repaired]
    reasons = Counter(left_out.values())
    for reason, count in sorted(reasons.items()):
        lines.append(f"  {counted(count, 'file')} left out: {reason}")
    return lines


def _prepare_apart(context: ForkServerContext, job: Job) -> MeshReport:
    """Prepare an object in a process of its own: foreign files make readers crash and hang."""
    folder, entry, _ = job
    report_path = _ready_path(folder, entry.key, ".json")
    if not report_path.is_file():
        reason = _run_apart(context, _prepare, job)
        if reason:
            report = MeshReport(entry.name, entry.key, skipped=reason)
            write_json(report_path, asdict(report))
    return _report_from_json(json.loads(report_path.read_text()))


def _measure_apart(context: ForkServerContext, job: Job) -> float | None:
    """Return an object's longest side in its file's unit; None if it cannot be used."""
    folder, entry, _ = job
    path = _ready_path(folder, entry.key, ".size")
    if not path.is_file() and _run_apart(context, _measure, job):
        write_json(path, None)
    return json.loads(path.read_text())


def _run_apart(context: ForkServerContext, work: Callable[[Job], None], job: Job) -> str:
    """Work in a process of its own; return why the object is to blame if it did not end well.

    Raises:
        RuntimeError: If the process was stopped.
    """
    process = context.Process(target=_work_apart, args=(work, job), daemon=True)
    process.start()
    process.join()
    if process.exitcode == -signal.SIGXCPU:
        return f"takes longer than {CPU_LIMIT_S} s of processor time"
    if process.exitcode in _CRASHES:
        return f"makes its reader crash ({signal.Signals(-process.exitcode).name})"
    if process.exitcode != 0:
        raise RuntimeError(
            f"reading {job[1].key} was stopped (exit code {process.exitcode}); start again"
        )
    return ""


def _work_apart(work: Callable[[Job], None], job: Job) -> None:
    end_with_parent()
    used_s = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used_s + CPU_LIMIT_S, most))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_GIB << 30, most))
    work(job)


def _prepare(job: Job) -> None:
    folder, entry, sizing = job
    try:
        asset, report = make_ready(entry, sizing)
        save_ready(_ready_path(folder, entry.key), asset)
    except MemoryError:
        reason = f"needs more than {MEMORY_LIMIT_GIB} GiB of memory"
        report = MeshReport(entry.name, entry.key, skipped=reason)
    except Exception as error:  # readers of foreign files fail in every way; the run must go on
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        report = MeshReport(entry.name, entry.key, skipped=reason)
    write_json(_ready_path(folder, entry.key, ".json"), asdict(report))


def _measure(job: Job) -> None:
    folder, entry, _ = job
    try:
        size: float | None = read_mesh(entry).longest
    except Exception:  # `_prepare` says why
        size = None
    write_json(_ready_path(folder, entry.key, ".size"), size)


def _ready_path(folder: Path, key: str, suffix: str = ".npz") -> Path:
    """Return the file of a ready object; no two keys share one."""
    name = quote(key, safe=" ()[]+,=@'")
    if len(name) > _MAX_NAME:
        name = f"{name[: _MAX_NAME - 17]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return folder / f"{name}{suffix}"


def _report_from_json(content: dict[str, Any]) -> MeshReport:
    lists = {name: tuple(content[name]) for name in ("notes", "bare")}
    return MeshReport(**{**content, **lists})
