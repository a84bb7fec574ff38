"""What the node complains about."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np


class ProblemLog:
    """Says each kind of problem at most once per period, with the number of repeats."""

    def __init__(self, warn: Callable[[str], object], period_s: float = 5.0) -> None:
        """Start without problems.

        Args:
            warn: Logs one sentence.
            period_s: Time that must pass before a kind of problem is logged again.
        """
        self._warn = warn
        self._period_s = period_s
        self._lock = threading.Lock()
        self._logged_s: dict[str, float] = {}
        self._repeats: Counter[str] = Counter()
        self._latest: tuple[float, str] | None = None

    def report(self, kind: str, sentence: str, now_s: float, source: str = "") -> None:
        """Log a problem unless its kind was logged within the period.

        Args:
            kind: Problems of the same kind and source share the period.
            sentence: What is wrong and what to do about it.
            now_s: Monotonic clock.
            source: The camera that has the problem, "" where there is only one.
        """
        kind = f"{source}/{kind}"
        sentence = f"camera {source}: {sentence}" if source else sentence
        with self._lock:
            self._latest = now_s, sentence
            if now_s - self._logged_s.get(kind, -np.inf) < self._period_s:
                self._repeats[kind] += 1
                return
            self._logged_s[kind] = now_s
            repeats = self._repeats.pop(kind, 0)
        self._warn(f"{sentence} ({repeats} more like this before)" if repeats else sentence)

    def recent(self, now_s: float) -> str:
        """Return the latest problem of the last two periods, or nothing."""
        with self._lock:
            if self._latest is None or now_s - self._latest[0] > 2 * self._period_s:
                return ""
            return self._latest[1]
