"""Detections as a mediocre detector would give them, made from true boxes with a seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sameo_model.data.prompts import PromptKind, instance_box_xyxy, jitter_boxes_xyxy
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.detections import box_ious
from sameo_model.evaluation.mask_metrics import scorable_instances

NOISES = (0.02, 0.1, 0.25)  # one box per object with each, as a share of its size
NUM_FALSE = 3  # boxes per image that belong to no object
SCORE_DEVIATION = 0.15


def write_noisy_detections(
    path: Path, images: Sequence[AmodalImage], kind: PromptKind, seed: int
) -> None:
    """Write COCO results whose scores are only loosely related to how good a box is.

    Every object gets three boxes of growing noise. A box's score is its best overlap with a true
    box plus noise, so that there is something to gain from re-scoring.

    Args:
        path: file to write.
        images: images with true masks.
        kind: what the boxes enclose.
        seed: of all noise.
    """
    results = []
    for image in images:
        generator = np.random.default_rng([seed, abs(image.image_id)])
        instances = scorable_instances(image, kind)
        if not instances:
            continue
        true = np.stack([instance_box_xyxy(item, kind) for item in instances])
        boxes = np.concatenate(
            [jitter_boxes_xyxy(true, noise, generator, image.image_hw) for noise in NOISES]
            + [_false_boxes(generator, image.image_hw)]
        )
        quality = box_ious(boxes, true).max(1)
        scores = np.clip(quality + generator.normal(0, SCORE_DEVIATION, len(boxes)), 0.01, 1)
        for (x1, y1, x2, y2), score in zip(boxes.tolist(), scores.tolist(), strict=True):
            box_xywh = [x1, y1, x2 - x1, y2 - y1]
            record = {"image_id": image.image_id, "category_id": 1, "bbox": box_xywh}
            results.append({**record, "score": round(score, 4)})
    path.write_text(json.dumps(results))


def _false_boxes(generator: np.random.Generator, image_hw: tuple[int, int]) -> np.ndarray:
    height, width = image_hw
    sizes = generator.uniform(0.08, 0.3, (NUM_FALSE, 2)) * (width, height)
    corners = generator.uniform(0, 1, (NUM_FALSE, 2)) * ((width, height) - sizes)
    return np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)
