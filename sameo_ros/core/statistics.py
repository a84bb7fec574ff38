"""What the node counts and times."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COUNTERS = (
    "images_received",
    "images_rejected",
    "detections_received",
    "masks_published",
    "dropped_superseded",
    "dropped_unmatched",
    "dropped_late",
    "dropped_failed",
    "boxes_rejected",
    "time_jumps",
    "objects_published",
    "objects_missing",
)
STAGES = (
    *("latency_encode", "latency_decode", "latency_publish"),
    "latency_answer",  # from the last of image and boxes received to masks published
    "overhead",  # that without the time in encoder and decoder
    "age",  # from the image's stamp to masks published
)
_WINDOW = 200
_OUTCOMES = 100
_RATE_S = 5.0


@dataclass(frozen=True)
class Alarms:
    """When the diagnostics warn; 0 milliseconds are never too old."""

    warn_age_ms: float  # age of masks when they are published that is a warning
    error_age_ms: float  # age that is an error
    # share of dropped detection messages, of the last 100, that is a warning
    warn_dropped_share: float


class Statistics:
    """Counters and recent latencies of one camera; safe to use from several threads.

    `detections_received` equals `masks_published` plus all `dropped_...` plus what still waits.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start at zero."""
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._times_ms = {stage: deque[float](maxlen=_WINDOW) for stage in STAGES}
        self._published_s: deque[float] = deque()  # of the last _RATE_S
        self._were_dropped: deque[bool] = deque(maxlen=_OUTCOMES)

    def count(self, key: str, number: int = 1) -> None:
        """Add to one of `COUNTERS`."""
        is_drop = key.startswith("dropped_")
        with self._lock:
            self._counts[key] += number
            if is_drop or key == "masks_published":
                self._were_dropped.append(is_drop)
            if key == "masks_published":
                self._published_s.append(self._clock())
                self._count_recent()

    def record(self, stage: str, time_ms: float) -> None:
        """Note a time of one of `STAGES`, milliseconds; percentiles are over the last 200."""
        with self._lock:
            self._times_ms[stage].append(time_ms)

    def __getitem__(self, key: str) -> int:
        with self._lock:
            return self._counts[key]

    def to_values(self) -> dict[str, str]:
        """Return all diagnostic keys; latencies in milliseconds, nan before the first."""
        with self._lock:
            values = {key: str(self._counts[key]) for key in COUNTERS}
            times_ms = {stage: list(window) for stage, window in self._times_ms.items()}
            num_recent = self._count_recent()
        values["rate_hz"] = f"{num_recent / _RATE_S:.1f}"
        for stage, window in times_ms.items():
            p50, p95 = np.percentile(window, (50, 95)) if window else (np.nan, np.nan)
            values[f"{stage}_ms_p50"] = f"{p50:.2f}"
            values[f"{stage}_ms_p95"] = f"{p95:.2f}"
        return values

    def _count_recent(self) -> int:
        since_s = self._clock() - _RATE_S
        while self._published_s and self._published_s[0] <= since_s:
            self._published_s.popleft()
        return len(self._published_s)

    def alarm(self, alarms: Alarms) -> tuple[int, str]:
        """Return level (0 OK, 1 WARN, 2 ERROR) and sentence about age and drops."""
        with self._lock:
            ages_ms, drops = list(self._times_ms["age"]), list(self._were_dropped)
            answers_ms = list(self._times_ms["latency_answer"])
        age_ms = float(np.percentile(ages_ms, 95)) if ages_ms else 0.0
        for level, limit_ms in ((2, alarms.error_age_ms), (1, alarms.warn_age_ms)):
            if 0 < limit_ms < age_ms:
                return level, _explain_age(age_ms, answers_ms)
        share = sum(drops) / max(len(drops), 1)
        if share > alarms.warn_dropped_share:
            return 1, f"{100 * share:.0f} % of the detection messages are dropped: see dropped_..."
        return 0, ""


def _explain_age(age_ms: float, answers_ms: list[float]) -> str:
    own_ms = float(np.percentile(answers_ms, 95)) if answers_ms else 0.0
    remedy = (
        "use a faster model or device"
        if 2 * own_ms > age_ms
        else "the rest goes into camera, transport and detector"
    )
    return (
        f"masks are {age_ms:.0f} ms old when they are published, of which {own_ms:.0f} ms are this "
        f"node's (p95): {remedy}"
    )
