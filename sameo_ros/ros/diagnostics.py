"""Report the node's state on /diagnostics and in the log."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sameo_ros.core.camera import CameraRecord
from sameo_ros.core.model_loading import ModelState, ModelStatus
from sameo_ros.core.statistics import Alarms

_STATM = Path("/proc/self/statm")

ResultT = TypeVar("ResultT")
Transition = Callable[[Any, Any], ResultT]


@dataclass(frozen=True)
class NodeStatus:
    """State of the node."""

    is_active: bool  # whether it answers
    description: str  # state of the model, one sentence
    model: ModelStatus  # the model
    encode_ahead: str  # the parameter of that name
    waiting: str  # what is awaited, "" once masks have been published
    failure: str = ""  # why the last transition failed, "" if it did not


@dataclass(frozen=True)
class DiagnosticTypes:
    """Constructors, without arguments, of the messages to fill."""

    status: Callable[[], Any]
    key_value: Callable[[], Any]


def describe_qos_conflict(topic: str, own: str, policy: str) -> str:
    """Say what to do about a topic whose two sides do not fit.

    Args:
        topic: The topic's full name.
        own: What the node has there, `subscription` or `publisher`.
        policy: The policy that differs, such as `reliability`.
    """
    other = "publisher" if own == "subscription" else "subscriber"
    return (
        f"a {other} of {topic} uses another {policy} than this node, so no message passes between "
        f"them; change it there, or start with -p qos_overrides.{topic}.{own}.{policy}:=..."
    )


def say_why(failure: ResultT) -> Callable[[Transition[ResultT]], Transition[ResultT]]:
    """Make a decorator that logs why a node's transition failed; rclpy drops the exception.

    The sentence is kept as the node's attribute `failure`.
    """

    def decorate(transition: Transition[ResultT]) -> Transition[ResultT]:
        @functools.wraps(transition)
        def wrapper(node: Any, state: Any) -> ResultT:
            try:
                return transition(node, state)
            except Exception as error:  # the user must see every error
                node.failure = f"{transition.__name__} failed: {error}"
                node.get_logger().error(node.failure)
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
    record: CameraRecord,
    status: NodeStatus,
    alarms: Alarms,
    now_s: float,
) -> None:
    """Add one camera's status to a diagnostic_msgs/DiagnosticArray.

    Args:
        message: The diagnostic_msgs/DiagnosticArray.
        now_s: Monotonic clock.
    """
    entry, model = types.status(), status.model
    problems = record.problems.current(now_s)
    entry.name, entry.hardware_id = name, model.device
    level, entry.message = _judge(status, record.statistics.alarm(alarms), list(problems.values()))
    entry.level = bytes([level])
    values = {
        **record.statistics.to_values(),
        "state": "active" if status.is_active else "not active",
        "model": model.name,
        "backend": model.backend,
        "device": model.device,
        "engine_key": model.engine_key,
        "encode_ahead": _say_encode_ahead(status),
        "memory_mib": _memory_mib(),
        **{f"problem_{kind}": sentence for kind, sentence in problems.items()},
    }
    for key, value in values.items():
        pair = types.key_value()
        pair.key, pair.value = key, value
        entry.values.append(pair)
    message.status.append(entry)


def _judge(status: NodeStatus, alarm: tuple[int, str], problems: list[str]) -> tuple[int, str]:
    """Return level (0 OK, 1 WARN, 2 ERROR) and sentence; the most important cause comes first."""
    if status.model.state is ModelState.FAILED or status.failure:
        return 2, status.failure or status.description
    if not status.is_active:
        return 1, f"not active; {status.description}"
    level, symptom = alarm
    if problems:  # causes explain the symptom
        more = len(problems) - 1
        return max(level, 1), problems[0] + (f" (and {more} more: see problem_...)" if more else "")
    if not level and status.waiting:
        return 1, status.waiting
    return level, symptom or "answering"


def _say_encode_ahead(status: NodeStatus) -> str:
    if status.model.encodes_image:
        return status.encode_ahead
    return "off: this model sees windows around boxes, so it does nothing before they come"


def _memory_mib() -> str:
    """Return the resident memory of this process, "" where the system does not tell."""
    if not _STATM.is_file():
        return ""
    pages = int(_STATM.read_text().split()[1])
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f}"
