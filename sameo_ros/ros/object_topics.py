"""The 3D topics of one camera: depth and calibration in, objects, markers and points out.

The node is handed in, so that this module needs messages but not rclpy.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from sameo_model.runtime.types import ImageHW, Uint8Array
from sameo_ros.core.answer import Answer
from sameo_ros.core.camera import CameraRecord
from sameo_ros.core.depth_cache import DepthCache
from sameo_ros.core.frame_cache import Frame
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters
from sameo_ros.messages.depth import read_depth
from sameo_ros.messages.objects import (
    ObjectMessageTypes,
    fill_markers,
    fill_objects,
    fill_points,
    find_row,
    lift_objects,
)

_TYPES = ObjectMessageTypes(Detection3D, ObjectHypothesisWithPose, Marker, PointField)


class ObjectTopics:
    """Publishers until `destroy`; subscriptions from `subscribe` to `unsubscribe`."""

    def __init__(self, node: Any, record: CameraRecord) -> None:
        """Create the publishers.

        Args:
            node: The node; it opens topics.
            record: Where complaints go.
        """
        self._node = node
        self._name, self._problems = record.name, record.problems
        self._cache = DepthCache()
        self._image_topic = ""
        outputs, problems = f"~/{self._name}/" if self._name else "~/", self._problems
        self._objects = node.open_publisher(Detection3DArray, outputs + "objects", problems)
        self._markers = node.open_publisher(MarkerArray, outputs + "markers", problems)
        self._points = node.open_publisher(PointCloud2, outputs + "points", problems)
        self._subscriptions: list[Any] = []

    def subscribe(self) -> None:
        """Subscribe to depth and calibration."""
        inputs = f"{self._name}/" if self._name else ""
        self._image_topic = self._node.resolve_topic_name(inputs + "image")
        add_image, set_camera_info = self._cache.add_image, self._cache.set_camera_info
        problems = self._problems
        self._subscriptions = [
            self._node.open_subscription(Image, inputs + "depth", add_image, problems, depth=1),
            self._node.open_subscription(
                CameraInfo, inputs + "camera_info", set_camera_info, problems, depth=1
            ),
        ]

    def unsubscribe(self) -> None:
        """Destroy the subscriptions and forget what came."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._cache.clear()

    def destroy(self) -> None:
        """Destroy subscriptions and publishers."""
        self.unsubscribe()
        for publisher in (self._objects, self._markers, self._points):
            self._node.destroy_lifecycle_publisher(publisher)

    def read_depth(
        self, frame: Frame, image_hw: ImageHW, parameters: SameoParameters
    ) -> SceneDepth | None:
        """Return the depth of a frame, or None if there is none that can be used."""
        try:
            return read_depth(
                self._cache,
                frame.stamp_ns,
                image_hw,
                parameters.depth_tolerance_s,
                parameters.rectified,
                self._image_topic,
            )
        except ValueError as error:
            self._report(str(error))
            return None

    def publish(
        self,
        frame: Frame,
        answer: Answer,
        read_pixels: Callable[[], Uint8Array],
        parameters: SameoParameters,
    ) -> None:
        """Lift the objects of an answer and publish them to those who listen.

        Args:
            frame: The frame.
            answer: Its masks.
            read_pixels: Returns its pixels.
            parameters: `points_of` counts.
        """
        listened = [
            one for one in (self._objects, self._markers, self._points) if _has_listener(one)
        ]
        if answer.depth is None or not listened:
            return
        camera = answer.depth.camera
        if camera is None:
            self._report("depth comes without camera_info: 3D boxes need it; remap camera_info")
            return
        if answer.prediction.visible_masks is None:
            self._report("3D boxes need visible masks; set the parameter visible")
            return
        header = copy.deepcopy(frame.message.header)
        header.frame_id = camera.frame_id or header.frame_id
        objects = lift_objects(answer, answer.depth)
        if self._objects in listened:
            message = Detection3DArray()
            fill_objects(message, _TYPES, answer, objects, header)
            self._objects.publish(message)
        if self._markers in listened:
            message = MarkerArray()
            fill_markers(message, _TYPES, answer, objects, header)
            self._markers.publish(message)
        row = find_row(answer, parameters.points_of)
        lifted = None if row is None else objects[row]
        if self._points in listened and lifted is not None:
            message = PointCloud2()
            fill_points(message, _TYPES, lifted, read_pixels(), header)
            self._points.publish(message)

    def _report(self, sentence: str) -> None:
        self._problems.report("depth", sentence, time.monotonic())


def _has_listener(publisher: Any) -> bool:
    return bool(publisher.get_subscription_count() > 0)
