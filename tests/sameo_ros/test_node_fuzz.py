"""Hostile messages over DDS: the node survives them, answers only what came, and says so."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from sensor_msgs.msg import Image  # noqa: E402
from vision_msgs.msg import (  # noqa: E402
    Detection2D,
    Detection2DArray,
    ObjectHypothesisWithPose,
)

from sameo_ros.conversions import stamp_to_ns  # noqa: E402
from tests.bundles import make_tiny_bundle  # noqa: E402
from tests.sameo_ros.node_bench import Client, boxes_for, start_node  # noqa: E402

NUM_EXAMPLES, PAIRS_PER_EXAMPLE = 100, 10  # an image and boxes each: 2,000 messages
UINT32 = 2**32 - 1

sizes = st.one_of(st.integers(0, 40), st.sampled_from([1000, 65535, UINT32]))
encodings = st.sampled_from(
    ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "32FC1", "yuv422", "", "☃" * 9]
)
seconds = st.one_of(st.integers(0, 3), st.sampled_from([-(2**31), -1, 2**31 - 1]))
nanoseconds = st.one_of(st.integers(0, 3), st.sampled_from([999_999_999, UINT32]))
numbers = st.one_of(
    st.floats(-50, 150), st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0])
)
counts = st.one_of(st.integers(0, 4), st.sampled_from([301, 2000]))


@st.composite
def images(draw):
    height, width, encoding = draw(sizes), draw(sizes), draw(encodings)
    bytes_per_pixel = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono16": 2}.get(encoding, 1)
    step = draw(st.one_of(st.just(min(width * bytes_per_pixel, UINT32)), sizes))
    num_bytes = draw(st.one_of(st.just(step * height), st.integers(0, 300)))
    message = Image(height=height, width=width, encoding=encoding, step=step)
    message.is_bigendian = draw(st.integers(0, 255))
    message.data = bytes(num_bytes if num_bytes <= 1_000_000 else 0)
    message.header.stamp.sec, message.header.stamp.nanosec = draw(seconds), draw(nanoseconds)
    message.header.frame_id = draw(st.text(max_size=5))
    return message


@st.composite
def boxes_of(draw, image):
    message = Detection2DArray()
    is_matched = draw(st.booleans())
    stamp = image.header.stamp if is_matched else draw(images()).header.stamp
    message.header.stamp = stamp
    detection = Detection2D(id=draw(st.text(max_size=3)))
    centre = detection.bbox.center
    centre.position.x, centre.position.y, centre.theta = (draw(numbers) for _ in range(3))
    detection.bbox.size_x, detection.bbox.size_y = draw(numbers), draw(numbers)
    for _ in range(draw(st.integers(0, 2))):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = draw(st.text()), draw(numbers)
        detection.results.append(result)
    message.detections = [detection] * draw(counts)
    return message


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    process = start_node(folder, make_tiny_bundle(folder / "tiny"), max_wait_s=0.05)
    client = Client()
    client.until_active()
    sent: set[tuple[int, str]] = set()
    yield process, client, sent
    client.close()
    status = process.stop()
    assert status == 0, process.text()


@settings(
    max_examples=NUM_EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(data=st.data())
def test_hostile_messages_neither_kill_the_node_nor_get_a_foreign_answer(running, data):
    process, client, sent = running
    for _ in range(PAIRS_PER_EXAMPLE):
        image = data.draw(images())
        sent.add((stamp_to_ns(image.header.stamp), image.header.frame_id))
        client.send(image, data.draw(boxes_of(image)))
        client.executor.spin_once(timeout_sec=0)
    client.spin(0.02)
    assert process.popen.poll() is None, process.text()
    for masks in client.masks:
        assert (stamp_to_ns(masks.header.stamp), masks.header.frame_id) in sent
        for mask in masks.masks:
            assert 0 <= mask.score <= 1
            assert mask.amodal.x + mask.amodal.image.width <= masks.image_width
            assert mask.amodal.y + mask.amodal.image.height <= masks.image_height


def test_afterwards_the_node_answers_and_has_said_what_was_wrong(running):
    process, client, sent = running
    if not sent:
        pytest.skip("the hostile messages were not sent")
    client.masks.clear()
    image = client.image()
    assert len(client.answer(image, boxes_for(image, (16, 16, 48, 48))).masks) == 1
    client.spin(0.5)
    values = client.values()
    dropped = sum(int(value) for key, value in values.items() if key.startswith("dropped_"))
    assert int(values["detections_received"]) == int(values["masks_published"]) + dropped
    assert int(values["dropped_failed"]) == 0, process.text()
    assert int(values["images_rejected"]) > 100
    # How many of the hostile boxes came with a usable image is up to chance.
    assert int(values["boxes_rejected"]) > 0
    text = process.text()
    for words in ("image ", "no usable image of that stamp came", "is left out", "went backwards"):
        assert words in text
    assert "Traceback" not in text
