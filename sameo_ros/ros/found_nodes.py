"""Find nodes that publish masks, in any namespace.

The node that asks is handed in, so that this module needs neither messages nor rclpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sameo_ros.messages.detector_conventions import VISION_TYPE, YOLO_TYPE

MASKS_TYPE = "sameo_ros/msg/AmodalMaskArray"
IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
DETECTION_TYPES = (VISION_TYPE, YOLO_TYPE)


@dataclass(frozen=True)
class MaskSource:
    """One camera of a node that publishes masks."""

    masks: str  # name of the topic of masks
    node_name: str  # name of the node, without its namespace
    namespace: str  # namespace of the node, beginning with /

    @property
    def prefix(self) -> str:
        """What the names of all topics of the camera begin with, such as /left/sameo."""
        return self.masks.rpartition("/")[0]

    @property
    def camera(self) -> str:
        """Name of the camera, "" where the node has a single one."""
        own = f"{self.namespace.rstrip('/')}/{self.node_name}"
        return self.prefix.removeprefix(own).strip("/") if self.prefix.startswith(own) else ""


def find_mask_sources(node: Any) -> list[MaskSource]:
    """Return what publishes masks now, by name of the topic."""
    topics = sorted(name for name, types in node.get_topic_names_and_types() if MASKS_TYPE in types)
    return [
        MaskSource(topic, info.node_name, info.node_namespace)
        for topic in topics
        for info in node.get_publishers_info_by_topic(topic)[:1]
    ]


def find_inputs(node: Any, source: MaskSource, *types: str) -> list[str]:
    """Return the topics of some types that a node reads for one of its cameras.

    Returns:
        Names in the order of the alphabet. Where the node has several cameras, and the camera's
        name stands in the names of some topics, those alone. Empty until DDS has told the node's
        name and namespace, which may come later than its topics.
    """
    if (source.node_name, source.namespace) not in node.get_node_names_and_namespaces():
        return []
    read = node.get_subscriber_names_and_types_by_node(source.node_name, source.namespace)
    topics = sorted(name for name, kinds in read if set(kinds) & set(types))
    own = [name for name in topics if source.camera and source.camera in name.split("/")]
    return own or topics
