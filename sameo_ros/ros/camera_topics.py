"""The topics of one camera: images and boxes to the worker, answers out.

The node is handed in, so that this module needs messages but not rclpy.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from sameo_model.runtime.box_source import detections_to_prompts
from sameo_model.runtime.types import Detections, ImageHW, Uint8Array
from sameo_ros.core.answer import Answer, DetectedBoxes
from sameo_ros.core.camera import Camera, CameraRecord, pixels_of
from sameo_ros.core.clock_causes import is_plausible
from sameo_ros.core.frame_cache import Frame
from sameo_ros.core.input_watch import InputWatch
from sameo_ros.core.overlay import draw_answer
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.stamps import NANOSECONDS, stamp_to_ns
from sameo_ros.core.tracking import BoxTracker
from sameo_ros.core.worker import Request, Worker
from sameo_ros.messages.conversions import (
    check_colour_image,
    compressed_to_rgb,
    describe_turn,
    fill_image,
    image_to_rgb,
)
from sameo_ros.messages.detection_reader import DetectionReader
from sameo_ros.messages.detections import (
    DetectionMessageTypes,
    fill_detections,
    points_to_clicks,
)
from sameo_ros.messages.detector_conventions import find_stamp
from sameo_ros.messages.masks import MaskMessageTypes, fill_mask_array
from sameo_ros.msg import AmodalMask, AmodalMaskArray, MaskCrop
from sameo_ros.ros.detection_types import choose_type, first_type, load_class
from sameo_ros.ros.object_topics import ObjectTopics
from sameo_ros.srv import SegmentBoxes

MASK_TYPES = MaskMessageTypes(AmodalMaskArray, AmodalMask, MaskCrop)
DETECTION_TYPES = DetectionMessageTypes(Detection2D, ObjectHypothesisWithPose)


class CameraTopics:
    """A camera's port: it reads messages for the worker, and delivers its answers.

    Publishers and service live until `destroy`, subscriptions from `subscribe` to `unsubscribe`.

    Attributes:
        record: Counters and complaints of this camera.
        camera: The worker's side of it.
        watch: What has come since `subscribe`.
        inputs: The subscriptions to image and detections, by these names.
        outputs: The publishers by their names.
        objects: Its topics in 3D.
    """

    def __init__(
        self,
        node: Any,
        worker: Worker,
        record: CameraRecord,
        *,
        compressed: bool,
        detections_type: str,
        has_detector: bool = False,
    ) -> None:
        """Create publishers and service.

        Args:
            node: The node; it opens topics and replies.
            compressed: Whether images come as sensor_msgs/CompressedImage.
            has_detector: Whether the model's own detector gives the boxes.

        Raises:
            ValueError: If detections are of a type that is not installed.
        """
        self._follows_detector = detections_type == "auto" and not has_detector
        self._boxes_type = first_type("auto" if has_detector else detections_type)
        load_class(self._boxes_type)
        self.record = record
        self.camera = Camera(self)
        self.watch = InputWatch(time.monotonic())
        self._node = node
        self._worker = worker
        self._compressed = compressed
        name, problems = record.name, record.problems
        self._inputs = f"{name}/" if name else ""
        self._detections = DetectionReader(self._note, problems)
        self._turns: set[str] = set()  # rotation messages already logged
        outputs = f"~/{name}/" if name else "~/"
        self.objects = ObjectTopics(node, record)
        self._masks = node.open_publisher(AmodalMaskArray, outputs + "masks", problems)
        self._overlay = node.open_publisher(Image, outputs + "overlay", problems)
        self._service = node.create_service(SegmentBoxes, f"{outputs}segment", self._segment)
        self.inputs: dict[str, Any] = {}
        self.outputs = {"masks": self._masks, "overlay": self._overlay}
        self._boxes_topic = self._inputs + "detections"
        self._tracker = BoxTracker()
        if has_detector:
            # Found boxes travel over DDS as those of any detector.
            self._boxes_topic = outputs + "detections"
            self._found = node.open_publisher(Detection2DArray, self._boxes_topic, problems)
            self.outputs["detections"] = self._found

    def subscribe(self) -> None:
        """Subscribe to images and boxes, depth and calibration."""
        topic, problems = self._inputs + "image", self.record.problems
        image_type = CompressedImage if self._compressed else Image
        if self._compressed:
            topic = _with_suffix(self._node.resolve_topic_name(topic), "/compressed")
        self.watch = InputWatch(time.monotonic())
        self.inputs = {
            "image": self._node.open_subscription(
                image_type, topic, self._on_image, problems, depth=1
            )
        }
        self._subscribe_to_boxes()
        note_depth = functools.partial(self._worker.add_depth, self.camera)
        self.objects.subscribe(self.watch, note_depth)

    def unsubscribe(self) -> None:
        """Destroy the subscriptions."""
        for subscription in self.inputs.values():
            self._node.destroy_subscription(subscription)
        self.inputs = {}
        self.objects.unsubscribe()
        self.record.problems.resolve_all()

    def follow_detector(self) -> None:
        """Read what the publisher of the boxes offers, where the choice is the node's."""
        boxes = self.inputs.get("detections")
        if boxes is None or not self._follows_detector:
            return
        # A destroyed subscription no longer knows its topic.
        topic = boxes.topic_name
        infos = self._node.get_publishers_info_by_topic(topic)
        offered = {info.topic_type for info in infos}
        name, complaint = choose_type(offered, self._boxes_type)
        self.record.problems.update("detections_type", complaint, time.monotonic())
        if name != self._boxes_type:
            self._boxes_type = name
            self._node.destroy_subscription(boxes)
            self._subscribe_to_boxes()
            self._note(f"{topic} is read as {name}")

    def _subscribe_to_boxes(self) -> None:
        self.inputs["detections"] = self._node.open_subscription(
            load_class(self._boxes_type),
            self._boxes_topic,
            self._on_detections,
            self.record.problems,
            depth=5,
        )

    def destroy(self) -> None:
        """Destroy subscriptions, publishers and the service."""
        self.unsubscribe()
        self.objects.destroy()
        for publisher in self.outputs.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._node.destroy_service(self._service)

    def read_image(self, message: Any) -> Uint8Array:
        """Return the pixels of an image message as RGB; ValueError says why it cannot."""
        if not isinstance(message, CompressedImage):
            return image_to_rgb(message)
        pixels = compressed_to_rgb(message)
        turn = describe_turn(message)
        if turn and turn not in self._turns:
            self._turns.add(turn)
            self._note(turn)
        return pixels

    def read_detections(
        self, message: Any, image_hw: ImageHW, settings: SameoParameters
    ) -> DetectedBoxes:
        """Return the boxes of a detections message, in pixels of the image."""
        return self._detections.read(message, image_hw, settings)

    def read_depth(
        self, frame: Frame, image_hw: ImageHW, settings: SameoParameters
    ) -> SceneDepth | None:
        """Return the depth of a frame, or None if there is none that can be used."""
        if frame.number == 0:
            return None  # an image that a caller gave; the depth is the camera's
        return self.objects.read_depth(frame, image_hw, settings)

    def publish_found(self, frame: Frame, found: Detections) -> None:
        """Publish what the built-in detector found, under numbers that last from frame to frame."""
        message = Detection2DArray()
        prompts = detections_to_prompts(found)
        fill_detections(message, DETECTION_TYPES, prompts, "", frame.message.header)
        numbers = self._tracker.number_boxes(found.boxes_xyxy)
        for detection, number in zip(message.detections, numbers, strict=True):
            detection.id = str(number)
        self._found.publish(message)

    def deliver(self, frame: Frame, answer: Answer, settings: SameoParameters) -> None:
        """Publish an answer, and the other outputs that have subscribers."""
        header = frame.message.header
        masks = AmodalMaskArray()
        self._fill_masks(masks, answer, header)
        self._masks.publish(masks)
        if answer.prediction.visible_masks:
            ids = [mask.detection_id for mask in masks.masks]
            self._tracker.keep_masks(dict(zip(ids, answer.prediction.visible_masks, strict=True)))
        self.watch.has_answered = True
        image = self.watch.find_image(frame.stamp_ns)
        if image is not None and is_plausible(image.transit_s, image.stamp_ns):
            self.record.statistics.record("age", 1e3 * self._age_s(frame.stamp_ns))
        if self._overlay.get_subscription_count() > 0:
            overlay = Image()
            drawn = draw_answer(pixels_of(self, frame), answer, settings.overlay_style)
            fill_image(overlay, drawn, "rgb8", header)
            self._overlay.publish(overlay)
        self.objects.publish(frame, answer, lambda: pixels_of(self, frame), settings)

    def _on_image(self, message: Any) -> None:
        self.record.statistics.count("images_received")
        stamp_ns = stamp_to_ns(message.header.stamp)
        self.watch.note_image(stamp_ns, time.monotonic(), self._age_s(stamp_ns))
        try:
            if not self._compressed:
                check_colour_image(message)
        except ValueError as error:
            self.record.statistics.count("images_rejected")
            self.record.problems.report("image", str(error), time.monotonic())
        else:
            self._worker.add_image(self.camera, stamp_ns, message)

    def _on_detections(self, message: Any) -> None:
        stamp_ns = stamp_to_ns(find_stamp(message))
        self.watch.note_boxes(stamp_ns, time.monotonic())
        self._worker.add_boxes(self.camera, stamp_ns, message)

    async def _segment(
        self, request: SegmentBoxes.Request, response: SegmentBoxes.Response
    ) -> SegmentBoxes.Response:
        """Answer a call; the executor is not blocked while the worker runs."""
        boxes = request.detections.detections
        try:
            clicks = points_to_clicks(request.points, request.point_boxes, len(boxes))
        except ValueError as error:
            response.message = str(error)
            return response
        replied, reply = self._node.open_reply()

        def fill_and_reply(result: tuple[Frame, Answer] | str) -> None:
            """Fill the response in the worker's thread, so that the executor goes on."""
            reply(result if isinstance(result, str) else self._fill_response(response, *result))

        frame = None
        if request.image.height or request.image.width:
            stamp_ns = stamp_to_ns(request.image.header.stamp)
            frame = Frame(stamp_ns, 0, time.monotonic(), request.image)
        self._worker.add_request(
            Request(self.camera, frame, request.detections, fill_and_reply, clicks)
        )
        response.message = await replied
        response.success = not response.message
        return response

    def _fill_response(self, response: Any, frame: Frame, answer: Answer) -> str:
        try:
            self._fill_masks(response.masks, answer, frame.message.header)
            self.objects.fill_objects(response.objects, frame, answer)
        except Exception as error:  # reported to the caller
            return f"the answer cannot be sent: {error}"
        return ""

    def _fill_masks(self, message: Any, answer: Answer, header: Any) -> None:
        fill_mask_array(message, MASK_TYPES, answer, header)
        message.model = self._worker.model.name

    def _note(self, sentence: str) -> None:
        """Log a sentence that is no problem; from any thread."""
        name = self.record.name
        self._node.get_logger().info(f"camera {name}: {sentence}" if name else sentence)

    def _age_s(self, stamp_ns: int) -> float:
        now_ns: int = self._node.get_clock().now().nanoseconds
        return (now_ns - stamp_ns) / NANOSECONDS


def _with_suffix(topic: str, suffix: str) -> str:
    return topic if topic.endswith(suffix) else topic + suffix
