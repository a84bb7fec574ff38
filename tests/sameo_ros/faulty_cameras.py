"""Cameras and detectors that do one thing wrong each, and what the node has to say about it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection2DArray, Detection3DArray

from sameo_ros.messages.conversions import bytes_to_array
from sameo_ros.msg import AmodalMaskArray
from tests.sameo_ros.node_bench import BOX, boxes_for

S = 1_000_000_000
LATE_S = 3.0
MAX_AGE_S = 2.0
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LASTING = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


@dataclass(frozen=True)
class Fault:
    """What a camera does from its start on, and the kind and words of the cause.

    Attributes:
        kind: Key of the diagnostics that names the cause, "" where all is well.
        words: What its sentence holds.
        image_name: Name of the image topic under the camera's name, "" where there is none.
        sends_images: Every how many-th image is sent; 0 for none.
        num_images: After how many images the camera falls silent; 0 for never.
        is_detecting: Whether boxes are sent.
        num_answers: How many detection messages each image gets.
        box_shift_ns: What is added to the stamps of boxes; None leaves them at zero.
        delay_s: How long after its image the boxes come.
        shift_ns: What is added to all stamps.
        echo_shift_ns: What a second publisher of the images adds to their stamps; 0 without one.
        depth_encoding: Encoding of depth images, "" where there are none.
        depth_side: Sides of the depth image, pixels.
        depth_shift_ns: What is added to the stamps of depth images.
        has_info: Whether camera_info comes.
        latches_info: Whether it comes once, durably, before the node is there.
        wants_3d: Whether somebody listens to the objects.
        wants_lasting_masks: Whether a subscriber asks for durable masks.
    """

    kind: str = ""
    words: str = ""
    image_name: str = "image"
    sends_images: int = 1
    num_images: int = 0
    is_detecting: bool = True
    num_answers: int = 1
    box_shift_ns: int | None = 0
    delay_s: float = 0.0
    shift_ns: int = 0
    echo_shift_ns: int = 0
    depth_encoding: str = ""
    depth_side: int = 64
    depth_shift_ns: int = 0
    has_info: bool = True
    latches_info: bool = False
    wants_3d: bool = False
    wants_lasting_masks: bool = False


DEPTH: dict[str, Any] = {"wants_3d": True, "depth_encoding": "16UC1"}
FAULTS = {
    "well": Fault(),
    "well_3d": Fault(**DEPTH),
    "renamed": Fault("image_topic", "there are /renamed/image_raw", image_name="image_raw"),
    "compressed": Fault(
        "image_topic", "image_transport:=compressed", image_name="image/compressed"
    ),
    "mute": Fault("image_topic", "no message has come", sends_images=0, is_detecting=False),
    "nobody": Fault("detections_topic", "nobody publishes /nobody/detections", is_detecting=False),
    "stopped": Fault("image_topic", "stopped", num_images=8),
    "reliability": Fault("image_topic", "another reliability"),
    "durability": Fault("qos_masks", "another durability", wants_lasting_masks=True),
    "lost": Fault("images_lost", "found their image", sends_images=3),
    "all_lost": Fault("images_lost", "0 found their image, and 0 images came", sends_images=0),
    "zero": Fault("detector_stamps", "leaves header.stamp at zero", box_shift_ns=None),
    "anew": Fault("detector_stamps", "about 40 ms from the nearest image", box_shift_ns=40_000_000),
    "own_clock": Fault("detector_stamps", "5 days behind", box_shift_ns=-5 * 86_400 * S),
    "late": Fault("dropped_late", "s after their image", delay_s=LATE_S),
    "twice": Fault("jump", "has 2 publishers (/faults)", echo_shift_ns=-200_000_000),
    "answered_twice": Fault("repeated_boxes", "/faults must answer each", num_answers=2),
    "bag": Fault("clock", "3 days behind the node's clock", shift_ns=-3 * 86_400 * S),
    "no_depth": Fault("depth_topic", "nobody publishes /no_depth/depth", wants_3d=True),
    "late_depth": Fault("depth", "ms behind the image", depth_shift_ns=-700_000_000, **DEPTH),
    "small_depth": Fault("depth", "must have the size of the colour", depth_side=32, **DEPTH),
    "no_info": Fault("camera_info_topic", "nobody publishes", has_info=False, **DEPTH),
    "latched": Fault("camera_info_topic", "durability transient_local", latches_info=True, **DEPTH),
    "odd_depth": Fault("depth", "depth encoding must be", wants_3d=True, depth_encoding="mono8"),
}
# Kinds that a fault brings with it, or that are true as well.
BESIDES = {
    "late": {"dropped_unmatched"},
    "renamed": {"dropped_unmatched"},
    "compressed": {"dropped_unmatched"},
    "mute": {"detections_topic"},
    "stopped": {"detections_topic"},
    "reliability": {"qos_image", "dropped_unmatched"},
    "lost": {"dropped_unmatched"},
    "all_lost": {"dropped_unmatched"},
    "anew": {"dropped_unmatched"},
    "own_clock": {"dropped_unmatched"},
    "twice": {"dropped_late", "dropped_unmatched"},
    "zero": {"dropped_unmatched"},
    "no_depth": {"camera_info_topic"},
    "no_info": {"depth"},
    "latched": {"depth"},
}
# The cameras that share a node; one of each group is well.
GROUPS = (
    ("well", "renamed", "compressed", "mute", "nobody", "stopped"),
    ("well", "reliability", "durability", "lost", "all_lost"),
    ("well", "zero", "anew", "own_clock", "late", "bag"),
    ("well_3d", "no_depth", "late_depth", "latched"),
    ("well", "twice", "answered_twice", "small_depth", "no_info", "odd_depth"),
)


def parameters_for(names: tuple[str, ...]) -> dict[str, Any]:
    """Parameters of a node for these cameras; no image is lost by the machine's own load."""
    queues = {
        f"qos_overrides./{name}/{topic}.subscription.{policy}": value
        for name in names
        for topic in (FAULTS[name].image_name, "image", "detections", "depth", "camera_info")
        for policy, value in (("reliability", "reliable"), ("depth", 10))
    }
    return {
        "cameras": f"[{','.join(names)}]",
        "max_age_s": MAX_AGE_S,
        "warn_age_ms": 1e6,  # a busy machine makes them old
        "diagnostics_period_s": 1.0,
        "warn_dropped_share": 0.5,
        "threads": 1,
        **queues,
    }


class FaultyCamera:
    """One camera with its detector."""

    def __init__(self, node: Any, name: str, fault: Fault) -> None:
        self.name, self.fault = name, fault
        self._number = 0
        self._begun_s = 0.0
        self._late: deque[tuple[float, Any]] = deque()
        self._images = node.create_publisher(
            Image,
            f"{name}/{fault.image_name}",
            qos_profile_sensor_data if name == "reliability" else RELIABLE,
        )
        if fault.echo_shift_ns:
            self._echo = node.create_publisher(Image, f"{name}/image", RELIABLE)
        if fault.is_detecting:
            self._boxes = node.create_publisher(Detection2DArray, f"{name}/detections", RELIABLE)
        if fault.depth_encoding:
            self._depth = node.create_publisher(Image, f"{name}/depth", RELIABLE)
        if fault.depth_encoding and fault.has_info:
            qos = LASTING if fault.latches_info else RELIABLE
            self._info = node.create_publisher(CameraInfo, f"{name}/camera_info", qos)
        if fault.latches_info:
            self._info.publish(_calibration(_header(0)))
        outputs = f"/sameo/{name}"
        if fault.wants_3d:
            node.create_subscription(Detection3DArray, f"{outputs}/objects", lambda _: None, 1)
        if fault.wants_lasting_masks:
            node.create_subscription(AmodalMaskArray, f"{outputs}/masks", lambda _: None, LASTING)

    def step(self, now_ns: int, now_s: float) -> None:
        """Send the next image and what belongs to it."""
        fault = self.fault
        if self._number == 0 and not self._is_heard():
            return
        self._number += 1
        self._begun_s = self._begun_s or now_s
        is_silent = 0 < fault.num_images < self._number
        while self._late and self._late[0][0] <= now_s:
            self._boxes.publish(self._late.popleft()[1])
        if is_silent:
            return
        image = _image(np.zeros((64, 64, 3), np.uint8), "rgb8", now_ns + fault.shift_ns)
        if fault.sends_images and self._number % fault.sends_images == 0:
            self._images.publish(image)
        if fault.echo_shift_ns:
            echo = _image(np.zeros((64, 64, 3), np.uint8), "rgb8", now_ns + fault.echo_shift_ns)
            self._echo.publish(echo)
        if fault.depth_encoding:
            self._send_depth(image, now_ns)
        if fault.is_detecting:
            boxes = boxes_for(image, BOX)
            shift_ns = fault.box_shift_ns
            boxes.header = _header(0 if shift_ns is None else now_ns + fault.shift_ns + shift_ns)
            self._late += [(now_s + fault.delay_s, boxes)] * fault.num_answers
        while self._late and self._late[0][0] <= now_s:
            self._boxes.publish(self._late.popleft()[1])

    @property
    def has_begun(self) -> bool:
        """Whether what is wrong has happened once."""
        is_due = time.monotonic() >= self._begun_s + self.fault.delay_s
        return self._number > self.fault.num_images and is_due

    def _is_heard(self) -> bool:
        """Whether the node listens to a camera of which the first images count."""
        is_timed = self.fault.num_images or self.fault.delay_s
        return not is_timed or self._images.get_subscription_count() > 0

    def _send_depth(self, image: Image, now_ns: int) -> None:
        fault = self.fault
        dtype = np.uint8 if fault.depth_encoding == "mono8" else np.uint16
        pixels = np.full((fault.depth_side, fault.depth_side), 100, dtype)
        stamp_ns = now_ns + fault.shift_ns + fault.depth_shift_ns
        if fault.has_info and not fault.latches_info:
            self._info.publish(_calibration(image.header))
        self._depth.publish(_image(pixels, fault.depth_encoding, stamp_ns))


class FaultBench:
    """All of them in one process, and what the node says about each."""

    def __init__(self, names: tuple[str, ...], period_s: float = 0.3) -> None:
        self.period_s = period_s
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("faults", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.cameras = [FaultyCamera(self.node, name, FAULTS[name]) for name in names]
        self.statuses: dict[str, list[Any]] = {name: [] for name in names}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note, 10)

    def _note(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name.rpartition(": ")[2]
            if name in self.statuses:
                self.statuses[name].append(status)

    def step(self) -> None:
        """Let every camera send once, and listen until the next is due."""
        due_s = time.monotonic() + self.period_s
        now_ns = self.node.get_clock().now().nanoseconds
        for camera in self.cameras:
            camera.step(now_ns, time.monotonic())
        while (left_s := due_s - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left_s)

    def is_named(self, name: str) -> bool:
        """Whether the latest status of a camera says what it should, and nothing else."""
        statuses, fault = self.statuses[name], FAULTS[name]
        if not statuses or not says(statuses[-1], fault):
            return False
        return set(problems_of(statuses[-1])) <= {fault.kind, *BESIDES.get(name, ())}

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def values_of(status: Any) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def problems_of(status: Any) -> dict[str, str]:
    """The current problems of a status, by kind."""
    prefix = "problem_"
    return {k[len(prefix) :]: v for k, v in values_of(status).items() if k.startswith(prefix)}


def says(status: Any, fault: Fault) -> bool:
    """Whether a status names the cause, or is OK where there is none."""
    problems = problems_of(status)
    if not fault.kind:
        return bool(status.level == b"\0" and not problems)
    return bool(status.level == b"\1" and fault.words in problems.get(fault.kind, ""))


def _header(stamp_ns: int) -> Any:
    header = Image().header
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, S)
    header.frame_id = "camera_optical"
    return header


def _calibration(header: Any) -> CameraInfo:
    info = CameraInfo(header=header, height=64, width=64)
    info.k = [60.0, 0.0, 32.0, 0.0, 60.0, 32.0, 0.0, 0.0, 1.0]
    return info


def _image(pixels: Any, encoding: str, stamp_ns: int) -> Image:
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding=encoding)
    message.step = pixels[0].nbytes
    message.header = _header(stamp_ns)
    message.data = bytes_to_array(pixels.view(np.uint8))
    return message
