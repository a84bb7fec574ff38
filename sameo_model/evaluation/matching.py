"""Match detections to true masks with pycocotools, and keep what AP, AR and their errors need."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sameo_model.data.types import AmodalImage, AmodalInstance
from sameo_model.evaluation.buckets import ALL_SIZES, Buckets
from sameo_model.evaluation.detections import Detection

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
POOLED = -1


@dataclass(frozen=True)
class MatchSettings:
    """How detections are matched."""

    class_specific: bool = False  # match within classes only; otherwise all classes are pooled
    # best detections of an image that count, of each class with `class_specific`, of all classes
    # together without
    max_detections: int = 100
    # the measure and its ranges by which truths and detections are also told apart
    buckets: Buckets = ALL_SIZES


@dataclass(frozen=True)
class ImageMatches:
    """The outcome for one image, one class (or all pooled) and one bucket."""

    image_id: int
    category_id: int  # number of the class, `POOLED` without classes
    bucket: int  # position in the buckets' ranges
    scores: np.ndarray  # float64 (D,), best first
    matched: np.ndarray  # bool (T, D), whether a detection found a truth at an IoU threshold
    ignored: np.ndarray  # bool (T, D), whether it counts neither for nor against
    num_truths: int


@dataclass(frozen=True)
class TruthMatch:
    """Which detection found a truth at IoU 0.5."""

    image_id: int
    annotation_id: int
    iou: float  # IoU of the two masks; 0 if nothing found the truth
    score: float  # score of the detection, 0 if there is none
    detection: int  # position of the detection in its image, -1 if there is none


def match_images(
    images: Sequence[AmodalImage],
    detections: Mapping[int, Sequence[Detection]],
    settings: MatchSettings,
) -> tuple[list[ImageMatches], list[TruthMatch]]:
    """Match the detections of some images to their true amodal masks.

    A detection that lies in a crowd region of its class, and matches no object, is ignored.

    Args:
        images: True masks; instances without an amodal mask take no part.
        detections: By image id; those without a mask take no part. Other images are not looked at.

    Returns:
        Matches per class, bucket and image, and the fate of each truth in the first bucket.
    """
    truth = _truth_records(images, settings.buckets)
    found = _detection_records(images, detections, settings.buckets)
    # Every number that occurs, because pycocotools drops records of categories it does not know.
    categories = sorted({record["category_id"] for record in (*truth, *found)}) or [1]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(
            _to_coco(images, truth, categories), _to_coco(images, found, categories), "segm"
        )
        evaluator.params.useCats = int(settings.class_specific)
        evaluator.params.maxDets = [settings.max_detections]
        evaluator.params.iouThrs = IOU_THRESHOLDS
        evaluator.params.areaRng = [list(bounds) for _, *bounds in settings.buckets.ranges]
        evaluator.params.areaRngLbl = [name for name, *_ in settings.buckets.ranges]
        evaluator.evaluate()
    outcomes = [outcome for outcome in evaluator.evalImgs if outcome is not None]
    matches = [_to_matches(outcome, settings) for outcome in outcomes]
    return matches, _truth_matches(outcomes, truth, found, settings)


def _truth_records(images: Sequence[AmodalImage], buckets: Buckets) -> list[dict]:
    pairs = [(image, truth) for image in images for truth in image.instances if scorable(truth)]
    # Numbered anew from 1, because pycocotools takes annotation 0 for "no match".
    objects = [
        {
            "id": number,
            "image_id": image.image_id,
            "category_id": instance.category_id,
            "segmentation": instance.amodal_rle,
            "area": buckets.truth_measure(instance),
            "iscrowd": 0,
            "annotation_id": instance.annotation_id,
        }
        for number, (image, instance) in enumerate(pairs, start=1)
    ]
    crowds = [(image, crowd) for image in images for crowd in image.crowds]
    return objects + [
        {
            "id": number,
            "image_id": image.image_id,
            "category_id": crowd.category_id,
            "segmentation": crowd.rle,
            "area": 0.0,
            "iscrowd": 1,
            "annotation_id": crowd.annotation_id,
        }
        for number, (image, crowd) in enumerate(crowds, start=len(objects) + 1)
    ]


def _detection_records(
    images: Sequence[AmodalImage], detections: Mapping[int, Sequence[Detection]], buckets: Buckets
) -> list[dict]:
    pairs = [
        (position, detection)
        for image in images
        for position, detection in enumerate(detections.get(image.image_id, ()))
        if detection.mask_rle is not None
    ]
    return [
        {
            "id": number,
            "image_id": detection.image_id,
            "category_id": detection.category_id,
            "segmentation": detection.mask_rle,
            # The mask's own measure: a box in the record would overrule it in pycocotools.
            "area": buckets.detection_measure(detection),
            "score": detection.score,
            "iscrowd": 0,
            "position": position,
        }
        for number, (position, detection) in enumerate(pairs, start=1)
    ]


def _to_coco(images: Sequence[AmodalImage], records: list[dict], categories: list[int]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": image.image_id, "height": image.image_hw[0], "width": image.image_hw[1]}
            for image in images
        ],
        "annotations": records,
        "categories": [{"id": number, "name": str(number)} for number in categories],
    }
    coco.createIndex()
    return coco


def _to_matches(outcome: dict, settings: MatchSettings) -> ImageMatches:
    bounds = [list(bounds) for _, *bounds in settings.buckets.ranges]
    return ImageMatches(
        image_id=int(outcome["image_id"]),
        category_id=int(outcome["category_id"]),
        bucket=bounds.index(list(outcome["aRng"])),
        scores=np.asarray(outcome["dtScores"], dtype=float),
        matched=np.asarray(outcome["dtMatches"], dtype=bool),
        ignored=np.asarray(outcome["dtIgnore"], dtype=bool),
        num_truths=int(np.count_nonzero(np.asarray(outcome["gtIgnore"]) == 0)),
    )


def _truth_matches(
    outcomes: list[dict],
    truth: list[dict],
    found: list[dict],
    settings: MatchSettings,
) -> list[TruthMatch]:
    whole = list(settings.buckets.ranges[0][1:])
    rows = []
    for outcome in outcomes:
        if list(outcome["aRng"]) != whole:
            continue
        for truth_id, found_id in zip(outcome["gtIds"], outcome["gtMatches"][0], strict=True):
            record = truth[truth_id - 1]
            if record["iscrowd"]:
                continue
            match = found[int(found_id) - 1] if found_id else None
            rows.append(_truth_match(record, match))
    return rows


def _truth_match(record: dict, match: dict | None) -> TruthMatch:
    image_id, annotation_id = record["image_id"], record["annotation_id"]
    if match is None:
        return TruthMatch(image_id, annotation_id, 0.0, 0.0, -1)
    iou = coco_mask.iou([match["segmentation"]], [record["segmentation"]], [0])[0, 0]
    return TruthMatch(image_id, annotation_id, float(iou), match["score"], match["position"])


def scorable(instance: AmodalInstance) -> bool:
    """Whether a truth takes part: it has an amodal mask with at least one pixel."""
    box_xywh = instance.amodal_box_xywh
    return instance.amodal_rle is not None and box_xywh is not None and min(box_xywh[2:]) > 0
