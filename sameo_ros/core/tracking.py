"""Numbers for found objects that stay the same from image to image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.boxes import as_boxes, box_ious
from sameo_model.runtime.types import FloatArray, MaskCrop

MIN_IOU = 0.3
"""Smallest IoU of two boxes of one object in images that follow each other."""
MIN_SHARED = 0.5
"""Smallest share of a mask that lies in the box of its object, or of the box in the mask."""
MAX_MISSED = 5
"""Images in which an object may be missed and keep its number."""


@dataclass
class _Track:
    number: int
    box_xyxy: npt.NDArray[np.float32]
    mask: MaskCrop = field(default_factory=MaskCrop.empty)
    missed: int = 0


class BoxTracker:
    """Gives each box the number of the object before it that it overlaps most, else a new one.

    Pairs are joined in the order of their boxes' IoU, as in IoU trackers (Bochinski et al. 2017).
    What is left is joined by the last visible masks: the box of an object that is covered or
    uncovered changes, but it still lies in the mask, or holds it. That is right for a camera that
    moves little between images: what moves by more than half its size gets a new number.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._num_seen = 0

    def number_boxes(self, boxes_xyxy: npt.NDArray[np.float32]) -> list[int]:
        """Return a number for each box of the next image.

        Args:
            boxes_xyxy: float32 (N, 4), x1, y1, x2, y2 in pixels.

        Returns:
            N different numbers, from 1 on; none is used again for another object.
        """
        before = as_boxes([track.box_xyxy for track in self._tracks])
        rows = _pair_up(box_ious(before, boxes_xyxy), MIN_IOU)
        rows |= self._pair_up_by_masks(boxes_xyxy, rows)
        numbers = [0] * len(boxes_xyxy)
        for position, track in enumerate(self._tracks):
            row = rows.get(position)
            if row is None:
                track.missed += 1
            else:
                track.missed, track.box_xyxy = 0, boxes_xyxy[row]
                numbers[row] = track.number
        self._tracks = [track for track in self._tracks if track.missed <= MAX_MISSED]
        for row, box in enumerate(boxes_xyxy):
            if not numbers[row]:
                self._num_seen += 1
                numbers[row] = self._num_seen
                self._tracks.append(_Track(self._num_seen, box))
        return numbers

    def keep_masks(self, masks: Mapping[str, MaskCrop]) -> None:
        """Remember the visible masks of the last answer, by number as text."""
        for track in self._tracks:
            track.mask = masks.get(str(track.number), track.mask)

    def _pair_up_by_masks(
        self, boxes_xyxy: npt.NDArray[np.float32], rows: Mapping[int, int]
    ) -> dict[int, int]:
        """Join what is left of the boxes with the objects that were just seen."""
        seen = [i for i, track in enumerate(self._tracks) if i not in rows and not track.missed]
        free = sorted(set(range(len(boxes_xyxy))) - set(rows.values()))
        shares = _shares([self._tracks[i].mask for i in seen], boxes_xyxy[free])
        return {seen[i]: free[j] for i, j in _pair_up(shares, MIN_SHARED).items()}


def _shares(masks: list[MaskCrop], boxes_xyxy: npt.NDArray[np.float32]) -> FloatArray:
    """Return for each mask and box how much of the smaller one the other holds, (N, M)."""
    shares = np.zeros((len(masks), len(boxes_xyxy)), np.float32)
    for row, mask in enumerate(masks):
        corners = np.rint(boxes_xyxy).astype(int).reshape(-1, 2, 2) - (mask.x, mask.y)
        for column, ((left, top), (right, bottom)) in enumerate(corners.clip(min=0).tolist()):
            shared = np.count_nonzero(mask.mask[top:bottom, left:right])
            area = float(np.prod(boxes_xyxy[column, 2:] - boxes_xyxy[column, :2]))
            shares[row, column] = shared / max(min(mask.area, area), 1)
    return shares


def _pair_up(overlaps: FloatArray, least: float) -> dict[int, int]:
    """Join rows with columns, the best pairs first, each once."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    candidates = np.argwhere(overlaps >= least)
    order = np.argsort(-overlaps[tuple(candidates.T)], kind="stable")
    for row, column in candidates[order].tolist():
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return pairs
