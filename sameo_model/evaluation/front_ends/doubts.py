"""Sentences about detections that can be read, but are probably not what was meant."""

from __future__ import annotations

from collections.abc import Sequence

from sameo_model.evaluation.detections import Detection


def note_repeats(detections: Sequence[Detection]) -> list[str]:
    """Note detections that are there twice, of which AP counts one as false."""
    different = {
        (
            one.image_id,
            one.category_id,
            one.score,
            one.box_xyxy,
            one.mask_rle and one.mask_rle["counts"],
        )
        for one in detections
    }
    if len(different) == len(detections):
        return []
    return [
        f"{len(detections) - len(different)} of {len(detections)} detections are there already, "
        f"with image, class, score, box and mask, and count as false; is the file joined twice?"
    ]
