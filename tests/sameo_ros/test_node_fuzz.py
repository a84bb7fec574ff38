"""Hostile messages over DDS: the node survives them, answers only what came, and says so."""

import math

import numpy as np
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

from sameo_ros.core.stamps import stamp_to_ns  # noqa: E402
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


def replace(values, field, value):
    return *values[:field], value, *values[field + 1 :]


# Boxes in an image of 64 x 64 pixels: x and y of the centre, theta, width, height.
USABLE = [
    (32.0, 32.0, 0.0, 20.0, 10.0),
    (32.0, 32.0, 1.0, 20.0, 10.0),
    (0.0, 0.0, 0.0, 20.0, 20.0),  # reaches beyond the image
    (32.0, 32.0, 0.0, 1e30, 20.0),
]
UNUSABLE = [
    replace(USABLE[0], field, value)
    for fields, values in (
        (range(5), (math.nan, math.inf, -math.inf)),
        ((0, 1), (-100.0, 164.0, 1e300, -1e300)),  # outside
        ((3, 4), (0.0, -1.0, 1e300, -1e300)),  # without area, inverted, beyond float32
    )
    for field in fields
    for value in values
]
NUM_MIXED = 10


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
    client.masks.clear()


def test_every_unusable_box_is_counted_and_those_beside_it_are_answered(running):
    _, client, _ = running
    image = client.image()
    client.answer(image, boxes_for(image))  # nothing hostile waits any more
    before = int(client.values_now()["boxes_rejected"])
    random = np.random.default_rng(0)
    for _ in range(NUM_MIXED):
        order = random.permutation(len(UNUSABLE) + len(USABLE))
        image = client.image()
        message = Detection2DArray(header=image.header)
        message.detections = [box(*(UNUSABLE + USABLE)[number]) for number in order]
        answered = [mask.detection_index for mask in client.answer(image, message).masks]
        assert answered == np.flatnonzero(order >= len(UNUSABLE)).tolist()
    after = int(client.values_now()["boxes_rejected"])
    assert after - before == NUM_MIXED * len(UNUSABLE)


def box(x, y, theta, width, height):
    detection = Detection2D()
    centre = detection.bbox.center
    centre.position.x, centre.position.y, centre.theta = x, y, theta
    detection.bbox.size_x, detection.bbox.size_y = width, height
    return detection


def test_afterwards_the_node_answers_and_has_said_what_was_wrong(running):
    process, client, sent = running
    if not sent:
        pytest.skip("the hostile messages were not sent")
    client.masks.clear()
    image = client.image()
    assert len(client.answer(image, boxes_for(image, (16, 16, 48, 48))).masks) == 1
    values = client.until_accounted()
    assert int(values["dropped_failed"]) == 0, process.text()
    assert int(values["images_rejected"]) > 100
    text = process.text()
    for words in ("image ", "no usable image of that stamp came", "is left out", "went backwards"):
        assert words in text
    assert "Traceback" not in text
