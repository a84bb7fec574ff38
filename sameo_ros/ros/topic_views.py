"""Topics of the node as the ROS graph shows them.

The node and its endpoints are handed in.
"""

from __future__ import annotations

import difflib
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSCompatibility, ReliabilityPolicy, qos_check_compatible

from sameo_ros.core.topic_causes import Publisher, TopicView

_MAX_SIMILAR = 3


def view_topic(node: Any, subscription: Any, own_name: str) -> TopicView:
    """Look at a topic that the node subscribes to.

    Args:
        own_name: The name that is remapped, such as image.
    """
    name, kind = subscription.topic_name, type_name(subscription.msg_type)
    publishers = tuple(
        Publisher(
            node=_node_name(one),
            type=one.topic_type,
            conflict=find_conflict(one.qos_profile, subscription.qos_profile),
            is_latched=one.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
            and not _gets_latched(subscription.qos_profile),
        )
        for one in node.get_publishers_info_by_topic(name)
    )
    if publishers:
        return TopicView(name, own_name, kind, publishers)
    transport = _find_other_transport(node, name) if own_name.endswith("image") else None
    return TopicView(name, own_name, kind, (), _find_similar(node, name, kind), transport)


def find_subscriber_conflict(node: Any, publisher: Any) -> str:
    """Return the QoS policy in which a subscriber does not fit a publisher of the node, or ""."""
    infos = node.get_subscriptions_info_by_topic(publisher.topic_name)
    conflicts = (find_conflict(publisher.qos_profile, one.qos_profile) for one in infos)
    return next((policy for policy in conflicts if policy), "")


def find_conflict(offered: Any, asked: Any) -> str:
    """Return reliability or durability if it lets nothing pass to a subscription, else "".

    Not every middleware has such conflicts. The other policies are those of few; the node's QoS
    events tell of them.
    """
    compatibility, _ = qos_check_compatible(offered, asked)
    if compatibility != QoSCompatibility.ERROR:
        return ""
    if (
        offered.reliability == ReliabilityPolicy.BEST_EFFORT
        and asked.reliability == ReliabilityPolicy.RELIABLE
    ):
        return "reliability"
    if (
        offered.durability == DurabilityPolicy.VOLATILE
        and asked.durability == DurabilityPolicy.TRANSIENT_LOCAL
    ):
        return "durability"
    return ""


def type_name(kind: Any) -> str:
    """Return the name of a message class, such as sensor_msgs/msg/Image."""
    package, *_ = kind.__module__.split(".")
    return f"{package}/msg/{kind.__name__}"


def _find_other_transport(node: Any, name: str) -> tuple[str, str] | None:
    raw = name.removesuffix("/compressed")
    other = (raw, "raw") if name != raw else (f"{raw}/compressed", "compressed")
    return other if node.count_publishers(other[0]) else None


def _find_similar(node: Any, name: str, kind: str) -> tuple[str, ...]:
    own = node.get_fully_qualified_name().rstrip("/") + "/"
    names = [
        topic
        for topic, types in node.get_topic_names_and_types()
        if kind in types
        and topic != name
        and not topic.startswith(own)
        and node.count_publishers(topic) > 0
    ]
    return tuple(difflib.get_close_matches(name, names, n=_MAX_SIMILAR, cutoff=0.0))


def _gets_latched(asked: Any) -> bool:
    return bool(
        asked.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and asked.reliability == ReliabilityPolicy.RELIABLE
    )


def _node_name(info: Any) -> str:
    if info.node_name.startswith("_"):  # _NODE_NAME_UNKNOWN_: not discovered whole yet
        return "a node"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
