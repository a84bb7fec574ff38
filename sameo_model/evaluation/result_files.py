"""Result files: JSON with the averages, and beside it a CSV with one line per object."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sameo_model.evaluation.instance_scores import InstanceScore
from sameo_model.runtime.files import write_whole


def instances_path(json_path: Path) -> Path:
    """Return where the lines per object go that belong to a result file."""
    return json_path.with_name(f"{json_path.stem}.instances.csv")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a result whole or not at all.

    Raises:
        ValueError: If a number is NaN or infinite, which JSON does not know.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_instances(path: Path, scores: Iterable[InstanceScore]) -> None:
    """Write one line per object; an undefined value is left empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in dataclasses.fields(InstanceScore)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(getattr(score, name)) for name in names] for score in scores)
    write_whole(path, text.getvalue())


def _cell(value: float | int | str) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
