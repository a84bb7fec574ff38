"""Draw the curves of runs from their `metrics.jsonl`: losses above, validation scores below.

python -m sameo_model.training.curves runs/first_stage runs/second_stage --output curves.png

Runs that continue one another are given in order and drawn one after the other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sameo_model.training.run_log import METRICS_NAME

PANELS = {
    "training loss": ("train/total", "train/dice", "train/focal", "train/iou"),
    "validation": (
        *("val/miou_full", "val/miou_full_unoccluded", "val/miou_full_occluded"),
        *("val/miou_hidden", "val/miou_visible", "val/iou_spearman"),
    ),
}
SMOOTHED = 9  # entries of the training loss that are averaged


class Curve(NamedTuple):
    """Values by step."""

    steps: NDArray[np.float64]  # (K,), ascending, counted on from run to run
    values: NDArray[np.float64]  # (K,)


def read_curves(runs: Sequence[Path]) -> tuple[dict[str, Curve], list[int]]:
    """Read what runs logged.

    Args:
        runs: run folders, each starting where the one before ended.

    Returns:
        Curves by name, and the step at which each run starts.

    Raises:
        FileNotFoundError: If a run has no log.
        ValueError: If a line of a log was not written by a run.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    starts, last = [], 0
    for run in runs:
        path = run / METRICS_NAME
        if not path.is_file():
            raise FileNotFoundError(f"run folder {run} must hold {METRICS_NAME}, got none")
        first = last
        starts.append(first)
        for line in path.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # the run is writing it now, or was killed there
            entry = _read_entry(line, path)
            last = first + int(entry.pop("step"))
            for name, value in entry.items():
                points.setdefault(name, []).append((last, value))
    return {name: Curve(*np.array(rows, float).T) for name, rows in points.items()}, starts


def _read_entry(line: str, path: Path) -> dict[str, float]:
    with suppress(ValueError):
        entry = json.loads(line)
        is_entry = isinstance(entry, dict) and "step" in entry
        if is_entry and all(isinstance(value, (int, float)) for value in entry.values()):
            return entry
    raise ValueError(
        f"lines of {path} must be JSON objects of numbers with step, got {line[:60]!r}; remove it"
    )


def draw_curves(curves: Mapping[str, Curve], starts: Sequence[int] = (0,)) -> Figure:
    """Draw one panel of training losses, and one of validation scores where there are any.

    Args:
        starts: steps at which a vertical line marks another run.

    Raises:
        ValueError: If there is nothing to draw.
    """
    panels = {
        title: {name: curves[name] for name in names if name in curves}
        for title, names in PANELS.items()
    }
    panels = {title: part for title, part in panels.items() if part}
    if not panels:
        raise ValueError("the log must hold losses or scores, got none; train some steps first")
    figure = Figure(figsize=(9, 3 * len(panels)), dpi=100, layout="constrained")
    rows = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (title, part) in zip(rows, panels.items(), strict=True):
        for name, curve in part.items():
            is_loss = name.startswith("train/")
            values = _smooth(curve, starts) if is_loss else curve.values
            label = f"{name.partition('/')[2]} {values[-1]:.3f}"
            axes.plot(curve.steps, values, marker=None if is_loss else ".", label=label)
        for start in starts[1:]:
            axes.axvline(start, color="black", linewidth=0.8)
        axes.set(title=f"{title} by optimiser step", xlim=(0, None), ylim=(0, None))
        axes.grid(color="0.85")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    if "validation" in panels:
        rows[-1].set_ylim(0, 1)
    return figure


def _smooth(curve: Curve, starts: Sequence[int]) -> NDArray[np.float64]:
    """Return running means over the last `SMOOTHED` values of the same run."""
    runs = np.searchsorted(starts, curve.steps, side="left")
    smooth = np.empty_like(curve.values)
    for run in np.unique(runs):
        values = curve.values[runs == run]
        means = [values[max(0, end - SMOOTHED) : end].mean() for end in range(1, len(values) + 1)]
        smooth[runs == run] = means
    return smooth


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.training.curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, in order")
    parser.add_argument("--output", required=True, type=Path, help="chart to write")
    options = parser.parse_args(arguments)
    try:
        draw_curves(*read_curves(options.runs)).savefig(options.output)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {options.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
