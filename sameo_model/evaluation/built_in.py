"""What a bundle's own detector finds on the evaluated images, and how its boxes score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from tqdm import tqdm

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.box_metrics import MIN_SCORE, MOST_BOXES, score_boxes
from sameo_model.evaluation.detections import Detection, boxes_of
from sameo_model.runtime.predictor import Predictor
from sameo_model.runtime.types import FloatArray

BUILT_IN = "builtin"
"""Stands for the bundle's own detector where a file of detections is asked for."""


BoxScores = Mapping[str, Mapping[str, float]]
"""What `score_boxes` returns, under `visible` and, where whole shapes are known, `amodal`."""


def find_built_in(
    predictor: Predictor, images: Sequence[AmodalImage], max_boxes: int
) -> tuple[list[Detection], dict[int, FloatArray]]:
    """Run the model's detector on each image.

    Returns:
        Visible boxes, those of an image best first; and whole boxes in the same order, float32
        (N, 4) by image id.

    Raises:
        ValueError: If the model has no detector.
    """
    detections: list[Detection] = []
    amodal_boxes: dict[int, FloatArray] = {}
    for image in tqdm(images, desc="detector", unit="image"):
        found = predictor.detect(image.load_rgb(), max_boxes=max_boxes, min_score=MIN_SCORE)
        amodal_boxes[image.image_id] = found.amodal_boxes_xyxy
        detections += [
            Detection(image.image_id, 0, score, (box[0], box[1], box[2], box[3]))
            for box, score in zip(found.boxes_xyxy.tolist(), found.scores.tolist(), strict=True)
        ]
    return detections, amodal_boxes


def score_found_boxes(
    images: Sequence[AmodalImage],
    detections: Mapping[int, Sequence[Detection]],
    kind: Literal["visible", "amodal"],
    boxes_xyxy: Mapping[int, FloatArray] | None = None,
) -> dict[str, float]:
    """Return `score_boxes` of detections, or of other boxes in their place.

    Args:
        boxes_xyxy: Boxes by image id in the order of `detections`; None takes theirs.
    """
    scores = {
        image.image_id: np.array([d.score for d in detections.get(image.image_id, ())])
        for image in images
    }
    own = {image.image_id: boxes_of(detections.get(image.image_id, ())) for image in images}
    return score_boxes(images, own if boxes_xyxy is None else boxes_xyxy, scores, kind)


def box_lines(scores: BoxScores) -> list[list[str]]:
    """Return a table of box scores as rows of cells: one row for visible, one for whole boxes."""
    keys = ["ap", "ap50", "ap75", "recall50", *(f"ar{most}" for most in MOST_BOXES)]
    rows = [["boxes", *(key.upper() for key in keys)]]
    rows += [
        [kind, *(f"{100 * values[key]:.1f}" if values[key] >= 0 else "-" for key in keys)]
        for kind, values in scores.items()
    ]
    return rows
