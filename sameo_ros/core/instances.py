"""Which object each pixel shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import MaskCrop
from sameo_ros.core.answer import Answer

LARGEST_LABEL = 65535


def draw_instances(answer: Answer) -> npt.NDArray[np.uint16]:
    """Draw the visible masks of an answer as labels.

    Args:
        answer: The masks, with visible ones.

    Returns:
        uint16 (H, W), detection index + 1 on the visible part of each object, 0 elsewhere. Where
        two masks claim a pixel, the object in front has it. Indices beyond 65534 are left out.
    """
    labels = np.zeros(answer.image_hw, dtype=np.uint16)
    visible_masks: Sequence[MaskCrop] = answer.prediction.visible_masks or ()
    row_of = {index: row for row, index in enumerate(answer.indices)}
    occluders = [[row_of[index] for index in found] for found in answer.occluded_by]
    for row in reversed(sort_front_to_back(occluders)):
        label = answer.indices[row] + 1
        if row < len(visible_masks) and label <= LARGEST_LABEL:
            x1, y1, x2, y2 = visible_masks[row].box_xyxy
            labels[y1:y2, x1:x2][visible_masks[row].mask] = label
    return labels


def sort_front_to_back(occluders: Sequence[Sequence[int]]) -> list[int]:
    """Return all rows, each after those in front of it; a circle begins anywhere.

    Args:
        occluders: For each row the rows in front of it.
    """
    ordered: list[int] = []
    seen: set[int] = set()
    for first in range(len(occluders)):
        waiting = [first]
        while waiting:
            row = waiting[-1]
            seen.add(row)
            ahead = next((other for other in occluders[row] if other not in seen), None)
            if ahead is not None:
                waiting.append(ahead)
                continue
            waiting.pop()
            if row not in ordered:
                ordered.append(row)
    return ordered
