"""AP and AR as COCO defines them, from matches; images may be weighted, as a bootstrap does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from sameo_model.evaluation.matching import IOU_THRESHOLDS, ImageMatches

METRICS = ("ap", "ap50", "ap75", "ar")
RECALLS = np.linspace(0.0, 1.0, 101)
_NOTHING = np.zeros(1)  # the precision at a recall that is not reached


@dataclass(frozen=True)
class _ClassTable:
    """Detections of a class over all images, best first."""

    image: np.ndarray  # int (D,), position of the image of each detection
    # float (1, D) or (T, D), 1 for a detection that counts; one row serves all thresholds where
    # nothing is ignored
    counted: np.ndarray
    hits: list[np.ndarray]  # for each threshold, int (H,): positions of the true positives
    num_truths: np.ndarray  # float (I,), by image


class MatchTable:
    """The matches of a whole data set in one bucket, ready to be averaged many times."""

    def __init__(
        self, matches: Sequence[ImageMatches], image_ids: Sequence[int], bucket: int = 0
    ) -> None:
        """Sort the matches.

        Args:
            image_ids: Images of the data set; their order is that of the weights.
        """
        self.num_images = len(image_ids)
        position = {image_id: i for i, image_id in enumerate(image_ids)}
        chosen = [match for match in matches if match.bucket == bucket]
        chosen.sort(key=lambda match: (match.category_id, match.image_id))
        categories = sorted({match.category_id for match in chosen})
        self._classes = [
            _build_class([m for m in chosen if m.category_id == number], position)
            for number in categories
        ]

    def scores(self, image_weights: np.ndarray | None = None) -> dict[str, float]:
        """Average.

        Args:
            image_weights: float (I,), how often each image counts; None counts each once.

        Returns:
            `ap`, the mean over IoU thresholds .50 to .95 in steps of .05 and over classes; `ap50`
            and `ap75`, at one threshold; `ar`, the recall with at most `max_detections` per image,
            mean over thresholds and classes. Fractions, NaN where there is no truth.
        """
        weights = np.ones(self.num_images) if image_weights is None else image_weights
        scored = [_score_class(table, weights) for table in self._classes]
        rows = [row for row in scored if row is not None]
        if not rows:
            return dict.fromkeys(METRICS, np.nan)
        precision = np.mean([row[0] for row in rows], axis=0)
        recall = np.mean([row[1] for row in rows], axis=0)
        return {
            "ap": float(precision.mean()),
            "ap50": float(precision[_threshold_index(0.5)]),
            "ap75": float(precision[_threshold_index(0.75)]),
            "ar": float(recall.mean()),
        }

    def precision_curve(self, iou_threshold: float) -> np.ndarray:
        """Return the precision at `RECALLS`, float (101,), mean over classes with truths."""
        row = _threshold_index(iou_threshold)
        weights = np.ones(self.num_images)
        curves = [
            _interpolate(*_recall_precision(table, weights)[row])
            for table in self._classes
            if table.num_truths.any()
        ]
        return np.mean(curves, axis=0) if curves else np.full(len(RECALLS), np.nan)


@cache
def _threshold_index(iou_threshold: float) -> int:
    return int(np.abs(IOU_THRESHOLDS - iou_threshold).argmin())


def _build_class(matches: Sequence[ImageMatches], position: dict[int, int]) -> _ClassTable:
    num_truths = np.zeros(len(position))
    for match in matches:
        num_truths[position[match.image_id]] += match.num_truths
    scores = np.concatenate([match.scores for match in matches])
    image = np.concatenate([np.full(len(m.scores), position[m.image_id]) for m in matches])
    matched = np.concatenate([match.matched for match in matches], axis=1)
    ignored = np.concatenate([match.ignored for match in matches], axis=1)
    # The same stable sort as pycocotools, so that equal scores keep the images' order.
    order = np.argsort(-scores, kind="mergesort")
    matched, ignored = matched[:, order], ignored[:, order]
    counted = (~ignored).astype(float)
    return _ClassTable(
        image[order].astype(int),
        counted if ignored.any() else counted[:1],
        [np.flatnonzero(row) for row in matched & ~ignored],
        num_truths,
    )


def _recall_precision(
    table: _ClassTable, weights: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return recall at each true positive and the precision's upper envelope, by threshold.

    Between true positives recall stands still and precision falls, so nothing else counts.
    """
    num_truths = float(table.num_truths @ weights)
    weight = weights[table.image]
    counted = (table.counted * weight).cumsum(axis=1)
    curves = []
    for threshold, position in enumerate(table.hits):
        hits = weight[position].cumsum()
        total = counted[min(threshold, len(counted) - 1)][position]
        precision = hits / (total + np.spacing(1))
        curves.append((hits / num_truths, np.maximum.accumulate(precision[::-1])[::-1]))
    return curves


def _interpolate(recall: np.ndarray, envelope: np.ndarray) -> np.ndarray:
    """Return the precision at `RECALLS`: that of the first detection to reach the recall."""
    return np.concatenate((envelope, _NOTHING))[recall.searchsorted(RECALLS)]


def _score_class(table: _ClassTable, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return AP and final recall by threshold, each float (T,); None without truths."""
    if not table.num_truths @ weights:
        return None
    curves = _recall_precision(table, weights)
    precisions = np.array([_interpolate(recall, envelope) for recall, envelope in curves])
    recalls = [recall[-1] if recall.size else 0.0 for recall, _ in curves]
    return precisions.mean(axis=1), np.array(recalls)
