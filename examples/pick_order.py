#!/usr/bin/env python3
"""Print which object of a pile to pick first, and where it is: what lies on top comes first.

Run it beside the node, with a depth camera, without one, or with the rendered scenes:
    ros2 launch sameo_ros demo.launch.py
    ros2 run sameo_ros sameo_pick_order

Masks and 3D boxes of one image have the same stamp, and each object the same id in both.
"""

from __future__ import annotations

import contextlib
import time

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from vision_msgs.msg import Detection3D, Detection3DArray

from sameo_ros.msg import AmodalMask, AmodalMaskArray

# The node publishes the boxes right after the masks; without depth it publishes none.
WAIT_FOR_BOXES_S = 1.0


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
        super().__init__("pick_order")
        # Masks without boxes so far, by stamp, and when they came.
        self._waiting: dict[tuple[int, int], tuple[AmodalMaskArray, float]] = {}
        self._objects: Detection3DArray | None = None  # boxes whose masks have not come yet
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(WAIT_FOR_BOXES_S / 4, self._go_on_without_boxes, clock=clock)
        self.create_subscription(AmodalMaskArray, "sameo/masks", self._keep_masks, 5)
        self.create_subscription(Detection3DArray, "sameo/objects", self._keep_boxes, 5)

    def _keep_masks(self, message: AmodalMaskArray) -> None:
        self._waiting[stamp_of(message)] = message, time.monotonic()
        self._join()

    def _keep_boxes(self, message: Detection3DArray) -> None:
        self._objects = message
        self._join()

    def _join(self) -> None:
        # Either may come first.
        objects = self._objects
        if objects is not None and stamp_of(objects) in self._waiting:
            masks, _ = self._waiting.pop(stamp_of(objects))
            self._objects = None  # the next masks may have the same stamp, such as zero
            print_order(masks, objects)

    def _go_on_without_boxes(self) -> None:
        now_s = time.monotonic()
        for stamp, (masks, came_s) in list(self._waiting.items()):
            if now_s - came_s > WAIT_FOR_BOXES_S:
                del self._waiting[stamp]
                print_order(masks, Detection3DArray(header=masks.header))


def stamp_of(message: AmodalMaskArray | Detection3DArray) -> tuple[int, int]:
    """Return the stamp that all outputs for an image share."""
    return message.header.stamp.sec, message.header.stamp.nanosec


def print_order(masks: AmodalMaskArray, objects: Detection3DArray) -> None:
    """Print the objects of an image in the order of picking."""
    for line in describe_order(masks.masks, objects):
        print(line, flush=True)


def describe_order(masks: list[AmodalMask], objects: Detection3DArray) -> list[str]:
    """Return a heading and a line for each object, in the order of picking."""
    boxes = {detection.id: detection for detection in objects.detections}
    lines = [f"{len(masks)} objects, in the frame {objects.header.frame_id}:"]
    for number, mask in enumerate(pick_order(masks), start=1):
        name = mask.class_id or f"object {mask.detection_id}"
        lines.append(f"{number:3}. {name} {where(boxes.get(mask.detection_id))}")
    return lines


def where(detection: Detection3D | None) -> str:
    """Say where an object is, in metres, and how sure that is across and along the view."""
    if detection is None or not detection.results:
        return "has no depth"
    centre, size = detection.bbox.center.position, detection.bbox.size
    covariance = detection.results[0].pose.covariance
    x, y, z = (covariance[i] ** 0.5 for i in (0, 7, 14))
    return (
        f"at ({centre.x:.2f}, {centre.y:.2f}, {centre.z:.2f}) +- ({x:.2f}, {y:.2f}, {z:.2f}) m, "
        f"{size.x:.2f} x {size.y:.2f} x {size.z:.2f} m"
    )


def main() -> None:
    """Print until a signal comes."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(PickOrder())


if __name__ == "__main__":
    main()
