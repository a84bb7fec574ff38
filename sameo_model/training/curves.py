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

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.runtime.types import Uint8Array
from sameo_model.training.run_log import METRICS_NAME

PANELS = {
    "training loss": ("train/total", "train/dice", "train/focal", "train/iou"),
    "validation": (
        *("val/miou_full", "val/miou_full_unoccluded", "val/miou_full_occluded"),
        *("val/miou_hidden", "val/miou_visible", "val/iou_spearman"),
    ),
}
COLOURS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (90,) * 3)
PANEL_HW = (300, 900)
MARGINS = (30, 190, 40, 60)  # top, right, bottom, left
NUM_TICKS = 5
SMOOTHED = 9  # entries of the training loss that are averaged
GREY, BLACK = (215, 215, 215), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Curve(NamedTuple):
    """Values by step.

    Attributes:
        steps: float64 (K,), ascending, counted on from run to run.
        values: float64 (K,).
    """

    steps: NDArray[np.float64]
    values: NDArray[np.float64]


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


def draw_curves(curves: Mapping[str, Curve], starts: Sequence[int] = (0,)) -> Uint8Array:
    """Draw losses, and scores where there are any.

    Args:
        curves: by name, as `read_curves` gives them.
        starts: steps at which a vertical line marks another run.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        ValueError: If there is nothing to draw.
    """
    chosen = {
        title: {name: curves[name] for name in names if name in curves}
        for title, names in PANELS.items()
    }
    num_steps = max(
        (curve.steps[-1] for part in chosen.values() for curve in part.values()), default=0
    )
    if not num_steps:
        raise ValueError("the log must hold losses or scores, got none; train some steps first")
    panels = [
        _draw_panel(title, part, float(num_steps), starts) for title, part in chosen.items() if part
    ]
    return np.concatenate(panels)


def _draw_panel(
    title: str, curves: Mapping[str, Curve], num_steps: float, starts: Sequence[int]
) -> Uint8Array:
    height, width = PANEL_HW
    top, right, bottom, left = MARGINS
    picture = np.full((height, width, 3), 255, np.uint8)
    highest = max(1e-9, *(float(np.max(curve.values)) for curve in curves.values()))
    highest = 1.0 if title == "validation" else highest

    def place(steps: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.int32]:
        x = left + steps / num_steps * (width - left - right)
        y = height - bottom - np.clip(values / highest, 0, 1) * (height - top - bottom)
        return np.stack([x, y], axis=-1).round().astype(np.int32)

    def write(text: str, x: int, y: int, colour: tuple[int, ...] = BLACK) -> None:
        cv2.putText(picture, text, (x, y), FONT, 0.42, colour, 1, cv2.LINE_AA)

    for value in _ticks(highest):
        row = place(np.array([0.0, num_steps]), np.full(2, value))
        cv2.polylines(picture, [row], False, GREY)
        write(f"{value:g}", 14, int(row[0, 1]) + 4)
    for step in _ticks(num_steps):
        x, y = place(np.array([step]), np.zeros(1))[0].tolist()
        write(f"{step:g}", x - 12, y + 18)
    for start in starts[1:]:
        cv2.polylines(picture, [place(np.full(2, start), np.array([0, highest]))], False, BLACK)
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        is_loss = name.startswith("train/")
        values = _smooth(curve, starts) if is_loss else curve.values
        points = place(curve.steps, values)
        cv2.polylines(picture, [points], False, colour, 2, cv2.LINE_AA)
        if not is_loss:
            for x, y in points.tolist():
                cv2.circle(picture, (x, y), 3, colour, -1, cv2.LINE_AA)
        label = f"{name.partition('/')[2]} {values[-1]:.3f}"
        write(label, width - right + 8, top + 14 + 20 * number, colour)
    write(f"{title} by optimiser step", left, 18)
    return picture


def _ticks(highest: float) -> NDArray[np.float64]:
    """Return round values from 0 to `highest`."""
    rough = highest / NUM_TICKS
    unit = 10.0 ** np.floor(np.log10(rough))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough)
    return np.arange(0, highest * (1 + 1e-9), step)


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
    parser.add_argument("--output", required=True, type=Path, help="picture to write")
    options = parser.parse_args(arguments)
    try:
        picture = draw_curves(*read_curves(options.runs))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    try:
        is_written = cv2.imwrite(str(options.output), picture[..., ::-1])
    except cv2.error:  # what it says of a suffix that is no picture's
        is_written = False
    if not is_written:
        message = "cannot be written; name a .png or .jpg file in a folder that is there"
        print(f"error: {options.output} {message}", file=sys.stderr)
        return 1
    print(f"wrote {options.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
