"""Result files: JSON with the averages, one line per object in a CSV, and the matches."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sameo_model.data.types import AmodalImage, DatasetFormatError
from sameo_model.evaluation.instance_scores import InstanceScore
from sameo_model.evaluation.matching import ImageMatches
from sameo_model.evaluation.row_scores import RowScores
from sameo_model.runtime.files import write_json, write_whole

RESULT_FILE = "result.json"
# What `--report` writes into its folder.
REPORT_FILES = (
    "index.html",
    "report.md",
    RESULT_FILE,
    "rows.csv",
    "instances.csv",
    "figure.png",
)


def files_beside(json_path: Path) -> list[Path]:
    """Return a result file and those that belong to it."""
    return [json_path, instances_path(json_path), matches_path(json_path)]


def instances_path(json_path: Path) -> Path:
    """Return where the lines per object go that belong to a result file."""
    return json_path.with_name(f"{json_path.stem}.instances.csv")


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


def matches_path(json_path: Path) -> Path:
    """Return where the matches go that belong to a result file."""
    return json_path.with_name(f"{json_path.stem}.matches.npz")


def write_detection_files(
    json_path: Path,
    result: Mapping[str, Any],
    images: Sequence[AmodalImage],
    scores: Mapping[str, RowScores],
) -> None:
    """Write the result and beside it the lines per object and the headline row's matches."""
    json_path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(instances_path(json_path), instances_csv(images, scores))
    write_matches(matches_path(json_path), scores[result["headline"]].matches)
    write_json(
        json_path,
        {
            **result,
            "per_instance": instances_path(json_path).name,
            "matches": matches_path(json_path).name,
        },
        indent=2,
    )


def instances_csv(images: Sequence[AmodalImage], scores: Mapping[str, RowScores]) -> str:
    """Return one line per true object with the IoU of what found it in each row, else 0."""
    found = {
        name: {(truth.image_id, truth.annotation_id): truth.iou for truth in row.truths}
        for name, row in scores.items()
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["image_id", "annotation_id", "category", "occlusion_rate", *(f"iou_{n}" for n in found)]
    )
    truths = ((image.image_id, item) for image in images for item in image.instances)
    for image_id, item in truths:
        key = image_id, item.annotation_id
        if any(key in row for row in found.values()):
            rate = "" if item.occlusion_rate is None else f"{item.occlusion_rate:.6g}"
            ious = [f"{row[key]:.6g}" for row in found.values()]
            writer.writerow([*key, item.category, rate, *ious])
    return text.getvalue()


def write_matches(path: Path, matches: Sequence[ImageMatches]) -> None:
    """Write the matches of the first bucket, so that two runs can be compared by resampling."""
    chosen = [match for match in matches if match.bucket == 0]
    empty = np.zeros((10, 0), dtype=bool)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        image_id=np.array([match.image_id for match in chosen], dtype=np.int64),
        category_id=np.array([match.category_id for match in chosen], dtype=np.int64),
        num_truths=np.array([match.num_truths for match in chosen], dtype=np.int64),
        num_detections=np.array([len(match.scores) for match in chosen], dtype=np.int64),
        scores=np.concatenate([np.zeros(0), *(match.scores for match in chosen)]),
        matched=np.concatenate([empty, *(match.matched for match in chosen)], axis=1),
        ignored=np.concatenate([empty, *(match.ignored for match in chosen)], axis=1),
    )
    write_whole(path, buffer.getvalue())


def read_matches(path: Path) -> list[ImageMatches]:
    """Read what `write_matches` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        DatasetFormatError: If it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} must lie beside its result file, but it is not there")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            data = {name: arrays[name] for name in arrays.files}
        ends = np.cumsum(data["num_detections"])
        return [
            ImageMatches(
                int(data["image_id"][i]),
                int(data["category_id"][i]),
                0,
                data["scores"][end - count : end],
                data["matched"][:, end - count : end],
                data["ignored"][:, end - count : end],
                int(data["num_truths"][i]),
            )
            for i, (end, count) in enumerate(
                zip(ends.tolist(), data["num_detections"].tolist(), strict=True)
            )
        ]
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise DatasetFormatError(
            f"{path} must be a whole file of matches, but reading it failed; run the evaluation "
            f"again"
        ) from error
