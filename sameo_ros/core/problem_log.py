"""Problems of the node: logged with throttling, and kept as long as they last."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable

# The first is the most important: what stops all masks comes before what costs some of them.
_IMPORTANCE = (
    *("failed", "image_topic", "image_stamps", "images_lost", "detections_topic", "qos_image"),
    *("qos_detections", "jump", "detector_stamps", "dropped_late", "image", "dropped_unmatched"),
    *("repeated_boxes", "classes", "clock", "depth_topic", "camera_info_topic", "depth", "boxes"),
)


class ProblemLog:
    """The problems of one camera; safe to use from several threads.

    A kind of problem is logged at most once per period, with the number of repeats, and is current
    until a period has passed without it, or until it is resolved.
    """

    def __init__(
        self, warn: Callable[[str], object], source: str = "", period_s: float = 5.0
    ) -> None:
        """Start without problems.

        Args:
            warn: Logs one sentence.
            source: The camera that has the problems, "" where there is only one.
            period_s: Time that must pass before a kind of problem is logged again.
        """
        self._warn = warn
        self._source = source
        self._period_s = period_s
        self._lock = threading.Lock()
        self._logged_s: dict[str, float] = {}
        self._repeats: Counter[str] = Counter()
        self._current: dict[str, tuple[float, str]] = {}

    def report(self, kind: str, sentence: str, now_s: float) -> bool:
        """Note a problem, and log it unless its kind was logged within the period.

        Args:
            kind: Problems of the same kind share the period; the latest is current.
            sentence: What is wrong and what to do about it.
            now_s: Monotonic clock.

        Returns:
            Whether it was logged.
        """
        with self._lock:
            self._current[kind] = now_s, sentence
            if now_s - self._logged_s.get(kind, -math.inf) < self._period_s:
                self._repeats[kind] += 1
                return False
            self._logged_s[kind] = now_s
            repeats = self._repeats.pop(kind, 0)
        sentence = f"camera {self._source}: {sentence}" if self._source else sentence
        self._warn(f"{sentence} ({repeats} more like this before)" if repeats else sentence)
        return True

    def update(self, kind: str, sentence: str, now_s: float) -> None:
        """Note a problem that was looked for: as `report`, or resolved where it is ""."""
        if sentence:
            self.report(kind, sentence, now_s)
        else:
            self.resolve(kind)

    def resolve(self, kind: str) -> None:
        """Note that a kind of problem is over."""
        with self._lock:
            self._current.pop(kind, None)

    def resolve_all(self) -> None:
        """Note that all problems are over."""
        with self._lock:
            self._current.clear()

    def current(self, now_s: float) -> dict[str, str]:
        """Return the sentences of all current problems by kind, the most important first."""
        with self._lock:
            for kind, (reported_s, _) in list(self._current.items()):
                if now_s - reported_s > self._period_s:
                    del self._current[kind]
            kinds = sorted(self._current, key=_rank)
            return {kind: self._current[kind][1] for kind in kinds}


def _rank(kind: str) -> tuple[int, str]:
    known = _IMPORTANCE.index(kind) if kind in _IMPORTANCE else len(_IMPORTANCE)
    return known, kind
