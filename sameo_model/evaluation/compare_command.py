"""`evaluate compare`: paired differences of two evaluations, and a status for CI."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sameo_model.data.arguments import share, whole_number
from sameo_model.data.outputs import check_outputs
from sameo_model.evaluation.bootstrap import DEFAULT_REPLICATES
from sameo_model.evaluation.compare import Comparison, compare, load_evaluation
from sameo_model.evaluation.result_files import files_beside
from sameo_model.evaluation.text_tables import align
from sameo_model.runtime.files import write_json

SIGNIFICANT = 0.05
# The lines per object hold six digits.
ROUNDING = 1e-6
REGRESSION_STATUS = 1

_SUMMARY = "Compare two results object by object; exit status 1 means that B is worse."


def add_parser(commands: Any) -> None:
    """Add the command's options to `argparse` sub-commands."""
    parser = commands.add_parser(
        "compare",
        help=_SUMMARY,
        description=_SUMMARY,
        epilog="Exit status: 0 without a regression, 1 with one, 2 for an error. A regression is "
        "a headline number (marked *) of B that lies more than the tolerance below A's.",
    )
    add = parser.add_argument
    add("first", type=Path, metavar="A.json", help="earlier result")
    add("second", type=Path, metavar="B.json", help="new result")
    add(
        "--tolerance",
        type=share,
        default=0.0,
        metavar="T",
        help="a headline number may fall by this fraction (default 0)",
    )
    add(
        "--replicates",
        type=whole_number(1),
        default=DEFAULT_REPLICATES,
        metavar="N",
        help="bootstrap samples",
    )
    add("--seed", type=whole_number(0), default=0, help="of the bootstrap (default 0)")
    add("--json", type=Path, metavar="OUT", help="write the comparison here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; see `sameo_model.evaluate`."""
    if options.json:
        inputs = [*files_beside(options.first), *files_beside(options.second)]
        check_outputs([("--json", options.json)], inputs)
    first, second = load_evaluation(options.first), load_evaluation(options.second)
    comparisons = compare(first, second, replicates=options.replicates, seed=options.seed)
    regressions = find_regressions(comparisons, options.tolerance)
    print(align(_lines(comparisons)))
    if options.json:
        write_json(
            options.json,
            {
                "first": str(options.first),
                "second": str(options.second),
                "tolerance": options.tolerance,
                "comparisons": [_to_json(item) for item in comparisons],
                "regressions": [item.name for item in regressions],
            },
            indent=2,
        )
    for item in regressions:
        print(
            f"regression: {item.name} fell by {-item.judged.value:.4f}, more than the tolerance "
            f"of {options.tolerance:g} (p={item.judged.p_value:.3f})"
        )
    return REGRESSION_STATUS if regressions else 0


def find_regressions(comparisons: Sequence[Comparison], tolerance: float) -> list[Comparison]:
    """Return the headline numbers that fell by more than the tolerance."""
    return [
        item
        for item in comparisons
        if item.is_headline and item.judged.value < -tolerance - ROUNDING
    ]


def _lines(comparisons: Sequence[Comparison]) -> list[list[str]]:
    lines = [["", "num", "A", "B", "B - A", "95 % interval", "p"]]
    for item in comparisons:
        judged = item.judged
        mark = " *" if item.is_headline else ""
        verdict = " significant" if judged.p_value < SIGNIFICANT else ""
        lines.append(
            [
                item.name + mark,
                str(item.num),
                f"{item.first:.4f}",
                f"{item.second:.4f}",
                f"{judged.value:+.4f}",
                f"[{judged.low:+.4f}, {judged.high:+.4f}]",
                f"{judged.p_value:.3f}{verdict}",
            ]
        )
    return lines


def _to_json(item: Comparison) -> dict[str, Any]:
    def known(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    content = asdict(item)
    judged = {name: known(value) for name, value in content.pop("judged").items()}
    judged["difference"] = judged.pop("value")
    return {**{name: known(value) for name, value in content.items()}, **judged}
