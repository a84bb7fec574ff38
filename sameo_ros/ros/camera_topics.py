"""The topics of one camera: images and boxes to the worker, answers out.

The node is handed in, so that this module needs messages but not rclpy.
"""

from __future__ import annotations

import time
from typing import Any

from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from sameo_ros.core.answer import Answer
from sameo_ros.core.frame_cache import Frame
from sameo_ros.core.model_jobs import Camera, Request
from sameo_ros.core.overlay import draw_answer
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.stamps import stamp_to_ns
from sameo_ros.core.statistics import Statistics
from sameo_ros.core.worker import Worker
from sameo_ros.messages.conversions import (
    check_colour_image,
    compressed_to_rgb,
    fill_image,
    image_to_rgb,
)
from sameo_ros.messages.masks import MaskMessageTypes, fill_mask_array
from sameo_ros.msg import AmodalMask, AmodalMaskArray, MaskCrop
from sameo_ros.ros.object_topics import ObjectTopics
from sameo_ros.srv import SegmentBoxes

MASK_TYPES = MaskMessageTypes(AmodalMaskArray, AmodalMask, MaskCrop)


class CameraTopics:
    """Publishers and service until `destroy`; subscriptions from `subscribe` to `unsubscribe`.

    Attributes:
        statistics: Counters of this camera.
        camera: The worker's side of it.
    """

    def __init__(
        self,
        node: Any,
        worker: Worker,
        problems: ProblemLog,
        statistics: Statistics,
        *,
        name: str,
        compressed: bool,
    ) -> None:
        """Create publishers and service.

        Args:
            node: The node; it opens topics and replies.
            worker: What answers.
            problems: Where complaints go.
            statistics: Where counts go.
            name: The camera's name, "" where there is only one.
            compressed: Whether images come as sensor_msgs/CompressedImage.
        """
        self.statistics = statistics
        self._node = node
        self._worker = worker
        self._problems = problems
        self._compressed = compressed
        self._inputs = f"{name}/" if name else ""
        outputs = f"~/{name}/" if name else "~/"
        self._read_image = compressed_to_rgb if compressed else image_to_rgb
        self._objects = ObjectTopics(node, problems, name)
        self.camera = worker.build_camera(
            name,
            statistics,
            read_image=self._read_image,
            read_depth=self._objects.read_depth,
            deliver=self._deliver,
        )
        self._masks = node.open_publisher(AmodalMaskArray, outputs + "masks")
        self._overlay = node.open_publisher(Image, outputs + "overlay")
        self._service = node.create_service(SegmentBoxes, f"{outputs}segment", self._segment)
        self._subscriptions: list[Any] = []

    def subscribe(self) -> Camera:
        """Subscribe to images and boxes; return the worker's side of the camera."""
        topic = self._inputs + "image"
        image_type = CompressedImage if self._compressed else Image
        if self._compressed:
            topic = _with_suffix(self._node.resolve_topic_name(topic), "/compressed")
        boxes_topic = self._inputs + "detections"
        self._subscriptions = [
            self._node.open_subscription(image_type, topic, self._on_image, depth=1),
            self._node.open_subscription(
                Detection2DArray, boxes_topic, self._on_detections, depth=5
            ),
        ]
        self._objects.subscribe()
        return self.camera

    def unsubscribe(self) -> None:
        """Destroy the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._objects.unsubscribe()

    def destroy(self) -> None:
        """Destroy subscriptions, publishers and the service."""
        self.unsubscribe()
        self._objects.destroy()
        for publisher in (self._masks, self._overlay):
            self._node.destroy_lifecycle_publisher(publisher)
        self._node.destroy_service(self._service)

    def _on_image(self, message: Any) -> None:
        self.statistics.count("images_received")
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns == 0:
            self._report("stamp", "image stamps are zero: boxes are paired with the newest image; "
                         "let the camera driver fill header.stamp")  # fmt: skip
        try:
            if not self._compressed:
                check_colour_image(message)
        except ValueError as error:
            self.statistics.count("images_rejected")
            self._report("image", str(error))
        else:
            self._worker.add_image(self.camera, stamp_ns, message)

    def _on_detections(self, message: Any) -> None:
        self._worker.add_boxes(self.camera, stamp_to_ns(message.header.stamp), message)

    async def _segment(
        self, request: SegmentBoxes.Request, response: SegmentBoxes.Response
    ) -> SegmentBoxes.Response:
        """Answer a call; the executor goes on while the worker is at it."""
        replied, reply = self._node.open_reply()
        image = request.image if request.image.height or request.image.width else None
        self._worker.add_request(Request(self.camera, image, request.detections, reply))
        result = await replied
        if isinstance(result, tuple):
            self._fill_masks(response.masks, result[1], result[0].header)
        else:
            response.message = str(result)
        response.success = not response.message
        return response

    def _deliver(self, frame: Frame, answer: Answer, parameters: SameoParameters) -> None:
        header = frame.message.header
        masks = AmodalMaskArray()
        self._fill_masks(masks, answer, header)
        self._masks.publish(masks)
        now_ns = self._node.get_clock().now().nanoseconds
        self.statistics.record("age", (now_ns - frame.stamp_ns) * 1e-6)
        if self._overlay.get_subscription_count() > 0:
            overlay = Image()
            image_rgb = self._read_image(frame.message)
            picture = draw_answer(image_rgb, answer, parameters.overlay_style)
            fill_image(overlay, picture, "rgb8", header)
            self._overlay.publish(overlay)
        self._objects.publish(frame, answer, self._read_image, parameters)

    def _fill_masks(self, message: Any, answer: Answer, header: Any) -> None:
        fill_mask_array(message, MASK_TYPES, answer, header)
        message.model = self._worker.model_name

    def _report(self, kind: str, sentence: str) -> None:
        self._problems.report(kind, sentence, time.monotonic(), source=self.camera.name)


def _with_suffix(topic: str, suffix: str) -> str:
    return topic if topic.endswith(suffix) else topic + suffix
