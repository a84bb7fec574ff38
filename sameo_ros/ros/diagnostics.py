"""How the node says on /diagnostics and in the log where it stands."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sameo_ros.core.statistics import Alarms, Statistics
from sameo_ros.core.worker import NodeStatus

_STATM = Path("/proc/self/statm")

ResultT = TypeVar("ResultT")
Transition = Callable[[Any, Any], ResultT]


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
