"""The node with the model's own detector: images alone give boxes and masks."""

import time

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from vision_msgs.msg import Detection2DArray  # noqa: E402

from sameo_ros.core.stamps import stamp_to_ns  # noqa: E402
from sameo_ros.messages.detections import detections_to_boxes  # noqa: E402
from tests.bundles import add_tiny_detector, make_tiny_bundle  # noqa: E402
from tests.sameo_ros.node_bench import RELIABLE, Client, record_one, start_node  # noqa: E402


@pytest.fixture
def client():
    client = Client()
    yield client
    client.close()


def found_for(found, stamp_ns):
    return [one for one in found if stamp_to_ns(one.header.stamp) == stamp_ns]


def is_healthy_after_another(client, pixels):
    client.images.publish(client.image(pixels, time.time_ns()))
    return client.values_now()["level"] == "0"


def test_images_alone_are_answered_under_numbers_that_last(client, tmp_path):
    model = add_tiny_detector(make_tiny_bundle(tmp_path / "tiny"))
    process = start_node(tmp_path, model, detector="builtin")
    found = []
    client.node.create_subscription(Detection2DArray, "/sameo/detections", found.append, RELIABLE)
    try:
        client.until(lambda: client.images.get_subscription_count())
        client.until(lambda: client.node.count_publishers("/sameo/masks"))
        bright, black = np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64, 3), np.uint8)
        for pixels in (bright, black, bright):
            image = client.image(pixels, time.time_ns())  # other stamps are a fault of the clock
            stamp_ns = stamp_to_ns(image.header.stamp)
            client.images.publish(image)
            message = client.until(lambda stamp_ns=stamp_ns: client.find_masks(stamp_ns))
            assert message.header == image.header
            client.until(lambda stamp_ns=stamp_ns: found_for(found, stamp_ns))
            (detections,) = found_for(found, stamp_ns)
            boxes = detections_to_boxes(detections)
            if pixels is black:
                assert len(boxes) == len(message.masks) == 0
                continue
            assert boxes.boxes_xyxy.tolist() == [[8, 8, 32, 40], [40, 40, 64, 64]]
            np.testing.assert_allclose(boxes.scores, [1, 0.5], atol=1e-3)
            # The same numbers again after the image in which nothing was found.
            assert [one.detection_id for one in message.masks] == ["1", "2"]
        values = client.values_now()
        assert values["detections_received"] == values["masks_published"] == "3"
        # While images come nothing is wrong: a detector that does not exist is not missed.
        client.until(lambda: is_healthy_after_another(client, bright))
        # Then the images are missed, and the detector is not.
        client.until(lambda: "problem_image_topic" in client.values())
        client.spin(1.0)
        assert "problem_detections_topic" not in client.values()
        # Boxes of anybody else are not read.
        assert client.detections.get_subscription_count() == 0
    finally:
        assert process.stop() == 0, process.text()


def test_what_the_detector_finds_is_recorded(client, tmp_path):
    model = add_tiny_detector(make_tiny_bundle(tmp_path / "tiny"))
    process = start_node(tmp_path, model, detector="builtin")
    client.node.destroy_publisher(client.detections)
    bright = np.full((64, 64, 3), 255, np.uint8)
    try:
        record = record_one(client, tmp_path, lambda: client.images.publish(client.image(bright)))
    finally:
        assert process.stop() == 0, process.text()
    assert [mask["detection_id"] for mask in record["masks"]] == ["1", "2"]


def test_a_model_without_detector_is_named(client, tmp_path):
    process = start_node(tmp_path, make_tiny_bundle(tmp_path / "tiny"), detector="builtin")
    try:
        sentence = "detector is builtin, but model tiny has no detector"
        client.until(lambda: sentence in client.values().get("message", ""))
    finally:
        assert process.stop() == 0, process.text()
