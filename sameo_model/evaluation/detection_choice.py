"""Which of a front end's detections are scored: by score, overlap and image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.detections import Detection, group_by_image, suppress_duplicates


def check_thresholds(options: argparse.Namespace, detections: Sequence[Detection]) -> None:
    """Refuse thresholds that lie outside the scores' scale: [0, 1], except for logits.

    Raises:
        ValueError: If there is one.
    """
    are_fractions = all(0 <= one.score <= 1 for one in detections)
    for name in ("score_threshold", "uoais_threshold"):
        value, option = getattr(options, name), f"--{name.replace('_', '-')}"
        if value is not None and are_fractions and not 0 <= value <= 1:
            raise ValueError(f"{option} must lie from 0 to 1, as the scores do, got {value:g}")
        if value is not None and not np.isfinite(value):
            raise ValueError(f"{option} must be a finite number, got {value:g}")


def thin_out(
    options: argparse.Namespace, detections: Sequence[Detection], images: Sequence[AmodalImage]
) -> dict[int, list[Detection]]:
    """Return the detections by image, without those that the options leave out."""
    wanted = {image.image_id for image in images}
    groups = {
        image_id: items
        for image_id, items in group_by_image(detections).items()
        if image_id in wanted
    }
    if options.score_threshold is not None:
        low = options.score_threshold
        groups = {i: [d for d in items if d.score >= low] for i, items in groups.items()}
    if options.nms is not None:
        groups = {i: suppress_duplicates(items, options.nms) for i, items in groups.items()}
    return groups
