"""What a bundle's own detector finds on the evaluated images, and how its boxes score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tqdm import tqdm

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.box_metrics import MIN_SCORE, MOST_BOXES, score_boxes
from sameo_model.evaluation.detections import Detection, amodal_boxes_of, boxes_of, scores_of
from sameo_model.runtime.box_source import PromptKind
from sameo_model.runtime.predictor import Predictor

BUILT_IN = "builtin"
"""Stands for the bundle's own detector where a file of detections is asked for."""


BoxScores = Mapping[str, Mapping[str, float]]
"""What `score_boxes` returns, under `visible` and, where whole shapes are known, `amodal`."""


def find_built_in(
    predictor: Predictor, images: Sequence[AmodalImage], max_boxes: int
) -> list[Detection]:
    """Run the model's detector on each image.

    Returns:
        Visible boxes with the box of the whole object, those of an image best first.

    Raises:
        ValueError: If the model has no detector.
    """
    detections: list[Detection] = []
    for image in tqdm(images, desc="detector", unit="image"):
        found = predictor.detect(image.load_rgb(), max_boxes=max_boxes, min_score=MIN_SCORE)
        detections += [
            Detection(image.image_id, 0, score, tuple(visible), amodal_box_xyxy=tuple(amodal))
            for visible, amodal, score in zip(
                found.boxes_xyxy.tolist(),
                found.amodal_boxes_xyxy.tolist(),
                found.scores.tolist(),
                strict=True,
            )
        ]
    return detections


def score_found_boxes(
    images: Sequence[AmodalImage],
    detections: Mapping[int, Sequence[Detection]],
    kinds: Sequence[PromptKind],
) -> BoxScores:
    """Return `score_boxes` of the detections for each kind of box."""
    found = {image.image_id: detections.get(image.image_id, ()) for image in images}
    scores = {image_id: scores_of(items) for image_id, items in found.items()}
    result: dict[str, dict[str, float]] = {}
    for kind in kinds:
        take = boxes_of if kind == "visible" else amodal_boxes_of
        boxes = {image_id: take(items) for image_id, items in found.items()}
        result[kind] = score_boxes(images, boxes, scores, kind)
    return result


def box_lines(scores: BoxScores) -> list[list[str]]:
    """Return a table of box scores as rows of cells: one row for visible, one for whole boxes."""
    keys = ["ap", "ap50", "ap75", "recall50", *(f"ar{most}" for most in MOST_BOXES)]
    rows = [["boxes", *(key.upper() for key in keys)]]
    rows += [
        [kind, *(f"{100 * values[key]:.1f}" if values[key] >= 0 else "-" for key in keys)]
        for kind, values in scores.items()
    ]
    return rows
