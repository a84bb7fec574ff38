"""`evaluate average`: mean AP and AR of several front ends on one data set (table 5)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.data.outputs import check_outputs
from sameo_model.data.types import DatasetFormatError
from sameo_model.evaluation.average_precision import METRICS
from sameo_model.evaluation.text_tables import TITLES, align, percent
from sameo_model.runtime.files import write_json

_SAME = ("annotations", "dataset", "class_specific", "max_dets", "limit")

_SUMMARY = "Average the AP and AR of several detectors (front ends) on one data set (table 5)."


def add_parser(commands: Any) -> None:
    """Add the command's options to `argparse` sub-commands."""
    parser = commands.add_parser(
        "average",
        help=_SUMMARY,
        description=_SUMMARY,
        epilog="Each file counts once. Table 5 takes one front end with visible and one with "
        "amodal boxes.",
    )
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="A.json", help="results of `detections --json`")
    add("--json", type=Path, metavar="OUT", help="write the averages here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; see `sameo_model.evaluate`."""
    if options.json:
        check_outputs([("--json", options.json)], options.results)
    results = [_read(path) for path in options.results]
    _check_same(options.results, results)
    content = average(results)
    print(align(_lines(options.results, results, content)))
    if options.json:
        settings = {"command": "average", "results": [str(path) for path in options.results]}
        write_json(options.json, {**content, "settings": settings}, indent=2)
    return 0


def average(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the rows that all results have.

    Args:
        results: Contents of the files that `detections --json` writes, of one data set.

    Returns:
        `rows` of `{name, label, ap, ap50, ap75, ar}`, fractions, None where a result has none; and
        `paper`, the rows of the paper's table 5 for the data set.
    """
    tables = [{row["name"]: row for row in result["rows"]} for result in results]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return {
        "rows": [
            {
                "name": name,
                "label": tables[0][name]["label"],
                **{metric: _mean([table[name][metric] for table in tables]) for metric in METRICS},
            }
            for name in shared
        ],
        "paper": [row for row in results[0].get("paper", []) if row["front_end"] is None],
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"result {path} does not exist; write it with `detections --json`")
    try:
        content = json.loads(path.read_bytes())
        is_result = content["settings"]["command"] == "detections" and bool(content["rows"])
    except (ValueError, KeyError, TypeError):
        is_result = False
    if not is_result:
        raise DatasetFormatError(f"{path} must be a result of `detections --json`, but is not")
    return content


def _check_same(paths: Sequence[Path], results: Sequence[Mapping[str, Any]]) -> None:
    for path, result in zip(paths[1:], results[1:], strict=True):
        for name in _SAME:
            first, other = results[0]["settings"].get(name), result["settings"].get(name)
            if first != other:
                raise ValueError(
                    f"results must have the same {name} to be averaged, but {paths[0]} has "
                    f"{first} and {path} has {other}"
                )


def _lines(
    paths: Sequence[Path], results: Sequence[Mapping[str, Any]], content: Mapping[str, Any]
) -> list[list[str]]:
    lines = [["masks", *(TITLES[metric] for metric in METRICS)]]
    for row in content["rows"]:
        for path, result in zip(paths, results, strict=True):
            one = next(other for other in result["rows"] if other["name"] == row["name"])
            front_end = result["settings"]["front_end"] or path.stem
            cells = [percent(one[metric]) for metric in METRICS]
            lines.append([f"{row['label']}, {front_end} ({result['settings']['boxes']})", *cells])
        lines.append([f"{row['label']}, mean", *(percent(row[metric]) for metric in METRICS)])
    for row in content["paper"]:
        cells = [percent(row["scores"].get(metric)) for metric in METRICS]
        lines.append([f"paper, table 5: SAMEO, {row['training_prompt']} prompts", *cells])
    return lines
