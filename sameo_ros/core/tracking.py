"""Numbers for found objects that stay the same from picture to picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.boxes import as_boxes, box_ious

MIN_IOU = 0.3
"""Smallest IoU of two boxes of one object in pictures that follow each other."""
MAX_MISSED = 5
"""Pictures in which an object may be missed and keep its number."""


@dataclass
class _Track:
    number: int
    box_xyxy: npt.NDArray[np.float32]
    missed: int = 0


class BoxTracker:
    """Gives each box the number of the box before it that it overlaps most, else a new one.

    Pairs are joined in the order of their IoU, as in IoU trackers (Bochinski et al. 2017). That is
    right for a camera that moves little between pictures: what moves by half its size gets a new
    number.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._num_seen = 0

    def number_boxes(self, boxes_xyxy: npt.NDArray[np.float32]) -> list[int]:
        """Return a number for each box of the next picture.

        Args:
            boxes_xyxy: float32 (N, 4), x1, y1, x2, y2 in pixels.

        Returns:
            N different numbers, from 1 on; none is used again for another object.
        """
        before = as_boxes([track.box_xyxy for track in self._tracks])
        rows = _pair_up(box_ious(before, boxes_xyxy))
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


def _pair_up(ious: npt.NDArray[np.float32]) -> dict[int, int]:
    """Join rows with columns, the best pairs first, each once."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    candidates = np.argwhere(ious >= MIN_IOU)
    order = np.argsort(-ious[tuple(candidates.T)], kind="stable")
    for row, column in candidates[order].tolist():
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return pairs
