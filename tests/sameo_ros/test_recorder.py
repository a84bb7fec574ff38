"""The recorder beside a real node, with cameras and detectors whose stamps are wrong."""

import json
import time

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402

from sameo_ros.core.stamps import stamp_to_ns  # noqa: E402
from sameo_ros.msg import AmodalMask, AmodalMaskArray  # noqa: E402
from tests.bundles import make_tiny_bundle  # noqa: E402
from tests.sameo_ros.node_bench import (  # noqa: E402
    BOX,
    RELIABLE,
    Client,
    NodeProcess,
    boxes_for,
    start_node,
)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    node, client = start_node(folder, make_tiny_bundle(folder / "tiny")), Client()
    yield client.until_active()
    client.close()
    node.stop()


@pytest.fixture
def record(client, tmp_path):
    """Record while images and boxes are sent; return the records and what was said."""
    processes = []

    def record(num_images, send):
        output = tmp_path / "out"
        arguments = ["--output", str(output), "--count", str(num_images)]
        recorder = NodeProcess(tmp_path, "recorder", *arguments)
        processes.append(recorder)
        publishers = client.images, client.detections
        client.until(lambda: all(one.get_subscription_count() == 2 for one in publishers))

        def has_ended():
            send()
            client.spin(0.1)
            return recorder.popen.poll() is not None

        client.until(has_ended)
        assert recorder.popen.returncode == 0, recorder.text()
        records = json.loads((output / "masks.json").read_text())
        names = sorted(path.stem for path in output.glob("*.png"))
        assert names == [one["image"] for one in records]
        return records, recorder.text()

    yield record
    for process in processes:
        process.stop()


def test_images_whose_stamps_stay_at_zero_are_numbered(client, record):
    def send():
        image = client.image(stamp_ns=0)
        client.send(image, boxes_for(image, BOX))

    records, text = record(3, send)
    names = [one["image"] for one in records]
    assert names == ["0.000000000", "0.000000000_2", "0.000000000_3"]
    assert [one["latency_ms"] for one in records] == [None] * 3
    assert text.count("the stamps of the images stay at 0.000000000") == 1


def test_masks_of_an_older_image_of_the_same_stamp_are_left_out(tmp_path):
    names = ("image", "detections", "sameo/masks")
    remaps = [word for name in names for word in ("-r", f"{name}:=other/{name}")]
    output = tmp_path / "out"
    arguments = ["--output", str(output), "--count", "1", "--ros-args", *remaps]
    recorder, client = (
        NodeProcess(tmp_path, "recorder", *arguments),
        Client("other/image", camera="other"),
    )
    masks = client.node.create_publisher(AmodalMaskArray, "other/sameo/masks", RELIABLE)

    def send_and_wait():
        image = client.image(stamp_ns=0)
        client.send(image, boxes_for(image, BOX))
        client.spin(0.1)
        # Those of a smaller image, of a second box, and those that fit.
        for side, indices in ((32, []), (64, [1]), (64, [])):
            message = AmodalMaskArray(header=image.header, image_height=side, image_width=side)
            message.masks = [AmodalMask(detection_index=index) for index in indices]
            masks.publish(message)
        client.spin(0.1)
        return recorder.popen.poll() is not None

    try:
        publishers = client.images, client.detections, masks
        client.until(lambda: all(one.get_subscription_count() == 1 for one in publishers))
        client.until(send_and_wait)
    finally:
        client.close()
    assert recorder.stop() == 0, recorder.text()
    (one,) = json.loads((output / "masks.json").read_text())
    assert (one["image_height"], one["masks"]) == (64, [])


@pytest.mark.parametrize(("offset_s", "is_known"), [(0, True), (-86_400, False), (3600, False)])
def test_a_latency_is_told_only_where_stamps_are_of_the_same_clock(
    client, record, offset_s, is_known
):
    def send():
        image = client.image(stamp_ns=time.time_ns() + offset_s * 1_000_000_000)
        client.send(image, boxes_for(image, BOX))

    (one,), _ = record(1, send)
    latency_ms = one["latency_ms"]
    assert 0 < latency_ms < 30_000 if is_known else latency_ms is None


def test_detections_that_have_the_stamp_inside_alone_are_recorded(client, record):
    def send():
        image = client.image()
        boxes = boxes_for(image, BOX)
        boxes.detections[0].header = image.header
        boxes.header = client.image(stamp_ns=0).header
        client.send(image, boxes)

    (one,), _ = record(1, send)
    assert len(one["masks"]) == 1


ARM = [word for name in ("image", "detections", "sameo/masks") for word in
       ("-r", f"{name}:=/arm/{name}")]  # fmt: skip


def test_compressed_images_are_recorded_and_boxes_within_the_tolerance_of_the_node(tiny, tmp_path):
    values = {"image_transport": "compressed", "stamp_tolerance_s": 0.01}
    node = start_node(tmp_path, tiny, "-r", "__ns:=/arm", **values)
    client = Client("arm/image/compressed", CompressedImage, camera="arm")
    output = tmp_path / "out"
    arguments = ["--output", str(output), "--count", "1", "--timeout", "20", "--ros-args", *ARM]
    recorder = NodeProcess(tmp_path, "recorder", *arguments)
    png = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()

    def send_and_wait():
        image = client.compressed(png)
        near = client.image(stamp_ns=stamp_to_ns(image.header.stamp) + 3_000_000)
        client.send(image, boxes_for(near, BOX))
        client.spin(0.1)
        return recorder.popen.poll() is not None

    try:
        client.until(send_and_wait)
    finally:
        client.close()
        node.stop()
    assert recorder.stop() == 0, recorder.text()
    (one,) = json.loads((output / "masks.json").read_text())
    assert len(one["masks"]) == 1


def record_in_vain(client, folder, timeout_s):
    arguments = ["--output", str(folder), "--count", "1", "--timeout", str(timeout_s)]
    recorder = NodeProcess(folder, "recorder", *arguments)
    client.until(lambda: recorder.popen.poll() is not None)
    assert recorder.stop() == 1
    return recorder.text()


def test_a_recorder_whose_time_is_over_says_what_came(client, tmp_path):
    said = record_in_vain(client, tmp_path, 8)  # discovery takes three seconds
    assert "--timeout 8 s is over: 0 images, 0 detection messages and 0 messages of masks" in said
    assert "; the node says: " in said


def test_a_recorder_that_finds_no_node_says_so(client, tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "102")
    assert "is over: no node publishes masks" in record_in_vain(client, tmp_path, 1)
