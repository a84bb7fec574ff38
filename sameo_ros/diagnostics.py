"""What the node counts, times and complains about."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
_STATM = Path("/proc/self/statm")

ResultT = TypeVar("ResultT")
Transition = Callable[[Any, Any], ResultT]


@dataclass(frozen=True)
class DiagnosticTypes:
    """Constructors, without arguments, of the messages to fill."""

    status: Callable[[], Any]
    key_value: Callable[[], Any]


@dataclass(frozen=True)
class Alarms:
    """When the diagnostics warn; 0 milliseconds are never too old.

    Attributes:
        warn_age_ms: Age of masks when they are published that is a warning.
        error_age_ms: Age that is an error.
        warn_dropped_share: Share of dropped boxes messages, of the last 100, that is a warning.
    """

    warn_age_ms: float
    error_age_ms: float
    warn_dropped_share: float


@dataclass(frozen=True)
class NodeStatus:
    """Where the node stands.

    Attributes:
        is_active: Whether it answers.
        has_failed: Whether the model could not be loaded.
        description: Where the model stands, in words.
        model: Name of the loaded model, "" without.
        backend: Name of the backend that runs it, "" without.
        device: The backend's device in words, "" without.
        engine_key: Names of the cached engines that run, "" without.
        problem: The latest recent problem, "" without.
    """

    is_active: bool
    has_failed: bool
    description: str
    model: str
    backend: str
    device: str
    engine_key: str
    problem: str


class Statistics:
    """Counters and recent latencies of one camera; safe to use from several threads.

    `detections_received` equals `masks_published` plus all `dropped_...` plus what still waits.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._times_ms = {stage: deque[float](maxlen=_WINDOW) for stage in STAGES}
        self._published_s: deque[float] = deque(maxlen=_WINDOW)
        self._were_dropped: deque[bool] = deque(maxlen=_OUTCOMES)

    def count(self, key: str, number: int = 1) -> None:
        """Add to one of `COUNTERS`."""
        is_drop = key.startswith("dropped_")
        with self._lock:
            self._counts[key] += number
            if is_drop or key == "masks_published":
                self._were_dropped.append(is_drop)
            if key == "masks_published":
                self._published_s.append(time.monotonic())

    def record(self, stage: str, time_ms: float) -> None:
        """Note a time of one of `STAGES`, milliseconds; percentiles are over the last 200."""
        with self._lock:
            self._times_ms[stage].append(time_ms)

    def __getitem__(self, key: str) -> int:
        """Return one of `COUNTERS`."""
        with self._lock:
            return self._counts[key]

    def to_values(self) -> dict[str, str]:
        """Return all diagnostic keys; latencies in milliseconds, nan before the first."""
        since_s = time.monotonic() - _RATE_S
        with self._lock:
            values = {key: str(self._counts[key]) for key in COUNTERS}
            times_ms = {stage: list(window) for stage, window in self._times_ms.items()}
            num_recent = sum(published_s > since_s for published_s in self._published_s)
        values["rate_hz"] = f"{num_recent / _RATE_S:.1f}"
        for stage, window in times_ms.items():
            p50, p95 = np.percentile(window, (50, 95)) if window else (np.nan, np.nan)
            values[f"{stage}_ms_p50"] = f"{p50:.2f}"
            values[f"{stage}_ms_p95"] = f"{p95:.2f}"
        return values

    def alarm(self, alarms: Alarms) -> tuple[int, str]:
        """Return level (0 OK, 1 WARN, 2 ERROR) and sentence about age and drops."""
        with self._lock:
            ages_ms, drops = list(self._times_ms["age"]), list(self._were_dropped)
        age_ms = float(np.percentile(ages_ms, 95)) if ages_ms else 0.0
        for level, limit_ms in ((2, alarms.error_age_ms), (1, alarms.warn_age_ms)):
            if 0 < limit_ms < age_ms:
                return level, (
                    f"masks are {age_ms:.0f} ms old when they are published: use a faster model "
                    "or device, or set use_sim_time as the camera has it"
                )
        share = sum(drops) / max(len(drops), 1)
        if share > alarms.warn_dropped_share:
            return 1, f"{100 * share:.0f} % of the boxes messages are dropped: see dropped_..."
        return 0, ""


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


def describe_qos_conflict(topic: str, own: str, policy: str) -> str:
    """Say what to do about a topic whose two sides do not fit.

    Args:
        topic: The topic's full name.
        own: What the node has there, `subscription` or `publisher`.
        policy: The policy that differs, such as `reliability`.
    """
    other = "publisher" if own == "subscription" else "subscriber"
    return (
        f"a {other} of {topic} asks for another {policy}, so that nothing passes between it and "
        f"this node; change it there, or start with -p qos_overrides.{topic}.{own}.{policy}:=..."
    )


def say_why(failure: ResultT) -> Callable[[Transition[ResultT]], Transition[ResultT]]:
    """Make a decorator that logs why a node's transition failed; rclpy drops the exception.

    Args:
        failure: What the transition returns instead.
    """

    def decorate(transition: Transition[ResultT]) -> Transition[ResultT]:
        @functools.wraps(transition)
        def wrapper(node: Any, state: Any) -> ResultT:
            try:
                return transition(node, state)
            except Exception as error:  # whatever it is, the user must hear of it
                node.get_logger().error(f"{transition.__name__} failed: {error}")
                return failure

        return wrapper

    return decorate


def forward_logs(node: Any) -> None:
    """Let what our libraries log appear as ROS logs, such as the backend that `auto` took.

    Args:
        node: The rclpy node whose logger takes them, as long as ROS runs.
    """
    logger = node.get_logger()

    class RosHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not node.context.ok():  # a signal has ended ROS, and the log has nowhere to go
                return
            # A line of source may log to ROS with one severity alone.
            if record.levelno < logging.WARNING:
                logger.info(self.format(record))
            else:
                logger.warning(self.format(record))

    for name in ("sameo_model", "sameo_ros"):
        library = logging.getLogger(name)
        library.addHandler(RosHandler(logging.INFO))
        library.setLevel(logging.INFO)


def fill_diagnostics(
    message: Any,
    types: DiagnosticTypes,
    name: str,
    statistics: Statistics,
    status: NodeStatus,
    alarms: Alarms,
) -> None:
    """Add one camera's status to a diagnostic_msgs/DiagnosticArray.

    Args:
        message: The diagnostic_msgs/DiagnosticArray.
        types: Constructors of the messages inside.
        name: What the status is about.
        statistics: The camera's counters.
        status: Where the node stands.
        alarms: When to warn.
    """
    entry = types.status()
    entry.name, entry.hardware_id = name, status.device
    level, entry.message = _judge(status, statistics.alarm(alarms))
    entry.level = bytes([level])
    values = {
        **statistics.to_values(),
        "state": "active" if status.is_active else "not active",
        "model": status.model,
        "backend": status.backend,
        "device": status.device,
        "engine_key": status.engine_key,
        "memory_mib": _memory_mib(),
    }
    for key, value in values.items():
        pair = types.key_value()
        pair.key, pair.value = key, value
        entry.values.append(pair)
    message.status.append(entry)


def _judge(status: NodeStatus, alarm: tuple[int, str]) -> tuple[int, str]:
    """Return level (0 OK, 1 WARN, 2 ERROR) and sentence; the worst comes first."""
    if status.has_failed:
        return 2, status.description
    if not status.is_active:
        return 1, f"not active; {status.description}"
    problem = (1, status.problem) if status.problem else (0, "answering")
    return max(problem, alarm, key=lambda one: one[0])


def _memory_mib() -> str:
    """Return the resident memory of this process, "" where the system does not tell."""
    if not _STATM.is_file():
        return ""
    pages = int(_STATM.read_text().split()[1])
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f}"
