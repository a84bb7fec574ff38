"""From scored rows to the numbers of `evaluate detections`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation import uoais
from sameo_model.evaluation.average_precision import METRICS, MatchTable
from sameo_model.evaluation.bootstrap import difference, draw_weights, interval
from sameo_model.evaluation.buckets import Buckets
from sameo_model.evaluation.mask_metrics import BIN_EDGES, bin_index, spearman
from sameo_model.evaluation.matching import TruthMatch
from sameo_model.evaluation.row_scores import RowScores
from sameo_model.evaluation.rows import LABELS

NUM_BINS = 10  # of the predicted IoU


def summarise_rows(
    images: Sequence[AmodalImage],
    scores: Mapping[str, RowScores],
    headline: str,
    buckets: Buckets,
    *,
    replicates: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Average every row, with confidence intervals and differences to the headline row.

    Args:
        headline: Name of the row whose AP and AR stand for the whole run.
        replicates: Bootstrap samples of the images; 0 leaves out intervals and tests.

    Returns:
        `ap`, `ap50`, `ap75`, `ar`, `headline`, `rows` and `differences`, JSON values.
    """
    image_ids = sorted(image.image_id for image in images)
    rates = {
        (image.image_id, item.annotation_id): item.occlusion_rate
        for image in images
        for item in image.instances
    }
    weights = draw_weights(len(image_ids), replicates, seed) if replicates else np.zeros((0, 1))
    samples: dict[str, dict[str, np.ndarray]] = {}
    rows: list[dict[str, Any]] = []
    for name, row_scores in scores.items():
        table = MatchTable(row_scores.matches, image_ids)
        whole = _values(table.scores())
        samples[name] = _resample(table, weights)
        rows.append(
            {
                "name": name,
                "label": LABELS[name],
                **whole,
                "ci": {m: _known_pair(interval(samples[name][m])) for m in METRICS},
                "buckets": _bucket_rows(row_scores, image_ids, buckets),
                "iou_by_occlusion": _by_occlusion(row_scores.truths, rates),
                "uoais": uoais.average(row_scores.uoais),
            }
        )
    by_name: dict[str, dict[str, Any]] = {row["name"]: row for row in rows}
    return {
        **{metric: by_name[headline][metric] for metric in METRICS},
        "headline": headline,
        "rows": rows,
        "differences": [
            _difference_row(by_name, samples, headline, name)
            for name in by_name
            if name != headline and replicates
        ],
    }


def _values(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in scores.items()}


def _known_pair(pair: tuple[float, float]) -> list[float] | None:
    return None if math.isnan(pair[0]) else list(pair)


def _resample(table: MatchTable, weights: np.ndarray) -> dict[str, np.ndarray]:
    replicates = [table.scores(row) for row in weights]
    return {name: np.array([s[name] for s in replicates], float) for name in METRICS}


def _bucket_rows(
    scores: RowScores, image_ids: Sequence[int], buckets: Buckets
) -> list[dict[str, Any]]:
    return [
        {"name": label, **_values(MatchTable(scores.matches, image_ids, number).scores())}
        for number, (label, *_) in enumerate(buckets.ranges)
        if number
    ]


def _by_occlusion(
    truths: Sequence[TruthMatch], rates: Mapping[tuple[int, int], float | None]
) -> list[dict[str, Any]]:
    """Group truths by occlusion; one that nothing found at IoU 0.5 counts with IoU 0."""
    values: list[list[float]] = [[] for _ in BIN_EDGES[1:]]
    for truth in truths:
        rate = rates[truth.image_id, truth.annotation_id]
        if rate is not None:
            values[bin_index(rate)].append(truth.iou)
    return [
        {
            "lo": BIN_EDGES[number],
            "hi": BIN_EDGES[number + 1],
            "num": len(ious),
            "recall50": float(np.mean(np.array(ious) > 0)) if ious else None,
            "mean_iou": float(np.mean(ious)) if ious else None,
        }
        for number, ious in enumerate(values)
    ]


def _difference_row(
    rows: Mapping[str, Mapping[str, Any]],
    samples: Mapping[str, Mapping[str, np.ndarray]],
    headline: str,
    other: str,
) -> dict[str, Any]:
    result: dict[str, Any] = {"row": headline, "against": other}
    for metric in METRICS:
        ours, theirs = rows[headline][metric], rows[other][metric]
        if ours is None or theirs is None:
            result[metric] = None
            continue
        replicates = samples[headline][metric] - samples[other][metric]
        judged = difference(ours - theirs, replicates)
        result[metric] = {
            "difference": judged.value,
            "ci": [judged.low, judged.high],
            "p_value": judged.p_value,
        }
    return result


def calibration(predicted_ious: Sequence[float], true_ious: np.ndarray) -> dict[str, Any]:
    """Compare predicted with true IoU.

    Args:
        predicted_ious: The model's own estimate for each detection, in [0, 1].
        true_ious: float (D,), the largest IoU of each detection with any truth.

    Returns:
        `iou_spearman` (None where a rank correlation does not exist), `mean_absolute_error` and
        `bins` of `{lo, hi, num, predicted, true}`.
    """
    predicted, true = np.asarray(predicted_ious, float), np.asarray(true_ious, float)
    number = np.minimum((predicted * NUM_BINS).astype(int), NUM_BINS - 1)
    bins = []
    for n in range(NUM_BINS):
        chosen = number == n
        bins.append(
            {
                "lo": n / NUM_BINS,
                "hi": (n + 1) / NUM_BINS,
                "num": int(chosen.sum()),
                "predicted": float(predicted[chosen].mean()) if chosen.any() else None,
                "true": float(true[chosen].mean()) if chosen.any() else None,
            }
        )
    error = float(np.abs(predicted - true).mean()) if len(predicted) else None
    return {"iou_spearman": spearman(predicted, true), "mean_absolute_error": error, "bins": bins}
