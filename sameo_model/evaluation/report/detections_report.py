"""The report of `evaluate detections`: page, Markdown, JSON and CSV."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.average_precision import METRICS, MatchTable
from sameo_model.evaluation.report.charts import draw_charts
from sameo_model.evaluation.report.gallery import GROUPS, choose_cases, figure
from sameo_model.evaluation.report.page import html_table, render_page
from sameo_model.evaluation.report.qualitative import DEFAULT_COLUMNS, ChosenObject, draw_figure
from sameo_model.evaluation.result_files import RESULT_FILE, instances_csv
from sameo_model.evaluation.row_scores import RowScores
from sameo_model.evaluation.rows import Row
from sameo_model.evaluation.text_tables import (
    align,
    bucket_lines,
    difference_lines,
    occlusion_lines,
    paper_lines,
    row_lines,
    uoais_lines,
)
from sameo_model.runtime.files import write_json, write_whole
from sameo_model.runtime.wording import counted

RULES = """<p>A true object is found by a detection of IoU 0.5 or more (COCO's greedy matching, best
score first). Occlusion rate is hidden over amodal area. AP and AR are class-agnostic unless the
settings say otherwise, with at most the stated detections per image; intervals are 95 % bootstrap
intervals over images. The row marked with * is the headline.</p>"""


def write_detections_report(
    folder: Path,
    result: Mapping[str, Any],
    images: Sequence[AmodalImage],
    rows: Sequence[Row],
    scores: Mapping[str, RowScores],
    chosen: Sequence[ChosenObject] = (),
    columns: Sequence[str] = DEFAULT_COLUMNS,
    more_sections: Sequence[tuple[str, str]] = (),
) -> None:
    """Write `index.html`, `report.md`, `result.json`, `rows.csv` and `instances.csv`.

    Args:
        chosen: Objects for `figure.png`, which is also shown in the page; none writes none.
        more_sections: Headings and HTML of further parts of the page, before its settings.

    Raises:
        FileNotFoundError: If an image of the gallery is missing.
    """
    sections = _sections(result, images, rows, scores)
    sections[-1:-1] = more_sections
    folder.mkdir(parents=True, exist_ok=True)
    if chosen:
        figure_bgr = cv2.cvtColor(draw_figure(chosen, columns), cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".png", figure_bgr)[1].tobytes()
        write_whole(folder / "figure.png", data)
        source = base64.b64encode(data).decode("ascii")
        body = f'<img src="data:image/png;base64,{source}" alt="{", ".join(columns)}">'
        sections.insert(1, ("Chosen objects", body))
    write_json(folder / RESULT_FILE, dict(result), indent=2)
    write_whole(folder / "rows.csv", _rows_csv(result))
    write_whole(folder / "instances.csv", instances_csv(images, scores))
    write_whole(folder / "report.md", _markdown(result))
    write_whole(folder / "index.html", render_page(_title(result), _subtitle(result), sections))


def _title(result: Mapping[str, Any]) -> str:
    front_end = result["settings"]["front_end"] or Path(result["settings"]["detections"]).name
    return f"Amodal masks behind {front_end}"


def _subtitle(result: Mapping[str, Any]) -> str:
    settings = result["settings"]
    model = settings["model"] or "sameo_lite"
    if model != "none":
        model += f" on {settings['backend']}"
    return (
        f"{settings['annotations']}: {counted(result['num_images'], 'image')}, "
        f"{counted(result['num_truths'], 'object')}, "
        f"{counted(result['num_detections'], 'detection')}; "
        f"model {model}"
    )


def _tables(result: Mapping[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Return the tables of the report with their titles; empty ones are left out."""
    tables = [
        ("Average precision and recall, percent", row_lines(result)),
        ("Differences, points", difference_lines(result)),
        ("By bucket, AP in percent", bucket_lines(result)),
        ("Found objects by occlusion", occlusion_lines(result)),
        ("Overlap and boundary (UOAIS measures), percent", uoais_lines(result)),
        ("Beside the paper, percent", paper_lines(result)),
    ]
    return [(title, lines) for title, lines in tables if len(lines) > 1]


def _sections(
    result: Mapping[str, Any],
    images: Sequence[AmodalImage],
    rows: Sequence[Row],
    scores: Mapping[str, RowScores],
) -> list[tuple[str, str]]:
    headline = result["headline"]
    names = [row["name"] for row in result["rows"]]
    tables = _tables(result)
    image_ids = sorted(image.image_id for image in images)
    matches = {name: MatchTable(row.matches, image_ids) for name, row in scores.items()}
    charts = "".join(draw_charts(result, matches))
    first = html_table(tables[0][1], chosen=[names.index(headline)])
    sections = [(tables[0][0], RULES + first), ("Charts", f'<div class="charts">{charts}</div>')]
    sections += [(title, html_table(lines)) for title, lines in tables[1:]]
    detections = {row.name: row.detections for row in rows}[headline]
    cases = choose_cases(images, scores[headline], detections)
    for group in GROUPS:
        if cases[group]:
            figures = "\n".join(figure(case) for case in cases[group])
            sections.append((f"Cases: {group}", f'<div class="gallery">{figures}</div>'))
    settings = escape(json.dumps(result["settings"], indent=2))
    return [*sections, ("Settings", f"<pre>{settings}</pre>")]


def _rows_csv(result: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = [f"{metric}_{end}" for metric in METRICS for end in ("low", "high")]
    writer.writerow(["name", "label", *METRICS, *bounds])
    for row in result["rows"]:
        ends = [end for metric in METRICS for end in (row["ci"][metric] or ["", ""])]
        writer.writerow([row["name"], row["label"], *(row[m] for m in METRICS), *ends])
    return text.getvalue()


def _markdown(result: Mapping[str, Any]) -> str:
    parts = [f"# {_title(result)}", _subtitle(result)]
    for title, lines in _tables(result):
        parts += [f"## {title}", align(lines)]
    return "\n\n".join(parts) + "\n"
