"""The executable `sameo_recorder`: writes published masks as figures and JSON, then stops."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C during the imports ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import GetParameters
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from sameo_model.runtime.files import write_json, write_whole
from sameo_model.runtime.types import ImageHW, Uint8Array
from sameo_ros.arguments import count, positive
from sameo_ros.core.clock_causes import is_plausible
from sameo_ros.core.message_join import MessageJoin
from sameo_ros.core.stamps import NANOSECONDS, stamp_to_ns
from sameo_ros.messages.conversions import compressed_to_rgb, image_to_rgb
from sameo_ros.messages.detector_conventions import VISION_TYPE, find_stamp
from sameo_ros.msg import AmodalMaskArray
from sameo_ros.recording import draw_panels, masks_to_json
from sameo_ros.ros.detection_types import choose_type, load_class
from sameo_ros.ros.executable import read_arguments, ros_until_signal
from sameo_ros.ros.found_nodes import (
    COMPRESSED_TYPE,
    DETECTION_TYPES,
    IMAGE_TYPE,
    MaskSource,
    find_inputs,
    find_mask_sources,
)

_LOOK_PERIOD_S = 0.5
_DEPTH_ENCODINGS = ("16UC1", "32FC1")


@dataclass(frozen=True, eq=False)
class _ReceivedImage:
    """An image that came."""

    message: Any  # the sensor_msgs/Image or CompressedImage
    has_age: bool  # whether its stamp is of the recorder's clock, so that ages are known

    @property
    def size_hw(self) -> ImageHW:
        """Height and width, pixels; only a compressed image must be decoded for them."""
        if isinstance(self.message, CompressedImage):
            height, width, _ = self.to_rgb().shape
            return height, width
        return self.message.height, self.message.width

    def to_rgb(self) -> Uint8Array:
        """Return its pixels, uint8 (H, W, 3), RGB."""
        is_compressed = isinstance(self.message, CompressedImage)
        return (compressed_to_rgb if is_compressed else image_to_rgb)(self.message)


class RecorderNode(Node):
    """Joins images, boxes and masks of the same stamp, one record per image name.

    The stamps of some cameras stay at zero. Their figures are numbered, and each shows the newest
    image at that moment.

    Attributes:
        records: What `masks_to_json` made of the messages, by name of the image.
        error: What the node says that it cannot do, "" while all is well.
    """

    def __init__(self, output: Path, reliability: str, *, name_by_frame: bool = False) -> None:
        """Subscribe.

        Args:
            output: Folder for the figures; made when the first one comes.
            reliability: What is asked of the publisher of images, `best_effort` or `reliable`.
            name_by_frame: Whether an image without a name in ids has that of its frame.
        """
        super().__init__("sameo_recorder")
        self.records: dict[str, dict[str, Any]] = {}
        self.error = ""
        self._output = output
        self._name_by_frame = name_by_frame
        self._join = MessageJoin()
        self._asked: Any = None  # the client that asks the node for its tolerance
        self._is_told = self._has_source = False
        self._diagnosis = ""
        self._latest: _ReceivedImage | None = None
        self._num_unchanged = 0
        self._qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability.upper()])
        self._listened: list[Any] = []
        self._boxes_type = VISION_TYPE
        self._subscribe("sameo/masks", [(Image, "image")], ["detections"])
        self.create_subscription(DiagnosticArray, "/diagnostics", self._look_for_error, 10)
        # On the steady clock: the time of a bag need not run.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_LOOK_PERIOD_S, self._look_around, clock=clock)

    def _subscribe(self, masks: str, images: list[tuple[Any, str]], detections: list[str]) -> None:
        for subscription in self._listened:
            self.destroy_subscription(subscription)
        self._topics = masks, images, detections
        self._masks = self.create_subscription(AmodalMaskArray, masks, self._record, 10)
        self._listened = [self._masks]
        boxes = load_class(self._boxes_type)
        inputs = [(kind, topic, self._keep_image) for kind, topic in images]
        inputs += [(boxes, topic, self._keep_boxes) for topic in detections]
        self._listened += [self.create_subscription(*one, self._qos) for one in inputs]

    def _look_around(self) -> None:
        """Record the only node that publishes masks, and the boxes that it reads."""
        _, images, detections = self._topics
        offered = {
            info.topic_type
            for topic in detections
            for info in self.get_publishers_info_by_topic(topic)
        }
        kind, complaint = choose_type(offered, self._boxes_type)
        if complaint:
            self.get_logger().warning(complaint, once=True)
        if kind != self._boxes_type:
            self._boxes_type = kind
            self._subscribe(*self._topics)
        sources = find_mask_sources(self)
        own = [source for source in sources if source.masks == self._masks.topic_name]
        self._has_source = bool(sources)
        has_images = any(self.get_publishers_info_by_topic(topic) for _, topic in images)
        if own:
            self._ask_tolerance(own[0])
        if not sources or self.records or (own and offered and has_images):
            return
        if len(own or sources) > 1:
            names = ", ".join(source.masks for source in sources)
            self.error = (
                f"several topics have masks: {names}; choose one by `--ros-args -r "
                "sameo/masks:=...`, with the image and detections that belong to it"
            )
            return
        (source,) = own or sources
        images = [(Image, topic) for topic in find_inputs(self, source, IMAGE_TYPE)]
        compressed = find_inputs(self, source, COMPRESSED_TYPE)
        images += [(CompressedImage, topic) for topic in compressed]
        detections = find_inputs(self, source, *DETECTION_TYPES)
        topics = source.masks, images, detections
        if images and detections and topics != self._topics:  # else the node does not read them yet
            self.get_logger().info(f"recording {source.masks}")
            self._subscribe(*topics)

    def _ask_tolerance(self, source: MaskSource) -> None:
        """Ask a node, until it answers, how far boxes may be from the stamp of their image."""

        def take(future: Any) -> None:
            self._is_told = True
            for value in future.result().values:
                tolerance_s = value.double_value or value.integer_value
                self._join.tolerance_ns = round(tolerance_s * NANOSECONDS)

        if (source.node_name, source.namespace) not in self.get_node_names_and_namespaces():
            return  # DDS has not told them yet
        node = f"{source.namespace.rstrip('/')}/{source.node_name}"
        if self._asked is None:
            self._asked = self.create_client(GetParameters, f"{node}/get_parameters")
        if not self._is_told and self._asked.service_is_ready():
            request = GetParameters.Request(names=["stamp_tolerance_s"])
            self._asked.call_async(request).add_done_callback(take)

    def describe(self) -> str:
        """Say what has come, and why it is not enough."""
        if not self._has_source:
            return "no node publishes masks: start it, with the same ROS_DOMAIN_ID"
        said = "" if self._join.num_masks else f"; the node says: {self._diagnosis or 'nothing'}"
        return self._join.describe() + said

    def _look_for_error(self, message: DiagnosticArray) -> None:
        for status in message.status:
            is_ours = any(pair.key == "masks_published" for pair in status.values)
            if is_ours and status.level == DiagnosticStatus.ERROR:
                self.error = status.message
            if is_ours:
                self._diagnosis = status.message

    def _keep_image(self, message: Any) -> None:
        # The node reads depth as well.
        if getattr(message, "encoding", "") not in _DEPTH_ENCODINGS:
            stamp_ns = stamp_to_ns(message.header.stamp)
            has_age = is_plausible(1e-3 * self._age_ms(stamp_ns), stamp_ns)
            self._join.add_image(stamp_ns, _ReceivedImage(message, has_age))

    def _keep_boxes(self, message: Any) -> None:
        self._join.add_boxes(stamp_to_ns(find_stamp(message)), message)

    def _age_ms(self, stamp_ns: int) -> float:
        now_ns: int = self.get_clock().now().nanoseconds
        return (now_ns - stamp_ns) * 1e-6

    def _record(self, message: AmodalMaskArray) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        found = self._join.find(stamp_ns)
        if found is None:
            return
        image, boxes = found
        latency_ms = self._age_ms(stamp_ns) if image.has_age else None
        if not _belong_together(image, boxes, message):
            return
        frame = Path(message.header.frame_id).name if self._name_by_frame else ""
        name = _name_in_ids(boxes) or frame or self._name_by_stamp(image, stamp_ns)
        self._latest = image
        if name in self.records:
            return
        panels = draw_panels(image.to_rgb(), boxes, message)
        _, data = cv2.imencode(".png", cv2.cvtColor(panels, cv2.COLOR_RGB2BGR))
        self._output.mkdir(parents=True, exist_ok=True)
        write_whole(self._output / f"{name}.png", data.tobytes())
        self.records[name] = masks_to_json(message, name, latency_ms)

    def _name_by_stamp(self, image: _ReceivedImage, stamp_ns: int) -> str:
        """Return the stamp; with a number where it does not change from image to image."""
        name = f"{stamp_ns // NANOSECONDS}.{stamp_ns % NANOSECONDS:09d}"
        latest = self._latest
        if latest is None or stamp_to_ns(latest.message.header.stamp) != stamp_ns:
            self._num_unchanged = 1
        elif latest is not image:
            self._num_unchanged += 1
            if self._num_unchanged == 2:
                self.get_logger().warning(
                    f"the stamps of the images stay at {name}: figures are numbered, and each may "
                    "show a later image than that of its masks"
                )
        return name if self._num_unchanged == 1 else f"{name}_{self._num_unchanged}"


def main() -> int:
    """Record until enough images have come; return the exit status."""
    options = read_arguments(build_parser())
    with ros_until_signal():
        node = RecorderNode(
            options.output, options.reliability, name_by_frame=options.name_by_frame
        )
        try:
            _record(node, options)
        except OSError as error:
            reason = error.strerror or error
            node.error = f"{options.output} cannot be written ({reason}); name another folder"
        if node.error:
            number = f"{len(node.records)} of {options.count} images were answered"
            print(f"sameo_recorder: {number}: {node.error}", file=sys.stderr)
            return 1
        return 0
    return 130


def _record(node: RecorderNode, options: argparse.Namespace) -> None:
    """Spin until enough images have come; write each as it comes."""
    deadline_s = time.monotonic() + options.timeout
    num_written = 0
    while len(node.records) < options.count and not node.error:
        rclpy.spin_once(node, timeout_sec=0.2)
        if len(node.records) > num_written:
            num_written = len(node.records)
            records = [node.records[name] for name in sorted(node.records)]
            write_json(options.output / "masks.json", records, indent=1)
        if time.monotonic() > deadline_s:
            node.error = f"--timeout {options.timeout:.0f} s is over: {node.describe()}"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="sameo_recorder",
        description="Write each image with its visible and amodal masks as <name>.png, and the "
        "messages as masks.json. The name is what detection ids have before '#', else the stamp.",
    )
    add = parser.add_argument
    add("--output", required=True, type=Path, metavar="DIR", help="folder for the results")
    add("--count", required=True, type=count, metavar="N", help="stop after N different images")
    add(
        "--timeout",
        type=positive,
        default=60.0,
        metavar="S",
        help="time limit, seconds (default: 60)",
    )
    add(
        "--name-by-frame",
        action="store_true",
        help="use frame_id of the image as name where detection ids have no '#'",
    )
    add(
        "--reliability",
        choices=("best_effort", "reliable"),
        default="reliable",
        help="QoS reliability requested for images and boxes (default: reliable)",
    )
    return parser


def _belong_together(image: _ReceivedImage, boxes: Any, masks: Any) -> bool:
    """Whether masks can be those of an image and boxes: one stamp may be that of several."""
    last = max((mask.detection_index for mask in masks.masks), default=-1)
    return image.size_hw == (masks.image_height, masks.image_width) and last < len(boxes.detections)


def _name_in_ids(boxes: Any) -> str:
    """Return the name that `sameo_replay` writes into the ids, "" without; never a path."""
    return Path(boxes.detections[0].id.rpartition("#")[0]).name if boxes.detections else ""


if __name__ == "__main__":
    sys.exit(main())
