"""Why nothing comes on a topic, from what the graph shows and what has arrived."""

from __future__ import annotations

from dataclasses import dataclass

from sameo_ros.core.input_watch import Arrivals

_GAPS = 3.0
_MIN_JUMPS = _MIN_REPEATS = 3


@dataclass(frozen=True)
class Publisher:
    """Somebody who publishes a topic."""

    node: str  # full name of the node
    type: str  # its message type, such as sensor_msgs/msg/Image
    conflict: str = ""  # the QoS policy that differs, "" where both sides fit
    # whether it keeps messages for late subscriptions, which the node does not ask for
    is_latched: bool = False


@dataclass(frozen=True)
class TopicView:
    """A topic that the node subscribes to, as the graph shows it."""

    name: str  # its full name, as it is after remapping
    own_name: str  # the name that is remapped, such as image
    type: str  # the message type that the node reads
    publishers: tuple[Publisher, ...] = ()  # who publishes it
    # full names of other topics of that type that are published, likeliest first
    similar: tuple[str, ...] = ()
    # the image's topic of the other transport, and that image_transport, if it is published
    other_transport: tuple[str, str] | None = None


def is_silent(arrivals: Arrivals, now_s: float, grace_s: float) -> bool:
    """Whether messages do not come any more, or have never come.

    Args:
        now_s: Monotonic clock.
        grace_s: A silence up to this, or to three times the longest of late, means nothing.
    """
    return now_s - arrivals.last_s > max(grace_s, _GAPS * arrivals.longest_gap_s)


def explain_silence(topic: TopicView, arrivals: Arrivals, now_s: float) -> str:
    """Say why nothing comes on a topic that is silent, and what to do about it."""
    silence_s = now_s - arrivals.last_s
    if not topic.publishers:
        return _explain_no_publisher(topic, arrivals, silence_s)
    fitting = [one for one in topic.publishers if one.type == topic.type]
    if not fitting:
        return _explain_type(topic)
    if all(one.conflict for one in fitting):
        return _explain_conflict(topic, fitting[0])
    names = ", ".join(sorted({one.node for one in fitting}))
    if arrivals.number == 0 and any(one.is_latched for one in fitting):
        override = f"-p qos_overrides.{topic.name}.subscription"
        return (
            f"{names} publishes {topic.name} with durability transient_local, perhaps once, before "
            f"the node was there: start the node with {override}.durability:=transient_local "
            f"{override}.reliability:=reliable"
        )
    if arrivals.number == 0:
        return (
            f"{names} publishes {topic.name}, but no message has come for {silence_s:.0f} s: it is "
            "silent, or messages are lost in transport"
        )
    return (
        f"messages on {topic.name} stopped {silence_s:.0f} s ago, after {arrivals.number}; "
        f"check {names}"
    )


def explain_jumps(topic: TopicView, number: int) -> str:
    """Say that stamps of images went back, and who publishes them if they do so again and again.

    Args:
        number: How often they went back of late.
    """
    sentence = "image stamps went backwards, and the images before are dropped"
    if number < _MIN_JUMPS:
        return sentence
    remedy = _explain_publishers(topic, f"must send {topic.name} in the order of stamps")
    return f"{sentence}, {number} times of late: {remedy}"


def explain_repeats(topic: TopicView, number: int) -> str:
    """Say who publishes boxes of images that others have answered before; "" if that is rare.

    Args:
        number: How many such messages have come of late.
    """
    if number < _MIN_REPEATS:
        return ""
    remedy = _explain_publishers(topic, "must answer each image once")
    return f"{number} detection messages of late have the stamp of one before: {remedy}"


def _explain_publishers(topic: TopicView, rule: str) -> str:
    names = ", ".join(sorted({one.node for one in topic.publishers}))
    if len(topic.publishers) < 2:
        return f"{names or 'its publisher'} {rule}"
    return f"{topic.name} has {len(topic.publishers)} publishers ({names}); stop all but one"


def _explain_no_publisher(topic: TopicView, arrivals: Arrivals, silence_s: float) -> str:
    if arrivals.number:
        return (
            f"nobody publishes {topic.name} any more: its messages stopped {silence_s:.0f} s "
            f"ago, after {arrivals.number}; start its publisher again"
        )
    if topic.other_transport is not None:
        name, transport = topic.other_transport
        return (
            f"nobody publishes {topic.name} ({topic.type}), but there is {name}: start the node "
            f"with image_transport:={transport}"
        )
    remap = f"-r {topic.own_name}:="
    if topic.similar:
        named = ", ".join(topic.similar)
        return (
            f"nobody publishes {topic.name} ({topic.type}); of that type there are {named}: start "
            f"the node with {remap}{topic.similar[0]}"
        )
    return (
        f"nobody publishes {topic.name} ({topic.type}), nor any topic of that type: start its "
        f"publisher, or name its topic with {remap}..."
    )


def _explain_type(topic: TopicView) -> str:
    other = topic.publishers[0]
    sentence = f"{other.node} publishes {topic.name} as {other.type}; the node reads {topic.type}"
    if other.type == "sensor_msgs/msg/CompressedImage":
        return f"{sentence}: set image_transport:=compressed"
    return f"{sentence}: name a topic of that type with -r {topic.own_name}:=..."


def _explain_conflict(topic: TopicView, other: Publisher) -> str:
    return (
        f"{other.node} publishes {topic.name} with another {other.conflict} than the node "
        f"requests, so no message arrives; start the node with another "
        f"qos_overrides.{topic.name}.subscription.{other.conflict}"
    )
