"""The 3D topics of one camera: depth and calibration in, objects, markers and points out.

The node is handed in, so that this module needs messages but not rclpy.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from sameo_model.runtime.types import ImageHW, Uint8Array
from sameo_ros.core.answer import Answer
from sameo_ros.core.camera import CameraRecord
from sameo_ros.core.depth_cache import DEPTH_SLACK_S, MAX_DEPTH_MIB, DepthCache
from sameo_ros.core.frame_cache import Frame
from sameo_ros.core.input_watch import InputWatch
from sameo_ros.core.placement import Placement
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.stamps import stamp_to_ns
from sameo_ros.core.transforms import TransformTree
from sameo_ros.messages.depth import read_depth
from sameo_ros.messages.objects import (
    ObjectMessageTypes,
    choose_points,
    fill_instances,
    fill_markers,
    fill_objects,
    fill_points,
    lift_objects,
    place_results,
)

_TYPES = ObjectMessageTypes(Detection3D, ObjectHypothesisWithPose, Marker, PointField)


class ObjectTopics:
    """Publishers until `destroy`; subscriptions from `subscribe` to `unsubscribe`.

    Attributes:
        inputs: The subscriptions to depth and camera_info, by these names.
        outputs: The publishers by their names.
    """

    def __init__(self, node: Any, record: CameraRecord) -> None:
        """Create the publishers.

        Args:
            node: The node; it opens topics.
        """
        self._node = node
        self._name, self._problems = record.name, record.problems
        self._statistics = record.statistics
        self._cache = DepthCache()
        self._transforms = TransformTree()
        self._target_frame = ""
        self._image_topic = ""
        outputs, problems = f"~/{self._name}/" if self._name else "~/", self._problems
        self._objects = node.open_publisher(Detection3DArray, outputs + "objects", problems)
        self._markers = node.open_publisher(MarkerArray, outputs + "markers", problems)
        self._points = node.open_publisher(PointCloud2, outputs + "points", problems)
        self._instances = node.open_publisher(Image, outputs + "instances", problems)
        self.inputs: dict[str, Any] = {}
        self.outputs = {
            "objects": self._objects,
            "markers": self._markers,
            "points": self._points,
            "instances": self._instances,
        }

    @property
    def is_wanted(self) -> bool:
        """Whether somebody listens to anything in 3D."""
        return any(_has_listener(one) for one in (self._objects, self._markers, self._points))

    @property
    def has_camera_info(self) -> bool:
        """Whether a camera_info has come, be it before a pause."""
        return self._cache.has_camera_info

    def subscribe(self, watch: InputWatch, note_depth: Callable[[int | None], None]) -> None:
        """Subscribe to depth and calibration.

        Args:
            watch: Notes what comes.
            note_depth: Gets the stamp of each depth image, nanoseconds; None while nobody listens
                to anything in 3D.
        """
        inputs = f"{self._name}/" if self._name else ""
        self._image_topic = self._node.resolve_topic_name(inputs + "image")

        def add_image(message: Image) -> None:
            now_s = time.monotonic()
            watch.depth.note(now_s)
            self._cache.add_image(message, now_s, self._node.get_parameter("max_age_s").value)
            note_depth(stamp_to_ns(message.header.stamp) if self.is_wanted else None)

        def set_camera_info(message: CameraInfo) -> None:
            watch.camera_info.note(time.monotonic())
            self._cache.set_camera_info(message)

        problems = self._problems
        self.inputs = {
            "depth": self._node.open_subscription(
                Image, inputs + "depth", add_image, problems, depth=1
            ),
            "camera_info": self._node.open_subscription(
                CameraInfo, inputs + "camera_info", set_camera_info, problems, depth=1
            ),
        }
        self._target_frame = self._node.get_parameter("target_frame").value
        if self._target_frame:
            self._subscribe_to_transforms()

    def _subscribe_to_transforms(self) -> None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            self._report("target_frame needs the ROS package tf2_msgs; install it")
            return
        for topic, depth in (("/tf", 100), ("/tf_static", 100)):
            is_static = topic == "/tf_static"
            keep = functools.partial(self._transforms.add, is_static=is_static)
            self.inputs[topic] = self._node.open_subscription(
                TFMessage, topic, keep, self._problems, depth=depth, latched=is_static
            )

    def unsubscribe(self) -> None:
        """Destroy the subscriptions; forget depth and transforms."""
        for subscription in self.inputs.values():
            self._node.destroy_subscription(subscription)
        self.inputs = {}
        self._cache.clear_images()
        self._transforms.clear()

    def destroy(self) -> None:
        """Destroy subscriptions and publishers."""
        self.unsubscribe()
        for publisher in self.outputs.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def read_depth(
        self, frame: Frame, image_hw: ImageHW, parameters: SameoParameters
    ) -> SceneDepth | None:
        """Return the depth of a frame, or None if there is none that can be used."""
        try:
            return read_depth(self._cache, frame, image_hw, parameters, self._image_topic)
        except ValueError as error:
            self._report(str(error))
        except Exception as error:  # faulty depth must not stop the masks
            self._report(f"depth cannot be used: {error!r}")
        return None

    def publish(
        self,
        frame: Frame,
        answer: Answer,
        read_pixels: Callable[[], Uint8Array],
        parameters: SameoParameters,
    ) -> None:
        """Publish labels, boxes, markers and points to those who listen; never raises.

        Args:
            read_pixels: Returns its pixels.
            parameters: `points_of` counts.
        """
        listened = [one for one in self.outputs.values() if _has_listener(one)]
        if not listened:
            return
        try:
            self._publish(listened, frame, answer, read_pixels, parameters)
        except LookupError as error:
            self._report(str(error))
        except Exception as error:  # the masks are out already, and count
            self._report(f"the objects of an image cannot be published: {error!r}")

    def fill_objects(self, message: Any, frame: Frame, answer: Answer) -> None:
        """Fill a Detection3DArray with the objects of an answer, if there is depth; never raises.

        Args:
            message: The vision_msgs/Detection3DArray to fill.
        """
        depth = answer.depth
        if depth is None or depth.camera is None or answer.prediction.visible_masks is None:
            return
        try:
            header, placement = self._place(frame, depth)
            objects = lift_objects(answer, depth, placement)
            fill_objects(message, _TYPES, answer, objects, header, placement)
        except LookupError as error:
            self._report(str(error))
        except Exception as error:  # the masks do not need them
            self._report(f"the 3D objects of ~/segment cannot be computed: {error!r}")

    def _publish(
        self,
        listened: Sequence[Any],
        frame: Frame,
        answer: Answer,
        read_pixels: Callable[[], Uint8Array],
        parameters: SameoParameters,
    ) -> None:
        if self._instances in listened:
            self._publish_instances(frame, answer)
        in_3d = [one for one in listened if one is not self._instances]
        if not in_3d:
            return
        missing = self._explain_missing(frame, answer, parameters)
        depth = answer.depth
        if missing or depth is None or depth.camera is None:
            self._statistics.count("objects_missing")
            if missing:
                self._report(missing)
            return
        try:
            header, placement = self._place(frame, depth)
        except LookupError:
            self._statistics.count("objects_missing")
            raise
        self._statistics.count("objects_published")
        late = self._explain_late(parameters)
        if late:
            self._report(late)
        objects = lift_objects(answer, depth, placement)
        if self._objects in in_3d:
            message = Detection3DArray()
            fill_objects(message, _TYPES, answer, objects, header, placement)
            self._objects.publish(message)
        if self._markers in in_3d:
            message = MarkerArray()
            fill_markers(message, _TYPES, answer, objects, header, placement)
            self._markers.publish(message)
        chosen = choose_points(answer, objects, parameters.points_of)
        if self._points in in_3d and chosen is not None:
            message = PointCloud2()
            fill_points(message, _TYPES, chosen, read_pixels(), header, placement)
            self._points.publish(message)
        elif self._points in in_3d and not parameters.points_of:
            self._node.get_logger().info(
                f"{self._points.topic_name} is silent: set points_of to an object, or to all",
                once=True,
            )

    def _publish_instances(self, frame: Frame, answer: Answer) -> None:
        if answer.prediction.visible_masks is None:
            self._report("~/instances needs visible masks; set the parameter visible")
            return
        message = Image()
        fill_instances(message, answer, frame.message.header)
        self._instances.publish(message)

    def _explain_missing(self, frame: Frame, answer: Answer, settings: SameoParameters) -> str:
        """Return why there is no 3D; "" where there is, or where it was already reported."""
        if answer.prediction.visible_masks is None:
            return "3D boxes need visible masks; set the parameter visible"
        if answer.depth is not None and answer.depth.camera is None:
            return "depth comes without camera_info, which 3D boxes need; check its topic"
        if answer.depth is None and self._cache.has_forgotten(frame.stamp_ns):
            return (
                f"the depth of an image is not kept any more: it is kept for "
                f"{settings.max_age_s + DEPTH_SLACK_S:g} s (max_age_s and {DEPTH_SLACK_S:g}), up "
                f"to {MAX_DEPTH_MIB} MiB; use a faster detector or model, or smaller depth images"
            )
        offset_s = self._cache.nearest_offset_s(frame.stamp_ns)
        if answer.depth is None and abs(offset_s) > settings.depth_tolerance_s:
            return self._explain_late(settings) or (
                f"the nearest depth image is {1e3 * abs(offset_s):.0f} ms "
                f"{'behind' if offset_s < 0 else 'ahead of'} the image, more than "
                f"depth_tolerance_s, {settings.depth_tolerance_s:g} s; synchronise both, or "
                "raise it if nothing moves"
            )
        return ""

    def _explain_late(self, settings: SameoParameters) -> str:
        """Say that depth comes after it was needed; "" as long as it does not."""
        late_s = self._cache.late_s
        if late_s is None:
            return ""
        return (
            f"the depth of an image comes {1e3 * late_s:.0f} ms after its boxes are answered; they "
            f"wait for it up to max_wait_s, {settings.max_wait_s:g} s: raise max_wait_s, or let "
            "depth come earlier"
        )

    def _place(self, frame: Frame, depth: SceneDepth) -> tuple[Any, Placement]:
        """Return header and frame of the results; LookupError says why /tf does not tell it."""
        header = frame.message.header
        return place_results(header, depth, self._transforms, self._target_frame, frame.stamp_ns)

    def _report(self, sentence: str) -> None:
        self._problems.report("depth", sentence, time.monotonic())


def _has_listener(publisher: Any) -> bool:
    return bool(publisher.get_subscription_count() > 0)
