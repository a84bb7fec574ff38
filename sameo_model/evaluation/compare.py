"""Paired comparison of two evaluations of the same objects."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.data.types import DatasetFormatError
from sameo_model.evaluation.average_precision import METRICS, MatchTable
from sameo_model.evaluation.bootstrap import (
    Difference,
    clustered_mean,
    difference,
    draw_weights,
    resample,
)
from sameo_model.evaluation.instance_scores import OCCLUDED_ABOVE
from sameo_model.evaluation.mask_metrics import BIN_EDGES, bin_index
from sameo_model.evaluation.result_files import matches_path, read_matches
from sameo_model.evaluation.text_tables import TITLES

# Settings that must be equal for objects to be paired; a model or its options may differ.
_SAME_SETTINGS = {
    "masks": ("prompts", "box_noise", "seed"),
    "detections": ("class_specific", "max_dets", "buckets"),
}


@dataclass(frozen=True)
class Evaluation:
    """A result file and the lines per object beside it."""

    path: Path
    result: Mapping[str, Any]
    command: str  # `masks` or `detections`
    # IoUs and occlusion rate by image and annotation number
    objects: Mapping[tuple[str, str], Mapping[str, float]]


@dataclass(frozen=True)
class Comparison:
    """One compared number."""

    name: str
    num: int  # objects (or images, where the name says so) that it rests on
    first: float
    second: float
    judged: Difference  # second minus first with its uncertainty
    is_headline: bool  # whether a loss beyond the tolerance is a regression


def load_evaluation(path: Path) -> Evaluation:
    """Read a result file of `evaluate masks` or `evaluate detections`.

    Raises:
        FileNotFoundError: If it or the lines beside it are missing.
        DatasetFormatError: If one of them is damaged or something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"result file {path} does not exist")
    try:
        result = json.loads(path.read_bytes())
        command = result["settings"]["command"]
        lines_path = path.with_name(result["per_instance"])
        column = "iou_full" if command == "masks" else f"iou_{result['headline']}"
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetFormatError(
            f"{path} must be a result file of `evaluate masks` or `evaluate detections` written "
            f"with --json; run the evaluation again"
        ) from error
    return Evaluation(path, result, command, _read_objects(lines_path, column))


def _read_objects(path: Path, column: str) -> dict[tuple[str, str], dict[str, float]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} must lie beside its result file, but it is not there; copy both"
        )
    kept = ("iou_hidden", "iou_visible", "occlusion_rate")
    names = {"iou": column, **{name: name for name in kept}}
    try:
        with path.open(newline="") as file:
            return {
                (line["image_id"], line["annotation_id"]): {
                    name: float(line[key]) if line.get(key) else math.nan
                    for name, key in names.items()
                }
                for line in csv.DictReader(file)
            }
    except (KeyError, ValueError) as error:
        raise DatasetFormatError(
            f"{path} must hold the lines per object of an evaluation, but reading it failed; run "
            f"the evaluation again"
        ) from error


def compare(
    first: Evaluation, second: Evaluation, *, replicates: int, seed: int = 0
) -> list[Comparison]:
    """Compare two evaluations object by object, image by image and bin by bin.

    Images are resampled together with all of their objects, in both evaluations alike.

    Raises:
        ValueError: If the two are not of the same kind, settings and objects.
    """
    _check_same(first, second)
    keys = sorted(set(first.objects) & set(second.objects))
    images = sorted({image for image, _ in keys})
    weights = draw_weights(len(images), replicates, seed)
    rows = _ObjectRows(first, second, keys, images, weights)
    comparisons = []
    if first.command == "detections":
        comparisons += _compare_ap(first, second, replicates, seed)
    is_masks = first.command == "masks"
    comparisons.append(rows.by_object("mean IoU of objects", "iou", is_headline=is_masks))
    comparisons.append(rows.by_image("mean IoU of images"))
    occluded = rows.rates > OCCLUDED_ABOVE
    comparisons.append(
        rows.by_object("mean IoU of occluded objects", "iou", occluded, is_headline=is_masks)
    )
    if is_masks:
        comparisons.append(
            rows.by_object("mean IoU of hidden parts", "iou_hidden", occluded, is_headline=True)
        )
        comparisons.append(
            rows.by_object("mean IoU of visible masks", "iou_visible", is_headline=True)
        )
    for number, low in enumerate(BIN_EDGES[:-1]):
        name = f"mean IoU, occlusion {low:.1f} to {BIN_EDGES[number + 1]:.1f}"
        known = ~np.isnan(rows.rates)
        chosen = known & (np.array([bin_index(rate) for rate in rows.rates]) == number)
        comparisons.append(rows.by_object(name, "iou", chosen))
    return [item for item in comparisons if item.num]


class _ObjectRows:
    """Paired values of all objects, and the weights of their images in each replicate."""

    def __init__(
        self,
        first: Evaluation,
        second: Evaluation,
        keys: Sequence[tuple[str, str]],
        images: Sequence[str],
        weights: np.ndarray,
    ) -> None:
        position = {image: i for i, image in enumerate(images)}
        self.clusters = np.array([position[image] for image, _ in keys])
        self.rates = np.array([first.objects[key]["occlusion_rate"] for key in keys])
        self.weights = weights
        self._values = [
            {
                name: np.array([side.objects[key][name] for key in keys])
                for name in ("iou", "iou_hidden", "iou_visible")
            }
            for side in (first, second)
        ]

    def by_object(
        self, name: str, column: str, chosen: np.ndarray | None = None, is_headline: bool = False
    ) -> Comparison:
        """Compare means over the chosen objects."""
        first, second = (values[column] for values in self._values)
        known = ~np.isnan(first) & ~np.isnan(second)
        if chosen is not None:
            known &= chosen
        return self._judge(name, first[known], second[known], self.clusters[known], is_headline)

    def by_image(self, name: str) -> Comparison:
        """Compare means over images of the means over their objects."""
        known = ~np.isnan([values["iou"] for values in self._values]).any(axis=0)
        sizes = np.bincount(self.clusters[known])
        shown = np.flatnonzero(sizes)  # without images whose objects have no such score
        first, second = (
            (np.bincount(self.clusters[known], values["iou"][known]) / np.maximum(sizes, 1))[shown]
            for values in self._values
        )
        return self._judge(name, first, second, shown, False)

    def _judge(
        self, name: str, first: np.ndarray, second: np.ndarray, clusters: np.ndarray, head: bool
    ) -> Comparison:
        if not len(first):
            nothing = Difference(math.nan, math.nan, math.nan, math.nan)
            return Comparison(name, 0, math.nan, math.nan, nothing, head)
        change = second - first
        replicates = resample(clustered_mean(change, clusters), self.weights)
        judged = difference(float(change.mean()), replicates)
        return Comparison(name, len(first), float(first.mean()), float(second.mean()), judged, head)


def _compare_ap(
    first: Evaluation, second: Evaluation, replicates: int, seed: int
) -> list[Comparison]:
    sides = [read_matches(matches_path(side.path)) for side in (first, second)]
    ids = sorted({match.image_id for matches in sides for match in matches})
    weights = draw_weights(len(ids), replicates, seed)
    tables = [MatchTable(matches, ids) for matches in sides]
    samples = [[table.scores(row) for row in weights] for table in tables]
    whole = [table.scores() for table in tables]
    comparisons = []
    for metric in METRICS:
        values = [scores[metric] for scores in whole]
        changes = [np.array([scores[metric] for scores in side]) for side in samples]
        judged = difference(values[1] - values[0], changes[1] - changes[0])
        name = TITLES[metric]
        comparisons.append(
            Comparison(
                f"{name} (images)", len(ids), values[0], values[1], judged, metric in ("ap", "ar")
            )
        )
    return comparisons


def _check_same(first: Evaluation, second: Evaluation) -> None:
    if first.command != second.command:
        raise ValueError(
            f"{first.path} and {second.path} must come from the same command, got "
            f"{first.command} and {second.command}"
        )
    for name in _SAME_SETTINGS.get(first.command, ()):
        values = [side.result["settings"].get(name) for side in (first, second)]
        if values[0] != values[1]:
            raise ValueError(
                f"{first.path} and {second.path} must have the same {name} to be compared, got "
                f"{values[0]} and {values[1]}"
            )
    if set(first.objects) != set(second.objects):
        shared = len(set(first.objects) & set(second.objects))
        raise ValueError(
            f"{first.path} and {second.path} must score the same objects, got {len(first.objects)} "
            f"and {len(second.objects)} with {shared} in common; evaluate on the same annotations"
        )
