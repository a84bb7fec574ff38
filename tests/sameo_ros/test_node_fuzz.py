"""Hostile messages over DDS: the node survives them, answers only what came, and says so."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from sensor_msgs.msg import CameraInfo, Image, PointCloud2  # noqa: E402
from vision_msgs.msg import Detection3DArray  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from sameo_ros.core.stamps import stamp_to_ns  # noqa: E402
from sameo_ros.srv import SegmentBoxes  # noqa: E402
from tests.bundles import make_tiny_bundle  # noqa: E402
from tests.sameo_ros.hostile import (  # noqa: E402
    SIDE,
    BoxRow,
    boxes,
    camera_infos,
    depth_images,
    images,
    make_detections,
)
from tests.sameo_ros.node_bench import (  # noqa: E402
    RELIABLE,
    Client,
    NodeProcess,
    start_node,
)

NUM_EXAMPLES, PAIRS_PER_EXAMPLE = 40, 10
NUM_IN_3D, NUM_MIXED = 30, 10

USABLE = [
    BoxRow(32.0, 32.0, 0.0, 20.0, 10.0),
    BoxRow(32.0, 32.0, 1.0, 20.0, 10.0),
    BoxRow(0.0, 0.0, 0.0, 20.0, 20.0),  # reaches beyond the image
    BoxRow(32.0, 32.0, 0.0, 1e30, 20.0),
]
UNUSABLE = [
    replace(USABLE[0], **{name: value})
    for names, values in (
        (("x", "y", "theta", "width", "height"), (math.nan, math.inf, -math.inf)),
        (("x", "y"), (-100.0, 164.0, 1e300, -1e300)),  # outside
        (("width", "height"), (0.0, -1.0, 1e300, -1e300)),  # without area, inverted, too large
    )
    for name in names
    for value in values
]


@dataclass
class Bench:
    """A node that reads one kind of detections, and what went in and came out."""

    process: NodeProcess
    client: Client
    kind: str
    sent: set[tuple[int, str]] = field(default_factory=set)
    calls: list[tuple[Any, Any]] = field(default_factory=list)
    in_3d: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Publish depth and calibration, and listen to everything in 3D."""
        node = self.client.node
        self.depths = node.create_publisher(Image, "depth", RELIABLE)
        self.infos = node.create_publisher(CameraInfo, "camera_info", RELIABLE)
        for kind, name in (
            (Detection3DArray, "objects"),
            (MarkerArray, "markers"),
            (PointCloud2, "points"),
        ):
            node.create_subscription(kind, f"/sameo/{name}", self.in_3d.append, RELIABLE)
        self.client.until_active()
        self.client.until(self.depths.get_subscription_count)
        self.client.until(self.infos.get_subscription_count)
        self.client.until(lambda: node.count_subscribers("/sameo/points"))

    def boxes(self, header: Any, *rows: BoxRow) -> Any:
        return make_detections(self.kind, header, list(rows))

    def call(self, request: Any) -> None:
        """Call ~/segment; `check_calls` looks at the answer."""
        self.calls.append((request, self.client.segment.call_async(request)))

    def check_calls(self) -> None:
        """Wait for all answers to calls, and check them."""
        self.client.until(lambda: all(future.done() for _, future in self.calls))
        for request, future in self.calls:
            response = future.result()
            assert response.success == (not response.message)
            if response.success:
                self.check_masks(response.masks)
                has_image = request.image.height or request.image.width
                assert not has_image or response.masks.header == request.image.header
            else:
                assert response.masks.image_width == 0
            check_finite(response)
        self.calls.clear()

    def check_masks(self, masks: Any) -> None:
        assert (stamp_to_ns(masks.header.stamp), masks.header.frame_id) in self.sent
        for mask in masks.masks:
            assert 0 <= mask.score <= 1
            assert mask.amodal.x + mask.amodal.image.width <= masks.image_width
            assert mask.amodal.y + mask.amodal.image.height <= masks.image_height

    def check_outputs(self) -> None:
        """Check what has been published since the call before."""
        assert self.process.popen.poll() is None, self.process.text()
        for masks in self.client.masks:
            self.check_masks(masks)
            check_finite(masks)
        for message in self.in_3d:
            check_finite(message)
            headers = [message.header] if hasattr(message, "header") else []
            headers += [marker.header for marker in getattr(message, "markers", ())]
            stamps_ns = {stamp_ns for stamp_ns, _ in self.sent}
            assert {stamp_to_ns(header.stamp) for header in headers} <= stamps_ns
        self.client.masks.clear()
        self.in_3d.clear()


def check_finite(message: Any, name: str = "") -> None:
    """Check all numbers of a message; a hidden share alone may be NaN, where it is unknown."""
    if isinstance(message, PointCloud2):
        cloud = np.frombuffer(message.data, "<f4").reshape(-1, message.point_step // 4)
        assert np.isfinite(cloud[:, :3]).all()
    elif hasattr(message, "get_fields_and_field_types"):
        for one in message.get_fields_and_field_types():
            if one != "data":
                check_finite(getattr(message, one), one)
    elif isinstance(message, float):
        assert math.isfinite(message) or name == "occlusion_ratio", name
    elif isinstance(message, np.ndarray):
        assert np.isfinite(message).all(), name
    elif not isinstance(message, (str, bytes, int)):
        for one in message:
            check_finite(one, name)


@pytest.fixture(scope="module", params=["vision_msgs", "yolo_msgs"])
def bench(request: Any, tmp_path_factory: Any) -> Iterator[Bench]:
    kind, client = request.param, Client()
    if kind == "yolo_msgs":
        messages = pytest.importorskip(
            "yolo_msgs.msg", reason="yolo_msgs is not generated: run `make setup`"
        )
        client.node.destroy_publisher(client.detections)
        client.detections = client.node.create_publisher(
            messages.DetectionArray, "detections", RELIABLE
        )
    folder = tmp_path_factory.mktemp("fuzz")
    process = start_node(
        folder,
        make_tiny_bundle(folder / "tiny"),
        max_wait_s=0.05,
        detections_type=kind,
        points_of="all",
        segment_max_age_s=1000.0,
    )
    yield Bench(process, client, kind)
    client.close()
    status = process.stop()
    assert status == 0, process.text()


@settings(
    max_examples=NUM_EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(data=st.data())
def test_hostile_messages_neither_kill_the_node_nor_get_a_foreign_answer(
    bench: Bench, data: Any
) -> None:
    client = bench.client
    for _ in range(PAIRS_PER_EXAMPLE):
        image = data.draw(images())
        is_matched = data.draw(st.booleans())
        header = image.header if is_matched else data.draw(images()).header
        bench.sent.add((stamp_to_ns(image.header.stamp), image.header.frame_id))
        client.send(image, bench.boxes(header, *data.draw(boxes())))
        client.executor.spin_once(timeout_sec=0)
    # A call about a hostile image, or about the latest frame.
    image = data.draw(st.one_of(images(), st.just(Image())))
    bench.sent.add((stamp_to_ns(image.header.stamp), image.header.frame_id))
    detections = make_detections("vision_msgs", image.header, data.draw(boxes()))
    bench.call(SegmentBoxes.Request(image=image, detections=detections))
    client.spin(0.02)
    bench.check_outputs()


@settings(
    max_examples=NUM_IN_3D,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(data=st.data())
def test_hostile_depth_and_calibration_give_no_number_that_is_none(bench: Bench, data: Any) -> None:
    client = bench.client
    bench.infos.publish(data.draw(camera_infos()))
    for _ in range(PAIRS_PER_EXAMPLE // 2):
        image = client.image()
        bench.sent.add((stamp_to_ns(image.header.stamp), image.header.frame_id))
        bench.depths.publish(data.draw(depth_images(image.header)))
        client.executor.spin_once(timeout_sec=0)
        client.send(image, bench.boxes(image.header, *USABLE))
        client.spin(0.01)
    detections = make_detections("vision_msgs", image.header, USABLE)
    bench.call(SegmentBoxes.Request(detections=detections))
    client.spin(0.02)
    bench.check_outputs()


def test_all_calls_between_are_answered_about_an_image_that_came(bench: Bench) -> None:
    if not bench.calls:
        pytest.skip("no calls were made")
    bench.check_calls()
    bench.check_outputs()


def test_good_depth_between_hostile_one_gives_points(bench: Bench) -> None:
    client = bench.client
    image = client.image()
    bench.sent.add((stamp_to_ns(image.header.stamp), image.header.frame_id))
    k = [100.0, 0.0, 32.0, 0.0, 100.0, 32.0, 0.0, 0.0, 1.0]
    p = [100.0, 0.0, 32.0, 0.0, 0.0, 100.0, 32.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info = CameraInfo(header=image.header, height=SIDE, width=SIDE, k=k, p=p)
    info.distortion_model, info.d = "plumb_bob", [0.0] * 5
    depth = Image(header=image.header, height=SIDE, width=SIDE, encoding="32FC1", step=4 * SIDE)
    depth.data = np.ones((SIDE, SIDE), "<f4").tobytes()
    bench.infos.publish(info)
    bench.depths.publish(depth)
    client.send(image, bench.boxes(image.header, *USABLE))
    client.until(lambda: any(isinstance(one, PointCloud2) for one in bench.in_3d))
    bench.check_outputs()


def test_every_unusable_box_is_counted_and_those_beside_it_are_answered(bench: Bench) -> None:
    client = bench.client
    image = client.image()
    client.answer(image, bench.boxes(image.header))  # nothing hostile waits any more
    before = int(client.values_now()["boxes_rejected"])
    random = np.random.default_rng(0)
    for _ in range(NUM_MIXED):
        order = random.permutation(len(UNUSABLE) + len(USABLE))
        image = client.image()
        message = bench.boxes(image.header, *((UNUSABLE + USABLE)[number] for number in order))
        answered = [mask.detection_index for mask in client.answer(image, message).masks]
        assert answered == np.flatnonzero(order >= len(UNUSABLE)).tolist()
    after = int(client.values_now()["boxes_rejected"])
    assert after - before == NUM_MIXED * len(UNUSABLE)


def test_afterwards_the_node_answers_and_has_said_what_was_wrong(bench: Bench) -> None:
    process, client = bench.process, bench.client
    if not bench.sent:
        pytest.skip("the hostile messages were not sent")
    client.masks.clear()
    image = client.image()
    assert len(client.answer(image, bench.boxes(image.header, USABLE[0])).masks) == 1
    values = client.until_accounted()
    assert int(values["dropped_failed"]) == 0, process.text()
    assert int(values["images_rejected"]) > 100
    text = process.text()
    for words in ("image ", "no usable image of that stamp came", "is left out", "went backwards"):
        assert words in text
    assert "Traceback" not in text
