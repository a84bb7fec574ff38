"""A node in a process of its own, and what a test needs to talk to it over DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from sameo_ros.core.stamps import stamp_to_ns
from sameo_ros.messages.conversions import bytes_to_array
from sameo_ros.msg import AmodalMaskArray
from sameo_ros.srv import SegmentBoxes
from tests.sameo_ros.processes import ROOT

WAIT_S = 60.0
BOX = (16, 16, 48, 48)
RELIABLE = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
_VALUE_FIELDS = {
    bool: (ParameterType.PARAMETER_BOOL, "bool_value"),
    float: (ParameterType.PARAMETER_DOUBLE, "double_value"),
    int: (ParameterType.PARAMETER_INTEGER, "integer_value"),
    str: (ParameterType.PARAMETER_STRING, "string_value"),
}


class NodeProcess:
    """`python -m sameo_ros.<module>` with its output in a file."""

    def __init__(self, folder: Path, module: str, *arguments: str) -> None:
        self.log = folder / f"{module}_{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", f"sameo_ros.{module}", *arguments]
        with self.log.open("wb") as output:
            self.popen = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def resident_mib(self) -> float:
        pages = int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(WAIT_S)
        finally:
            self.popen.kill()


def start_node(folder: Path, model: str | Path, *arguments: str, **parameters: Any) -> NodeProcess:
    """Start the node so that no image is lost on the way, with quick diagnostics."""
    values = {
        "model": model,
        "backend": "onnxruntime",
        "diagnostics_period_s": 0.05,
        # The stamps of the tests are those of 1970.
        "warn_age_ms": 0.0,
        "error_age_ms": 0.0,
        "warn_dropped_share": 1.0,
        "qos_overrides./image.subscription.reliability": "reliable",
        "qos_overrides./image.subscription.depth": 20,
        "qos_overrides./detections.subscription.reliability": "reliable",
        "qos_overrides./detections.subscription.depth": 20,
        **parameters,
    }
    ros_arguments = ["--ros-args", *arguments]
    for name, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        ros_arguments += ["-p", f"{name}:={text}"]
    return NodeProcess(folder, "node", *ros_arguments)


class Client:
    """The camera, the detector and a listener in one."""

    def __init__(
        self, image_topic: str = "image", image_type: type = Image, camera: str = ""
    ) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("client", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.masks: list[Any] = []
        self.overlays: list[Any] = []
        self.diagnostics: list[Any] = []
        self._stamp_ns = 1_000_000_000
        node = self.node
        self.images: Any = node.create_publisher(image_type, image_topic, RELIABLE)
        inputs = f"{camera}/" if camera else ""
        self.outputs = f"/sameo/{inputs}"
        self.detections = node.create_publisher(Detection2DArray, f"{inputs}detections", RELIABLE)
        masks_topic = self.outputs + "masks"
        node.create_subscription(AmodalMaskArray, masks_topic, self.masks.append, RELIABLE)
        node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, RELIABLE)
        self.segment: Any = node.create_client(SegmentBoxes, "/sameo/segment")
        self.change_state: Any = node.create_client(ChangeState, "/sameo/change_state")
        self.get_state: Any = node.create_client(GetState, "/sameo/get_state")
        self.set_parameters: Any = node.create_client(
            SetParametersAtomically, "/sameo/set_parameters_atomically"
        )

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def until(self, condition: Callable[[], Any], wait_s: float = WAIT_S) -> Any:
        deadline_s = time.monotonic() + wait_s
        while not (result := condition()):
            assert time.monotonic() < deadline_s, f"not within {wait_s} s; {self.values()}"
            self.executor.spin_once(timeout_sec=0.05)
        return result

    def spin(self, duration_s: float, is_enough: Callable[[], bool] = lambda: False) -> None:
        """Listen for a while, or until it is enough."""
        deadline_s = time.monotonic() + duration_s
        while time.monotonic() < deadline_s and not is_enough():
            self.executor.spin_once(timeout_sec=0.01)

    def until_active(self) -> Client:
        publishers = self.images, self.detections
        self.until(lambda: all(one.get_subscription_count() for one in publishers))
        self.until(lambda: self.node.count_publishers(self.outputs + "masks"))
        return self

    def values(self) -> dict[str, str]:
        """The latest diagnostics."""
        if not self.diagnostics:
            return {}
        status = self.diagnostics[-1].status[0]
        values = {pair.key: pair.value for pair in status.values}
        return {**values, "level": str(ord(status.level)), "message": status.message}

    def values_now(self) -> dict[str, str]:
        """The first diagnostics that the node makes after this call."""
        asked_ns = self.node.get_clock().now().nanoseconds
        self.until(lambda: self._diagnosed_ns() > asked_ns)
        return self.values()

    def _diagnosed_ns(self) -> int:
        return stamp_to_ns(self.diagnostics[-1].header.stamp) if self.diagnostics else 0

    def until_accounted(self) -> dict[str, str]:
        """Wait until all detection messages are published or dropped; return the diagnostics."""

        def is_accounted() -> bool:
            values = self.values_now()
            counts = (n for key, n in values.items() if key.startswith("dropped_"))
            ended = int(values["masks_published"]) + sum(map(int, counts))
            return int(values["detections_received"]) == ended

        self.until(is_accounted)
        return self.values()

    def until_count(self, key: str, number: int) -> None:
        self.until(lambda: int(self.values().get(key, 0)) >= number)

    def next_stamp_ns(self, step_ns: int = 10_000_000) -> int:
        self._stamp_ns += step_ns
        return self._stamp_ns

    def send(self, image: Any, detections: Any) -> int:
        """Publish an image and boxes of its stamp; return the stamp, nanoseconds."""
        self.images.publish(image)
        self.detections.publish(detections)
        return stamp_to_ns(image.header.stamp)

    def answer(self, image: Any, detections: Any) -> Any:
        """Publish, and wait for the masks of that stamp."""
        stamp_ns = self.send(image, detections)
        return self.until(lambda: self.find_masks(stamp_ns))

    def answer_good_frame(self) -> Any:
        """Publish a black image with `BOX`, and wait for its masks."""
        image = self.image()
        return self.answer(image, boxes_for(image, BOX))

    def send_and_find(self) -> Any:
        """Publish such an image; return its masks if they come soon. The first may be lost."""
        image = self.image()
        stamp_ns = self.send(image, boxes_for(image, BOX))
        self.spin(0.1)
        return self.find_masks(stamp_ns)

    def find_masks(self, stamp_ns: int) -> Any:
        found = [one for one in self.masks if stamp_to_ns(one.header.stamp) == stamp_ns]
        return found[-1] if found else None

    def call(self, service: Any, request: Any) -> Any:
        self.until(service.service_is_ready)
        future = service.call_async(request)
        self.until(future.done)
        return future.result()

    def transition(self, name: str) -> bool:
        request = ChangeState.Request(transition=Transition(label=name))
        return bool(self.call(self.change_state, request).success)

    def state(self) -> str:
        return str(self.call(self.get_state, GetState.Request()).current_state.label)

    def set(self, **values: Any) -> Any:
        request = SetParametersAtomically.Request()
        for name, value in values.items():
            kind, field = _VALUE_FIELDS[type(value)]
            parameter_value = ParameterValue(type=kind, **{field: value})
            request.parameters.append(Parameter(name=name, value=parameter_value))
        return self.call(self.set_parameters, request).result

    def image(self, pixels: Any = None, stamp_ns: int | None = None, **fields: Any) -> Image:
        """Make an rgb8 image of 64x64 pixels, or of the given ones."""
        pixels = np.zeros((64, 64, 3), np.uint8) if pixels is None else pixels
        height, width = pixels.shape[:2]
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.data = bytes_to_array(pixels)
        self._fill_header(message.header, stamp_ns)
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    def compressed(self, data: bytes) -> CompressedImage:
        message = CompressedImage(format="png", data=bytes_to_array(np.frombuffer(data, np.uint8)))
        self._fill_header(message.header, None)
        return message

    def _fill_header(self, header: Any, stamp_ns: int | None) -> None:
        stamp_ns = self.next_stamp_ns() if stamp_ns is None else stamp_ns
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        header.frame_id = "camera_optical"


def boxes_for(image: Any, *boxes_xyxy: tuple[float, ...], theta: float = 0.0) -> Detection2DArray:
    """Make detections under the image's header; box i has id `id i`, class `mug`, score 0.5."""
    message = Detection2DArray(header=image.header)
    for i, (x1, y1, x2, y2) in enumerate(boxes_xyxy):
        detection = Detection2D(id=f"id {i}")
        detection.bbox.center.position.x, detection.bbox.center.position.y = (
            float(x1 + x2) / 2,
            float(y1 + y2) / 2,
        )
        detection.bbox.center.theta = theta
        detection.bbox.size_x, detection.bbox.size_y = float(x2 - x1), float(y2 - y1)
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = "mug", 0.5
        detection.results.append(result)
        message.detections.append(detection)
    return message


def yolo_boxes_for(image: Any, box_xyxy: tuple[float, ...] = BOX, **fields: Any) -> Any:
    """Make detections of yolo_ros with one box, of id 17, class `mug`, score 0.75."""
    from yolo_msgs.msg import Detection, DetectionArray

    x1, y1, x2, y2 = box_xyxy
    detection = Detection(class_id=41, class_name="mug", score=0.75, id="17")
    detection.bbox.center.position.x, detection.bbox.center.position.y = (
        (x1 + x2) / 2,
        (y1 + y2) / 2,
    )
    detection.bbox.size.x, detection.bbox.size.y = float(x2 - x1), float(y2 - y1)
    for name, value in fields.items():
        setattr(detection, name, value)
    return DetectionArray(header=image.header, detections=[detection])


def record_one(client: Client, folder: Path, send: Callable[[], Any]) -> dict[str, Any]:
    """Send until the recorder has one image; return what it wrote of it."""
    recorder = NodeProcess(folder, "recorder", "--output", str(folder / "out"), "--count", "1")

    def has_ended() -> bool:
        send()
        client.spin(0.1)
        return recorder.popen.poll() is not None

    try:
        client.until(has_ended)
    finally:
        assert recorder.stop() == 0, recorder.text()
    (record,) = json.loads((folder / "out" / "masks.json").read_text())
    assert (folder / "out" / f"{record['image']}.png").is_file()
    return dict(record)
