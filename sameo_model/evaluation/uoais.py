"""Overlap and boundary precision, recall and F of table-top segmentation (UOAIS, ICRA 2022).

Written from the published definitions. Predicted and true objects of an image are paired by
Hungarian matching on the F-score of their pixels. Overlap precision is the number of shared pixels
of all pairs over all predicted pixels, recall over all true pixels; the boundary measures are the
same on contours, where a pixel is shared if it lies within 0.003 of the image's diagonal of the
other contour. Each image counts once. The same is done for amodal, visible and hidden masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from sameo_model.evaluation.boundary import contour, contour_matches, f_score, tolerance_px
from sameo_model.runtime.types import ImageHW, MaskCrop

Region = Literal["amodal", "visible", "hidden"]
REGIONS: tuple[Region, ...] = ("amodal", "visible", "hidden")
GOOD_F = 0.75


@dataclass(frozen=True, slots=True)
class ObjectMasks:
    """An object as predicted or as it is: its whole extent and its visible part, if known."""

    amodal: MaskCrop
    visible: MaskCrop | None

    def region(self, name: Region) -> MaskCrop | None:
        """Return one of its masks; None where it is not known."""
        if name == "amodal":
            return self.amodal
        if name == "visible" or self.visible is None:
            return self.visible
        return self.amodal.subtract(self.visible)


@dataclass(frozen=True, slots=True)
class RegionScores:
    """Measures of one kind of mask, fractions; of one image or averaged over images."""

    overlap_precision: float  # shared pixels over predicted pixels
    overlap_recall: float  # shared pixels over true pixels
    overlap_f: float  # their harmonic mean
    boundary_precision: float  # the same with contours
    boundary_recall: float  # the same with contours
    boundary_f: float  # the same with contours
    good_share: float  # share of true objects that are paired with an F above 0.75


def score_image(
    predicted: Sequence[ObjectMasks],
    truth: Sequence[ObjectMasks],
    image_hw: ImageHW,
    regions: Sequence[Region] = REGIONS,
) -> dict[Region, RegionScores]:
    """Score the objects of one image.

    Args:
        image_hw: Height and width of the image, pixels.
        regions: Kinds of masks to score; those that the predictions know.

    Returns:
        Scores by kind of mask. A kind is left out where it is unknown, and where neither a
        predicted nor a true object has any pixel of it.
    """
    scores = {}
    for name in regions:
        theirs = [item.region(name) for item in predicted]
        ours = [item.region(name) for item in truth]
        if any(mask is None for mask in (*theirs, *ours)):
            continue
        found = [mask for mask in theirs if mask is not None and mask.area]
        wanted = [mask for mask in ours if mask is not None and mask.area]
        if found or wanted:
            scores[name] = _score_region(found, wanted, tolerance_px(image_hw))
    return scores


def average(images: Iterable[Mapping[Region, RegionScores]]) -> dict[str, dict[str, float]]:
    """Average over images, each of which counts once for each kind of mask that it has."""
    rows = list(images)
    result: dict[str, dict[str, float]] = {}
    for name in REGIONS:
        chosen = [row[name] for row in rows if name in row]
        if chosen:
            result[name] = {
                field: float(np.mean([getattr(scores, field) for scores in chosen]))
                for field in RegionScores.__slots__
            }
    return result


def _score_region(
    predicted: Sequence[MaskCrop], truth: Sequence[MaskCrop], radius_px: int
) -> RegionScores:
    if not predicted or not truth:
        # Nothing predicted is nothing wrong, and nothing to find is nothing missed.
        precision, recall = float(not predicted), float(not truth)
        return RegionScores(precision, recall, 0.0, precision, recall, 0.0, recall)
    areas = np.array([mask.area for mask in predicted]), np.array([mask.area for mask in truth])
    shared = np.array([[mask.intersection_area(other) for other in truth] for mask in predicted])
    pair_f = 2 * shared / (areas[0][:, None] + areas[1][None])
    rows, columns = linear_sum_assignment(pair_f, maximize=True)
    overlap = shared[rows, columns].sum()
    overlap_precision, overlap_recall = overlap / areas[0].sum(), overlap / areas[1].sum()
    hits, num_predicted, found, num_true = _match_contours(
        predicted, truth, list(zip(rows, columns, strict=True)), radius_px
    )
    return RegionScores(
        float(overlap_precision),
        float(overlap_recall),
        f_score(overlap_precision, overlap_recall),
        hits / num_predicted,
        found / num_true,
        f_score(hits / num_predicted, found / num_true),
        float((pair_f[rows, columns] > GOOD_F).sum() / len(truth)),
    )


def _match_contours(
    predicted: Sequence[MaskCrop],
    truth: Sequence[MaskCrop],
    pairs: Sequence[tuple[int, int]],
    radius_px: int,
) -> tuple[int, int, int, int]:
    """Return matched and all contour pixels, predicted and true, of all objects."""
    hits = found = 0
    for row, column in pairs:
        matched = contour_matches(predicted[row], truth[column], radius_px)
        hits += matched[0]
        found += matched[2]
    num_predicted = sum(int(np.count_nonzero(contour(mask.mask))) for mask in predicted)
    num_true = sum(int(np.count_nonzero(contour(mask.mask))) for mask in truth)
    return hits, num_predicted, found, num_true
