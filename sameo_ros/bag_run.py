"""One camera of a recorded bag, message by message through the logic of the node."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rosbags.rosbag2 import Reader, Writer
from rosbags.typesys.store import Typestore

from sameo_model.runtime import Predictor
from sameo_model.runtime.types import ImageHW, Uint8Array
from sameo_ros.bag_types import (
    build_reading_store,
    build_typestore,
    definition_arguments,
    make_message,
    make_storable,
)
from sameo_ros.core.answer import Answer, DetectedBoxes
from sameo_ros.core.camera import CameraRecord, answer_frame, count_drops, failures_counted
from sameo_ros.core.depth_cache import DepthCache
from sameo_ros.core.frame_cache import Frame, FrameCache
from sameo_ros.core.input_watch import InputWatch
from sameo_ros.core.pairing_causes import explain_no_pair
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.segmenter import Segmenter
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.stamps import NANOSECONDS, stamp_to_ns
from sameo_ros.core.statistics import Statistics
from sameo_ros.core.transforms import TransformTree
from sameo_ros.messages.conversions import compressed_to_rgb, image_to_rgb
from sameo_ros.messages.depth import read_depth
from sameo_ros.messages.detection_reader import DetectionReader
from sameo_ros.messages.detector_conventions import find_stamp
from sameo_ros.messages.masks import MaskMessageTypes, fill_mask_array
from sameo_ros.messages.objects import ObjectMessageTypes, fill_objects, lift_objects, place_results

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_MASKS_TYPE = "sameo_ros/msg/AmodalMaskArray"
_TRANSFORMS_TYPE = "tf2_msgs/msg/TFMessage"
_OBJECTS_TYPE = "vision_msgs/msg/Detection3DArray"


@dataclass(frozen=True)
class Topics:
    """Names of the topics in the bag."""

    image: str  # camera images, raw or compressed
    detections: str  # boxes
    depth: str  # depth registered to the images, "" without
    camera_info: str  # calibration of the images, "" without
    masks: str  # where the answers go
    objects: str  # where the 3D boxes go, if there are depth and calibration


class BagRun:
    """Runs one camera of a bag through the model; it is the camera's port.

    Attributes:
        record: What was received, published, dropped and complained about.
    """

    def __init__(
        self,
        predictor: Predictor,
        parameters: SameoParameters,
        reader: Reader,
        writer: Writer,
        topics: Topics,
    ) -> None:
        """Open the topics."""

        def say(sentence: str) -> None:
            print(f"bag: {sentence}", file=sys.stderr)

        problems = ProblemLog(say)
        self._detections = DetectionReader(say, problems)
        self.record = CameraRecord("", Statistics(), problems)
        self._store = build_typestore()
        self._reader, self._writer, self._topics = reader, writer, topics
        self._parameters = parameters
        self._model = predictor.name
        self._depths = DepthCache()
        self._damaged: Counter[str] = Counter()
        self._boxes_ns = 0
        self._watch = InputWatch(0.0)
        self._has_pair = False
        self._segmenter = Segmenter(predictor)
        self._cache = FrameCache()
        self._types = MaskMessageTypes(
            mask_array=self._maker(_MASKS_TYPE),
            mask=self._maker("sameo_ros/msg/AmodalMask"),
            crop=self._maker("sameo_ros/msg/MaskCrop"),
        )
        self._transforms = TransformTree()
        self._transform_topics = (
            [one.topic for one in reader.connections if one.msgtype == _TRANSFORMS_TYPE]
            if parameters.target_frame
            else []
        )
        read = {topics.image, topics.detections, topics.depth, topics.camera_info}
        read |= set(self._transform_topics)
        self._stores = {
            one.id: build_reading_store(one, self._store)
            for one in reader.connections
            if one.topic in read
        }
        self._copies = _copy_connections(reader, writer, self._store)
        self._object_types = ObjectMessageTypes(
            detection=self._maker("vision_msgs/msg/Detection3D"),
            result=self._maker("vision_msgs/msg/ObjectHypothesisWithPose"),
            marker=self._maker("visualization_msgs/msg/Marker"),
            point_field=self._maker("sensor_msgs/msg/PointField"),
        )
        self._outputs = {_MASKS_TYPE: self._add_output(topics.masks, _MASKS_TYPE)}
        if topics.depth and topics.camera_info:
            self._outputs[_OBJECTS_TYPE] = self._add_output(topics.objects, _OBJECTS_TYPE)

    def run(self) -> None:
        """Copy the bag and add the masks.

        Raises:
            ValueError: If no message on a topic can be read, or no boxes find their image.
        """
        handlers: dict[str, Callable[[Any, int], None]] = {
            self._topics.image: self._add_image,
            self._topics.detections: self._add_boxes,
            self._topics.depth: self._add_depth,
            self._topics.camera_info: lambda message, _: self._depths.set_camera_info(message),
        }
        for topic in self._transform_topics:
            is_static = topic.endswith("_static")
            handlers[topic] = self._add_static_transforms if is_static else self._add_transforms
        for connection, time_ns, data in self._reader.messages():
            self._writer.write(self._copies[connection.id], time_ns, data)
            handler = handlers.get(connection.topic)
            if handler is not None:
                message = self._read(data, connection)
                if message is not None:
                    handler(message, time_ns)
                self._answer(time_ns)
        self._answer(self._reader.end_time + 60 * NANOSECONDS)
        self._check_read(self._topics.image, "images_received")
        self._check_read(self._topics.detections, "detections_received")
        if self._watch.boxes.number and not self._has_pair:
            topics = self._topics.image, self._topics.detections
            raise ValueError(explain_no_pair(self._watch, *topics))

    def _read(self, data: Any, connection: Any) -> Any:
        try:
            return self._stores[connection.id].deserialize_cdr(data, connection.msgtype)
        except Exception as error:  # one damaged message must not end the run
            self._damaged[connection.topic] += 1
            sentence = f"a message on {connection.topic} is damaged and left out: {error!r}"
            self.record.problems.report(connection.topic, sentence, time.monotonic())
            return None

    def _check_read(self, topic: str, counter: str) -> None:
        if self._damaged[topic] and not self.record.statistics[counter]:
            raise ValueError(
                f"none of the {self._damaged[topic]} messages on {topic} can be read: they are "
                "damaged, or of another version of their type that the bag does not define"
            )

    def _add_image(self, message: Any, time_ns: int) -> None:
        self.record.statistics.count("images_received")
        stamp_ns = stamp_to_ns(message.header.stamp)
        self._watch.note_image(stamp_ns, time_ns / NANOSECONDS, 0.0)
        self._cache.add_image(stamp_ns, message, time_ns / NANOSECONDS, self._parameters)

    def _add_depth(self, message: Any, _: int) -> None:
        self._depths.add_image(message, time.monotonic(), self._parameters.max_age_s)

    def _add_transforms(self, message: Any, _: int) -> None:
        self._transforms.add(message, is_static=False)

    def _add_static_transforms(self, message: Any, _: int) -> None:
        self._transforms.add(message, is_static=True)

    def _add_boxes(self, message: Any, time_ns: int) -> None:
        self.record.statistics.count("detections_received")
        stamp_ns = stamp_to_ns(find_stamp(message))
        self._watch.note_boxes(stamp_ns, time_ns / NANOSECONDS)
        self._cache.add_boxes(stamp_ns, message, time_ns / NANOSECONDS, self._parameters)

    def _answer(self, time_ns: int) -> None:
        settings = self._parameters
        ready = self._cache.take_ready(time_ns / NANOSECONDS, settings)
        count_drops(self.record, self._cache.take_drops(), settings)
        if ready is None:
            return
        self._has_pair = True
        self._boxes_ns = time_ns
        frame, boxes = ready
        with failures_counted(self.record):
            answer = answer_frame(self._segmenter, self, frame, boxes.message, settings)
            self.deliver(frame, answer, settings)
            self.record.statistics.count("masks_published")
        frame.image_rgb = None
        self._cache.trim(settings)

    def read_image(self, message: Any) -> Uint8Array:
        """Return the pixels of an image message as RGB; ValueError says why it cannot."""
        is_raw = message.__msgtype__ == IMAGE_TYPES[0]
        return image_to_rgb(message) if is_raw else compressed_to_rgb(message)

    def read_detections(
        self, message: Any, image_hw: ImageHW, settings: SameoParameters
    ) -> DetectedBoxes:
        """Return the boxes of a detections message, in pixels of the image."""
        return self._detections.read(message, image_hw, settings)

    def read_depth(
        self, frame: Frame, image_hw: ImageHW, settings: SameoParameters
    ) -> SceneDepth | None:
        """Return the depth of a frame, or None if there is none that can be used."""
        try:
            return read_depth(self._depths, frame, image_hw, settings, self._topics.image)
        except Exception as error:  # faulty depth must not stop the masks
            self.record.problems.report("depth", str(error), time.monotonic())
            return None

    def deliver(self, frame: Frame, answer: Answer, settings: SameoParameters) -> None:
        """Write an answer."""
        header = frame.message.header
        masks = make_message(self._store, _MASKS_TYPE)
        fill_mask_array(masks, self._types, answer, header)
        masks.model = self._model
        self._write(masks)
        if _OBJECTS_TYPE not in self._outputs:
            return
        is_written = False
        try:
            is_written = self._deliver_objects(frame, answer)
        except LookupError as error:
            self.record.problems.report("objects", str(error), time.monotonic())
        except Exception as error:  # the masks are already written
            sentence = f"the objects of an image cannot be written: {error!r}"
            self.record.problems.report("objects", sentence, time.monotonic())
        self.record.statistics.count("objects_published" if is_written else "objects_missing")

    def _deliver_objects(self, frame: Frame, answer: Answer) -> bool:
        """Write the objects of an answer, and return True, if it has depth and calibration."""
        depth = answer.depth
        if depth is None or depth.camera is None:
            return False
        target_frame = self._parameters.target_frame
        header, placement = place_results(
            frame.message.header, depth, self._transforms, target_frame, frame.stamp_ns
        )
        message = make_message(self._store, _OBJECTS_TYPE)
        objects = lift_objects(answer, depth, placement)
        fill_objects(message, self._object_types, answer, objects, header, placement)
        self._write(message)
        return True

    def _write(self, message: Any) -> None:
        kind = message.__msgtype__
        make_storable(self._store, message)
        data = self._store.serialize_cdr(message, kind)
        self._writer.write(self._outputs[kind], self._boxes_ns, data)

    def _add_output(self, topic: str, kind: str) -> Any:
        return self._writer.add_connection(topic, kind, typestore=self._store)

    def _maker(self, name: str) -> Callable[[], Any]:
        return lambda: make_message(self._store, name)


def _copy_connections(reader: Reader, writer: Writer, store: Typestore) -> dict[int, Any]:
    """Open every topic of one bag in another; return the new connections by the id of the old."""
    copies: dict[int, Any] = {}
    opened: list[tuple[Any, Any]] = []
    for one in reader.connections:
        # A file alone has a connection for each publisher of a topic, a folder has one for all.
        ext: Any = one.ext
        key = (one.topic, one.msgtype, ext)
        copy = next((new for old, new in opened if old == key), None)
        if copy is None:
            copy = writer.add_connection(
                one.topic,
                one.msgtype,
                **definition_arguments(one, store),
                serialization_format=ext.serialization_format,
                offered_qos_profiles=ext.offered_qos_profiles,
            )
            opened.append((key, copy))
        copies[one.id] = copy
    return copies
