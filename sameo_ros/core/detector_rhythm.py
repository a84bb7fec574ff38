"""Which camera frames will a detector answer? Learned from those that it has answered."""

from __future__ import annotations

from collections import Counter, deque

_MEMORY = 8
_MIN_OBSERVATIONS = 3
_MIN_SHARE = 0.25


class DetectorRhythm:
    """Predicts the frame that the detector works on.

    A detector takes its next frame about when it hands out boxes: the frame that is newest then,
    or the next one, or one a fixed number of frames away where it works in a pipeline or with a
    timer. So the distance between the frame that was newest when boxes came and the frame that
    the next boxes belong to says how this detector works. Frames are named by their running
    number of arrival.
    """

    def __init__(self) -> None:
        self._distances: deque[int] = deque(maxlen=_MEMORY)
        self._anchor: int | None = None

    def observe(self, answered: int, newest: int) -> None:
        """Note that boxes came.

        Args:
            answered: Number of the frame that the boxes belong to.
            newest: Number of the newest frame when the boxes came.
        """
        if self._anchor is not None:
            self._distances.append(answered - self._anchor)
        self._anchor = newest

    @property
    def is_silent(self) -> bool:
        """Whether no boxes have come yet."""
        return self._anchor is None

    @property
    def is_known(self) -> bool:
        """Whether `predict` can say anything."""
        return len(self._distances) >= _MIN_OBSERVATIONS and bool(self.predict())

    def predict(self) -> list[int]:
        """Return the numbers of the frames that the next boxes may belong to, likeliest first."""
        if self._anchor is None:
            return []
        return [
            self._anchor + distance
            for distance, count in Counter(self._distances).most_common(2)
            if count >= _MIN_SHARE * len(self._distances)
        ]
