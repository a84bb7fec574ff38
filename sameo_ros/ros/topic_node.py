"""A lifecycle node that opens topics with overridable QoS, and names a QoS that does not match."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import (
    DurabilityPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.task import Future

from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.ros.diagnostics import describe_qos_conflict

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

_OVERRIDES = QoSOverridingOptions(
    (
        QoSPolicyKind.HISTORY,
        QoSPolicyKind.DEPTH,
        QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY,
    )
)


class TopicNode(LifecycleNode):
    """Opens topics for those that it is handed to."""

    def open_publisher(self, kind: type, topic: str, problems: ProblemLog) -> Any:
        """Create a lifecycle publisher, reliable unless overridden."""
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        warning = self._qos_warning(topic, "publisher", problems)
        events = PublisherEventCallbacks(incompatible_qos=warning)
        return self.create_lifecycle_publisher(
            kind, topic, qos, event_callbacks=events, qos_overriding_options=_OVERRIDES
        )

    def open_subscription(
        self,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        problems: ProblemLog,
        *,
        depth: int,
        latched: bool = False,
    ) -> Any:
        """Create a subscription, best effort (which matches every publisher) unless overridden.

        A latched one also gets what was published before; its publisher must be latched.
        """
        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        if latched:
            qos.reliability = ReliabilityPolicy.RELIABLE
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        warning = self._qos_warning(topic, "subscription", problems)
        events = SubscriptionEventCallbacks(incompatible_qos=warning)
        return self.create_subscription(
            kind, topic, callback, qos, event_callbacks=events, qos_overriding_options=_OVERRIDES
        )

    def warn(self, sentence: str) -> None:
        """Log a warning, from any thread."""
        if self.context.ok():  # else a signal has ended ROS, and the log has nowhere to go
            self.get_logger().warning(sentence)

    def _qos_warning(self, topic: str, own: str, problems: ProblemLog) -> Callable[[Any], None]:
        name = topic.removesuffix("/compressed").rpartition("/")[2]

        def warn(event: Any) -> None:
            policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
            sentence = describe_qos_conflict(self.resolve_topic_name(topic), own, policy)
            problems.report(f"qos_{name}", sentence, time.monotonic())

        return warn

    def open_reply(self) -> tuple[Future[Any], Callable[[Any], None]]:
        """Return a future, and a function that fulfils it from any thread."""
        executor = self.executor
        assert executor is not None
        replied: Future[Any] = Future(executor=executor)

        def reply(result: Any) -> None:
            replied.set_result(result)
            executor.wake()

        return replied, reply
