"""Validation of the box detector during training: AP and AR on each data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.box_metrics import MIN_SCORE, MOST_BOXES, score_boxes
from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.runtime.backends.base import CellBoxes
from sameo_model.runtime.box_suppression import to_detections
from sameo_model.runtime.framing import resize_window
from sameo_model.runtime.types import Detections, FloatArray, Uint8Array
from sameo_model.training.validation import ValidationResult

DRAWN_SCORE = 0.3


@dataclass(frozen=True)
class BoxValidation:
    """Scores a detector on fixed images."""

    sets: Mapping[str, Sequence[AmodalImage]]
    num_overlays: int = 0  # images of each set to draw

    def __call__(self, model: BoxDetector) -> ValidationResult:
        """Score `model` as it is: `<set>/visible_ap` and so on, and the means over the sets."""
        scores: dict[str, Any] = {}
        overlays: dict[str, Uint8Array] = {}
        for name, images in self.sets.items():
            found = {image.image_id: detect(model, image.load_rgb()) for image in images}
            values = {number: one.scores for number, one in found.items()}
            boxes = {
                "visible": {number: one.boxes_xyxy for number, one in found.items()},
                "amodal": {number: one.amodal_boxes_xyxy for number, one in found.items()},
            }
            for kind in boxes:
                for key, value in score_boxes(images, boxes[kind], values, kind).items():  # type: ignore[arg-type]
                    if value >= 0:
                        scores[f"{name}/{kind}_{key}"] = value
            for image in images[: self.num_overlays]:
                one = found[image.image_id]
                chosen = one.boxes_xyxy[one.scores >= DRAWN_SCORE]
                overlays[f"{name}/{image.image_id}"] = _draw(image.load_rgb(), chosen)
        for key in ("visible_ap", "visible_ap50", "visible_ar100"):
            scores[f"box_{key}"] = float(np.mean([scores[f"{name}/{key}"] for name in self.sets]))
        return ValidationResult(scores, overlays)


@torch.no_grad()
def detect(model: BoxDetector, image_rgb: Uint8Array) -> Detections:
    """Find boxes with the network in PyTorch.

    Args:
        image_rgb: uint8 (H, W, 3), RGB.
    """
    squashed = resize_window(image_rgb, model.image_size)
    device = next(model.parameters()).device
    image = torch.from_numpy(squashed.transpose(2, 0, 1)[None].copy()).to(device)
    answer = model.eval()(image)
    cells = CellBoxes(
        *(
            values[0].cpu().numpy()
            for values in (answer.visible_xyxy, answer.amodal_xyxy, answer.scores())
        )
    )
    image_hw = image_rgb.shape[0], image_rgb.shape[1]
    return to_detections(
        cells, model.image_size, image_hw, min_score=MIN_SCORE, max_boxes=max(MOST_BOXES)
    )


def _draw(image_rgb: Uint8Array, boxes_xyxy: FloatArray) -> Uint8Array:
    drawn = np.ascontiguousarray(image_rgb)
    for x1, y1, x2, y2 in boxes_xyxy.round().astype(int).tolist():
        cv2.rectangle(drawn, (x1, y1), (x2, y2), (255, 255, 0), 2)
    return drawn
