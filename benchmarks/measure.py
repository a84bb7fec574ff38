"""Time contestants by turns, and write what was measured as Markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.runtime.files import write_json

BASELINE = "reference style"
PYTORCH = "PyTorch"
BASELINES = (BASELINE, PYTORCH)
"""What ratios refer to; the second one where the first has no row."""
LIBRARIES = ("torch", "openvino", "onnxruntime", "numpy", "opencv-python-headless", "mujoco")


@dataclass(frozen=True)
class Measurement:
    """One measured number."""

    case: str  # what was measured, sizes included
    contestant: str
    unit: str
    median: float
    low: float  # 10th percentile, which is the smallest one of few samples
    high: float
    num_samples: int

    @classmethod
    def from_samples(
        cls, case: str, contestant: str, unit: str, samples: Sequence[float]
    ) -> Measurement:
        """Summarise samples."""
        low, median, high = np.percentile(samples, (10, 50, 90)).tolist()
        return cls(case, contestant, unit, median, low, high, len(samples))


def alternate(
    case: str,
    contestants: Mapping[str, Callable[[], object]],
    *,
    budget_s: float,
    min_rounds: int = 3,
    warm_up: bool = True,
) -> list[Measurement]:
    """Time every contestant once a round, so that a slow moment of the machine hits all alike.

    Args:
        budget_s: Rounds go on until this time is spent.
        min_rounds: At least this many rounds, whatever they take.
        warm_up: Whether a round that does not count goes first.
    """
    samples_ms: dict[str, list[float]] = {name: [] for name in contestants}
    if warm_up:
        for call in contestants.values():
            call()
    deadline_s = time.perf_counter() + budget_s
    num_rounds = 0
    while num_rounds < min_rounds or time.perf_counter() < deadline_s:
        for name, call in contestants.items():
            started_s = time.perf_counter()
            call()
            samples_ms[name].append(1000 * (time.perf_counter() - started_s))
        num_rounds += 1
    return [Measurement.from_samples(case, name, "ms", samples_ms[name]) for name in contestants]


def conditions() -> dict[str, Any]:
    """Say on what and with what was measured."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            libraries[name] = "missing"
    cpu = _cpu_info()
    flags = cpu.get("flags", "").split()
    named = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
    return {
        "cpu": cpu.get("model name", platform.processor()),
        "cpu_extensions": [flag for flag in named if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "limits": {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "ONEDNN_MAX_CPU_ISA")
            if name in os.environ
        },
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "libraries": libraries,
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _cpu_info() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def write_results(
    output: Path, rows: Sequence[Measurement], settings: Mapping[str, Any], notes: Sequence[str]
) -> str:
    """Write `speed.json` and `speed.md` into a folder and return the Markdown."""
    output.mkdir(parents=True, exist_ok=True)
    content = {"settings": settings, "notes": list(notes), "rows": [asdict(row) for row in rows]}
    write_json(output / "speed.json", content, indent=1)
    facts = [f"- {name}: {_in_words(value)}" for name, value in settings.items()]
    text = "\n".join(
        ["# Speed", "", *facts, "", *markdown_table(rows), "", *(f"- {note}" for note in notes), ""]
    )
    (output / "speed.md").write_text(text)
    return text


def read_rows(path: Path) -> list[Measurement]:
    """Read the rows of a `speed.json`."""
    return [Measurement(**row) for row in json.loads(path.read_bytes())["rows"]]


def markdown_table(rows: Sequence[Measurement]) -> list[str]:
    """Return table lines; the ratio says how many times faster than `BASELINES` a row is."""
    base = {
        row.case: row.median
        for baseline in reversed(BASELINES)
        for row in rows
        if row.contestant == baseline
    }
    lines = [
        "| what | contestant | median | 10 to 90 % | unit | n | ratio |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for row in rows:
        ratio = f"{base[row.case] / row.median:.2f}" if row.case in base else ""
        spread = f"{_short(row.low)} to {_short(row.high)}"
        cells = (row.case, row.contestant, _short(row.median), spread, row.unit, row.num_samples)
        lines.append(f"| {' | '.join(map(str, cells))} | {ratio} |")
    return lines


def comparison_table(base: Sequence[Measurement], new: Sequence[Measurement]) -> list[str]:
    """Return table lines of what both runs measured; a change within both spreads is marked."""
    old = {(row.case, row.contestant): row for row in base}
    lines = [
        "| what | contestant | before | now | unit | now / before | |",
        "| --- | --- | ---: | ---: | --- | ---: | --- |",
    ]
    for row in new:
        before = old.get((row.case, row.contestant))
        if before is None:
            continue
        overlaps = row.low <= before.high and before.low <= row.high
        values = (row.case, row.contestant, _short(before.median), _short(row.median), row.unit)
        ratio = f"{row.median / before.median:.2f}"
        lines.append(
            f"| {' | '.join(values)} | {ratio} | {'spreads overlap' if overlaps else ''} |"
        )
    return lines


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
