"""Tables of results as texts in cells, for terminals, Markdown and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sameo_model.evaluation.average_precision import METRICS

TITLES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar": "AR"}
_UOAIS_TITLES = {
    "overlap_precision": "overlap P",
    "overlap_recall": "overlap R",
    "overlap_f": "overlap F",
    "boundary_precision": "boundary P",
    "boundary_recall": "boundary R",
    "boundary_f": "boundary F",
    "good_share": "F > .75",
}
_METHODS = {
    "front_end": "",
    "efficient_sam": " + EfficientSAM",
    "sameo": " + SAMEO",
    "sameo_no_rescore": " + SAMEO, not rescored",
}
Lines = list[list[str]]


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
    cells = [[cell.replace("|", "/") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def row_lines(result: Mapping[str, Any]) -> Lines:
    """Return the rows with their AP and AR in percent and 95 % intervals."""
    lines = [["masks", *(TITLES[metric] for metric in METRICS)]]
    for row in result["rows"]:
        mark = " *" if row["name"] == result["headline"] else ""
        cells = [with_interval(row[metric], row["ci"][metric]) for metric in METRICS]
        lines.append([row["label"] + mark, *cells])
    return lines


def difference_lines(result: Mapping[str, Any]) -> Lines:
    """Return the differences between the headline row and the others."""
    labels = {row["name"]: row["label"] for row in result["rows"]}
    lines = [["difference", *(TITLES[metric] for metric in METRICS)]]
    for row in result["differences"]:
        title = f"{labels[row['row']]} minus {labels[row['against']]}"
        lines.append([title, *(_difference_cell(row[metric]) for metric in METRICS)])
    return lines


def _difference_cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "-"
    low, high = entry["ci"]
    return (
        f"{100 * entry['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] "
        f"p={entry['p_value']:.3f}"
    )


def bucket_lines(result: Mapping[str, Any]) -> Lines:
    """Return AP and AR by bucket; only titles where there are no buckets."""
    lines = [["masks", "bucket", *(TITLES[metric] for metric in METRICS)]]
    for row in result["rows"]:
        for entry in row["buckets"]:
            cells = [percent(entry[metric]) for metric in METRICS]
            lines.append([row["label"], entry["name"], *cells])
    return lines


def occlusion_lines(result: Mapping[str, Any]) -> Lines:
    """Return recall at IoU 0.5 and mean IoU by occlusion rate."""
    bins = result["rows"][0]["iou_by_occlusion"]
    heads = [f"{entry['lo']:.1f}-{entry['hi']:.1f} ({entry['num']})" for entry in bins]
    lines = [["recall at IoU 0.5 / mean IoU, missed = 0", *heads]]
    for row in result["rows"]:
        cells = [
            f"{percent(entry['recall50'])} / {percent(entry['mean_iou'])}"
            for entry in row["iou_by_occlusion"]
        ]
        lines.append([row["label"], *cells])
    return lines


def uoais_lines(result: Mapping[str, Any]) -> Lines:
    """Return the UOAIS measures by row and kind of mask."""
    lines = [["masks", "region", *_UOAIS_TITLES.values()]]
    for row in result["rows"]:
        for region, values in row["uoais"].items():
            cells = [percent(values[name]) for name in _UOAIS_TITLES]
            lines.append([row["label"], region, *cells])
    return lines


def paper_lines(result: Mapping[str, Any]) -> Lines:
    """Return our rows and the paper's of the same data set; only titles where it has none."""
    lines = [["", "table", *(TITLES[metric] for metric in METRICS)]]
    if not result["paper"]:
        return lines
    front_end = result["settings"]["front_end"] or "this front end"
    for row in result["rows"]:
        cells = [percent(row[metric]) for metric in METRICS]
        lines.append([f"ours: {front_end}, {row['label']}", "", *cells])
    for row in result["paper"]:
        name = (row["front_end"] or f"{row['training_prompt']} prompts") + _METHODS[row["method"]]
        kind = ", zero-shot" if row["zero_shot"] else ""
        cells = [percent(row["scores"].get(metric)) for metric in METRICS]
        lines.append([f"paper: {name}{kind}", row["table"], *cells])
    return lines
