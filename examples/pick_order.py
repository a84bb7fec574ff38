#!/usr/bin/env python3
"""Print which object of a pile to pick first, and where it is: what lies on top comes first.

Run it beside the node, with a depth camera or with the rendered scenes:
    ros2 launch sameo_ros demo.launch.py
    python3 examples/pick_order.py
"""

from __future__ import annotations

import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from vision_msgs.msg import Detection3D, Detection3DArray

from sameo_ros.msg import AmodalMask, AmodalMaskArray


def pick_order(masks: list[AmodalMask]) -> list[AmodalMask]:
    """Order objects so that nothing comes before what lies on it; circles begin at the freest."""
    left = list(masks)
    ordered = []
    while left:
        present = {mask.detection_index for mask in left}
        free = [mask for mask in left if not present.intersection(mask.occluded_by)]
        # Among the free objects the one that is seen best comes first.
        chosen = min(free or left, key=lambda mask: (mask.occlusion_ratio, -mask.score))
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


class PickOrder(Node):
    """Joins masks and 3D boxes of the same image."""

    def __init__(self) -> None:
        """Subscribe to the node's topics."""
        super().__init__("pick_order")
        self._masks: AmodalMaskArray | None = None
        self.create_subscription(AmodalMaskArray, "sameo/masks", self._keep_masks, 1)
        self.create_subscription(Detection3DArray, "sameo/objects", self._print_order, 1)

    def _keep_masks(self, message: AmodalMaskArray) -> None:
        self._masks = message

    def _print_order(self, message: Detection3DArray) -> None:
        if self._masks is None or self._masks.header.stamp != message.header.stamp:
            return
        boxes = {detection.id: detection for detection in message.detections}
        print(f"{len(self._masks.masks)} objects, in the frame {message.header.frame_id}:")
        for number, mask in enumerate(pick_order(self._masks.masks), start=1):
            print(f"{number:3}. {mask.class_id} {where(boxes.get(mask.detection_id))}", flush=True)


def where(detection: Detection3D | None) -> str:
    """Say where an object is, in metres."""
    if detection is None:
        return "has no depth"
    centre, size = detection.bbox.center.position, detection.bbox.size
    deviation = detection.results[0].pose.covariance[0] ** 0.5
    return (
        f"at ({centre.x:.2f}, {centre.y:.2f}, {centre.z:.2f}) +- {deviation:.2f} m, "
        f"{size.x:.2f} x {size.y:.2f} m"
    )


if __name__ == "__main__":
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(PickOrder())
