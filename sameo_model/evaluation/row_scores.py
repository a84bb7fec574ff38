"""Score the rows of the table on all cores, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from sameo_model.data.parallel import chunked, ordered_map
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.crops import rle_to_crop
from sameo_model.evaluation.detections import Detection
from sameo_model.evaluation.matching import (
    ImageMatches,
    MatchSettings,
    TruthMatch,
    match_images,
    scorable,
)
from sameo_model.evaluation.rows import Row
from sameo_model.evaluation.uoais import REGIONS, ObjectMasks, Region, RegionScores, score_image

CHUNK_IMAGES = 32
# A detection of which this much lies in a crowd region, and which is no object, does not count.
CROWD_SHARE = 0.5
# Fewer images than this are matched faster than processes start.
MIN_PARALLEL_IMAGES = 200


@dataclass
class RowScores:
    """What scoring found out about one row."""

    matches: list[ImageMatches] = field(default_factory=list)
    truths: list[TruthMatch] = field(default_factory=list)
    # by image id, float64 (D,): the largest IoU of each detection with any truth, NaN for one in a
    # crowd region and for one without a mask
    best_ious: dict[int, np.ndarray] = field(default_factory=dict)
    # by image and annotation number: the largest IoU of the truth with any detection, and that
    # detection's position in its image, -1 where nothing touches the truth
    nearest: dict[tuple[int, int], tuple[float, int]] = field(default_factory=dict)
    uoais: list[dict[Region, RegionScores]] = field(default_factory=list)  # measures of each image

    def extend(self, other: RowScores) -> None:
        """Add the scores of further images."""
        self.matches += other.matches
        self.truths += other.truths
        self.best_ious |= other.best_ious
        self.nearest |= other.nearest
        self.uoais += other.uoais


def score_rows(
    images: Sequence[AmodalImage],
    rows: Sequence[Row],
    settings: MatchSettings,
    *,
    uoais_from_score: float,
    workers: int = 1,
    progress: bool = False,
) -> dict[str, RowScores]:
    """Score every row, by its name.

    Args:
        uoais_from_score: The UOAIS measures, which know no ranking, take detections whose front
            end's score is at least this.
    """
    if len(images) < MIN_PARALLEL_IMAGES:
        workers = 1
    result = {row.name: RowScores() for row in rows}
    jobs = ((chunk, [_cut(row, chunk) for row in rows]) for chunk in chunked(images, CHUNK_IMAGES))
    score = partial(_score_chunk, settings, uoais_from_score)
    with tqdm(total=len(images), desc="score", unit="image", disable=not progress) as bar:
        for size, scores in ordered_map(score, jobs, workers):
            for name, row_scores in scores.items():
                result[name].extend(row_scores)
            bar.update(size)
    return result


def _cut(row: Row, images: Sequence[AmodalImage]) -> Row:
    """Return the part of a row that answers some images."""
    ids = [image.image_id for image in images]
    return replace(row, detections={i: row.detections.get(i, ()) for i in ids})


def _score_chunk(
    settings: MatchSettings, uoais_from_score: float, job: tuple[list[AmodalImage], list[Row]]
) -> tuple[int, dict[str, RowScores]]:
    images, rows = job
    truth_masks = {image.image_id: _truth_masks(image) for image in images}
    # Every row has the same boxes in the same order, so the first one's scores choose.
    chosen = {
        image_id: [n for n, item in enumerate(found) if item.score >= uoais_from_score]
        for image_id, found in rows[0].detections.items()
    }
    # Rows that differ in scores alone share their masks, and what depends on masks alone.
    by_masks: dict[tuple[int, ...], RowScores] = {}
    result = {}
    for row in rows:
        scores = RowScores(*match_images(images, row.detections, settings))
        masks = (id(item.mask_rle) for found in row.detections.values() for item in found)
        key = (row.knows_visible, *masks)
        if key not in by_masks:
            _add_mask_scores(scores, images, row, truth_masks, chosen)
        else:
            same = by_masks[key]
            scores.best_ious, scores.nearest = same.best_ious, same.nearest
            scores.uoais = same.uoais
        result[row.name] = by_masks[key] = scores
    return len(images), result


def _add_mask_scores(
    scores: RowScores,
    images: Sequence[AmodalImage],
    row: Row,
    truth_masks: Mapping[int, list[ObjectMasks]],
    chosen: Mapping[int, list[int]],
) -> None:
    regions = REGIONS if row.knows_visible else REGIONS[:1]
    for image in images:
        found = row.detections[image.image_id]
        _add_best_ious(scores, image, found)
        counted = ~np.isnan(scores.best_ious[image.image_id])
        predicted = [_object_masks(found[n]) for n in chosen[image.image_id] if counted[n]]
        truth = truth_masks[image.image_id]
        scores.uoais.append(score_image(predicted, truth, image.image_hw, regions))


def _add_best_ious(scores: RowScores, image: AmodalImage, found: Sequence[Detection]) -> None:
    truths = [instance for instance in image.instances if scorable(instance)]
    ious = np.zeros((len(found), len(truths)))
    masked = [n for n, item in enumerate(found) if item.mask_rle is not None]
    masks = [found[n].mask_rle for n in masked]
    if truths and masks:
        amodal = [item.amodal_rle for item in truths]
        ious[masked] = coco_mask.iou(masks, amodal, [0] * len(truths))
    best_ious = np.full(len(found), np.nan)
    best_ious[masked] = ious[masked].max(axis=1, initial=0.0)
    if image.crowds and masks:
        regions = [crowd.rle for crowd in image.crowds]
        inside = coco_mask.iou(masks, regions, [1] * len(regions)).max(axis=1) >= CROWD_SHARE
        in_crowd = np.zeros(len(found), dtype=bool)
        in_crowd[masked] = inside
        best_ious[in_crowd & (best_ious < CROWD_SHARE)] = np.nan
    scores.best_ious[image.image_id] = best_ious
    for column, truth in enumerate(truths):
        best = int(ious[:, column].argmax()) if len(found) else -1
        iou = float(ious[best, column]) if len(found) else 0.0
        key = image.image_id, truth.annotation_id
        scores.nearest[key] = (iou, best) if iou else (0.0, -1)


def _truth_masks(image: AmodalImage) -> list[ObjectMasks]:
    masks = []
    for instance in image.instances:
        if scorable(instance):
            assert instance.amodal_rle is not None
            visible = instance.visible_rle and rle_to_crop(instance.visible_rle)
            masks.append(ObjectMasks(rle_to_crop(instance.amodal_rle), visible))
    return masks


def _object_masks(item: Detection) -> ObjectMasks:
    assert item.mask_rle is not None
    return ObjectMasks(
        rle_to_crop(item.mask_rle), item.visible_rle and rle_to_crop(item.visible_rle)
    )
