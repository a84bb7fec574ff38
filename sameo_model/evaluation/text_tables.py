"""Tables of results as text, for terminals and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

METRICS = ("ap", "ap50", "ap75", "ar")
TITLES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar": "AR"}


def percent(value: float | None) -> str:
    """Write a fraction as a percentage with one digit; a dash for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def with_interval(value: float | None, bounds: Sequence[float] | None) -> str:
    """Write a percentage and its interval."""
    if bounds is None or value is None:
        return percent(value)
    return f"{percent(value)} [{percent(bounds[0])}, {percent(bounds[1])}]"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as a Markdown table, aligned; the first row holds the titles."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def row_table(result: Mapping[str, Any]) -> str:
    """Write the rows with their AP and AR in percent and 95 % intervals."""
    lines = [["masks", *(TITLES[metric] for metric in METRICS)]]
    for row in result["rows"]:
        mark = " *" if row["name"] == result["headline"] else ""
        lines.append([row["label"] + mark, *(with_interval(row[m], row["ci"][m]) for m in METRICS)])
    return align(lines)


def difference_table(result: Mapping[str, Any]) -> str:
    """Write the differences between the headline row and the others."""
    labels = {row["name"]: row["label"] for row in result["rows"]}
    lines = [["difference", *(TITLES[metric] for metric in METRICS)]]
    for row in result["differences"]:
        title = f"{labels[row['row']]} minus {labels[row['against']]}"
        lines.append([title, *(_difference_cell(row[metric]) for metric in METRICS)])
    return align(lines) if len(lines) > 1 else ""


def _difference_cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "-"
    low, high = entry["ci"]
    return (
        f"{100 * entry['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] "
        f"p={entry['p_value']:.3f}"
    )
