"""AP and AR of boxes without classes, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sameo_model.data.types import AmodalImage
from sameo_model.runtime.box_source import PromptKind
from sameo_model.runtime.types import BoolArray, FloatArray

MOST_BOXES = (10, 30, 100)
MIN_SCORE = 0.001
"""From which boxes are kept for AP, which looks at the whole curve; a user's is far higher."""


@dataclass(frozen=True)
class BoxVerdicts:
    """Which boxes of one image are right at IoU 0.5, each with an object of its own."""

    true_xyxy: FloatArray  # float64 (M, 4), the objects' visible boxes, pixels
    is_found: BoolArray  # bool (M,)
    is_right: BoolArray  # bool (N,), of the found boxes
    is_ignored: BoolArray  # bool (N,), on crowd regions: neither right nor wrong

    @property
    def is_false(self) -> BoolArray:
        """Which found boxes are wrong, bool (N,)."""
        return ~self.is_right & ~self.is_ignored


def judge_boxes(image: AmodalImage, boxes_xyxy: FloatArray, scores: FloatArray) -> BoxVerdicts:
    """Match the found visible boxes of one image to the true ones, best score first.

    Args:
        boxes_xyxy: float (N, 4), pixels.
        scores: float (N,).
    """
    truth = [one for one in _truth(image, "visible") if not one["iscrowd"]]
    key = image.image_id
    evaluation = _evaluate([image], {key: boxes_xyxy}, {key: scores}, "visible")
    is_found = np.zeros(len(truth), bool)
    is_right, is_ignored = np.zeros((2, len(scores)), bool)
    for outcome in filter(None, evaluation.evalImgs):
        found = np.array(outcome["dtIds"], int) - 1  # numbered from 1, as given
        is_ignored[found] = outcome["dtIgnore"][0]
        is_right[found] = (outcome["dtMatches"][0] > 0) & ~is_ignored[found]
        objects = np.array(outcome["gtIds"], int) - 1  # crowds come after the objects
        is_thing = objects < len(truth)
        is_found[objects[is_thing]] = outcome["gtMatches"][0][is_thing] > 0
    xywh = np.array([one["bbox"] for one in truth], float).reshape(-1, 4)
    true_xyxy = np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    return BoxVerdicts(true_xyxy, is_found, is_right, is_ignored)


def score_boxes(
    images: Sequence[AmodalImage],
    boxes_xyxy: Mapping[int, FloatArray],
    scores: Mapping[int, FloatArray],
    kind: PromptKind,
) -> dict[str, float]:
    """Score found boxes against the true ones, all classes as one.

    Crowd regions are left out: boxes there are neither right nor wrong. With `amodal`, so are
    objects whose whole box is not known.

    Args:
        boxes_xyxy: float (N, 4) by image id, pixels.
        scores: float (N,) by image id.

    Returns:
        ``ap`` (IoU .50 to .95), ``ap50``, ``ap75``, ``recall50`` (at most 100 boxes),
        ``ar10``, ``ar30``, ``ar100``, fractions, -1 where there is no true box.
    """
    evaluation = _evaluate(images, boxes_xyxy, scores, kind)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, -1]  # IoU thresholds, recalls
    recall = evaluation.eval["recall"][:, 0, 0]  # IoU thresholds, MOST_BOXES
    return {
        "ap": float(precision.mean()),
        "ap50": float(precision[0].mean()),
        "ap75": float(precision[5].mean()),
        "recall50": float(recall[0, -1]),
        **{f"ar{most}": float(recall[:, row].mean()) for row, most in enumerate(MOST_BOXES)},
    }


def _evaluate(
    images: Sequence[AmodalImage],
    boxes_xyxy: Mapping[int, FloatArray],
    scores: Mapping[int, FloatArray],
    kind: PromptKind,
) -> COCOeval:
    """Return pycocotools' evaluation with the matches of each image."""
    annotations = [
        {**one, "id": number, "image_id": image.image_id, "category_id": 1}
        for number, (image, one) in enumerate(
            ((image, one) for image in images for one in _truth(image, kind)), start=1
        )
    ]
    for one in annotations:
        one["area"] = one["bbox"][2] * one["bbox"][3]
    results = [
        {
            "image_id": image.image_id,
            "category_id": 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image in images
        for (x1, y1, x2, y2), score in zip(
            boxes_xyxy[image.image_id].tolist(), scores[image.image_id].tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = COCO(), COCO()
        truth.dataset = {
            "images": [{"id": image.image_id} for image in images],
            "categories": [{"id": 1}],
            "annotations": annotations,
        }
        truth.createIndex()
        found = truth.loadRes(results) if results else found
        if not results:
            found.dataset = {**truth.dataset, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.maxDets = list(MOST_BOXES)
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    return evaluation


def _truth(image: AmodalImage, kind: PromptKind) -> list[dict[str, Any]]:
    """Return `bbox` and `iscrowd` of what is annotated; visible boxes come before crowds."""
    annotations: list[dict[str, Any]] = []
    for item in image.instances:
        box = item.box_xywh(kind)
        if box is not None:
            annotations.append({"bbox": list(box), "iscrowd": 0})
        elif item.visible_box_xywh is not None:
            annotations.append({"bbox": list(item.visible_box_xywh), "iscrowd": 1})
    for crowd in image.crowds:
        annotations.append({"bbox": coco_mask.toBbox(crowd.rle).tolist(), "iscrowd": 1})
    return annotations
