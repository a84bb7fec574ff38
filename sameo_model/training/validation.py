"""Validation during training: scores of `evaluate masks` and overlays of fixed instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sameo_model.data.prompts import PromptKind
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.crops import rle_to_crop
from sameo_model.evaluation.mask_metrics import PromptedImage, evaluate_masks
from sameo_model.evaluation.torch_predictor import TorchPredictor, wrap_model
from sameo_model.modeling.sameo import Sameo
from sameo_model.runtime.overlay import draw_overlay
from sameo_model.runtime.types import Uint8Array

MAX_OVERLAY_BOXES = 8


@dataclass(frozen=True)
class ValidationResult:
    """What one validation found."""

    # of `evaluate_masks`, averaged over the kinds of prompts where there are several; then those of
    # each kind too, under `<kind>_prompts/`
    scores: dict[str, Any]
    # uint8 (H, W, 3) RGB by name: truth on the left, prediction on the right
    overlays: dict[str, Uint8Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """Scores a network on fixed images."""

    images: Sequence[AmodalImage]  # images with both true masks
    prompts: tuple[PromptKind, ...] = ("visible",)  # kinds of boxes
    num_overlays: int = 0  # images to draw, spread evenly over `images`

    def __call__(self, model: Sameo) -> ValidationResult:
        """Score `model` as it is."""
        predictor = wrap_model(model)
        by_kind = {
            kind: evaluate_masks(predictor, self.images, prompts=kind) for kind in self.prompts
        }
        return ValidationResult(average_scores(by_kind), self._draw(predictor))

    def _draw(self, predictor: TorchPredictor) -> dict[str, Uint8Array]:
        num_overlays = min(self.num_overlays, len(self.images))
        rows = np.linspace(0, len(self.images) - 1, num_overlays).round().astype(int)
        return {
            f"image_{row}": draw_comparison(predictor, self.images[row], self.prompts[0])
            for row in rows.tolist()
        }


def average_scores(by_kind: dict[PromptKind, dict[str, Any]]) -> dict[str, Any]:
    """Return the means over the kinds of prompts, and with several kinds each kind's scores too.

    A score is None where one of its parts is.
    """
    first = next(iter(by_kind.values()))
    if len(by_kind) == 1:
        return first
    merged: dict[str, Any] = {}
    for name, value in first.items():
        values = [scores[name] for scores in by_kind.values()]
        if isinstance(value, (int, float)) or value is None:
            is_known = all(item is not None for item in values)
            merged[name] = sum(values) / len(values) if is_known else None
    for kind, scores in by_kind.items():
        merged |= {f"{kind}_prompts/{name}": value for name, value in scores.items()}
    return merged


def draw_comparison(
    predictor: TorchPredictor, image: AmodalImage, prompts: PromptKind
) -> Uint8Array:
    """Draw the true masks of an image's first objects beside the predicted ones.

    Returns:
        uint8 (H, 2 * W, 3), RGB, truth on the left.
    """
    prompted = PromptedImage.build(image, prompts, 0.0, 0)
    instances = prompted.instances[:MAX_OVERLAY_BOXES]
    boxes_xyxy = prompted.boxes_xyxy[:MAX_OVERLAY_BOXES]
    pixels = image.load_rgb()
    amodal = [rle_to_crop(item.amodal_rle) for item in instances if item.amodal_rle]
    visible = [rle_to_crop(item.visible_rle) for item in instances if item.visible_rle]
    blank = [""] * len(instances)
    truth = draw_overlay(pixels, amodal, visible, boxes_xyxy, blank)
    answer = predictor.decode(predictor.encode(pixels), boxes_xyxy)
    labels = [f"{value:.2f}" for value in answer.predicted_iou]
    drawn = draw_overlay(pixels, answer.amodal_masks, answer.visible_masks, boxes_xyxy, labels)
    return np.concatenate([truth, drawn], axis=1)
