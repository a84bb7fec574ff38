"""Detectors as they are, in front of the node in a process of its own."""

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from std_srvs.srv import SetBool  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402

from tests.sameo_ros.node_bench import (  # noqa: E402
    BOX,
    RELIABLE,
    Client,
    boxes_for,
    record_one,
    start_node,
    yolo_boxes_for,
)

TOPIC = "/yolo/detections"
OVERRIDES = {f"qos_overrides.{TOPIC}.subscription.reliability": "reliable"}


@pytest.fixture
def client():
    client = Client()
    yield client
    client.close()


@pytest.fixture
def start(tmp_path, tiny):
    processes = []

    def start(*arguments, **parameters):
        processes.append(start_node(tmp_path, tiny, *arguments, **parameters))
        return processes[-1]

    yield start
    for process in processes:
        assert process.stop() == 0, process.text()


def answer_soon(client, make_boxes):
    """Send images with boxes until one is answered; a first one may precede the discovery."""
    sent = []

    def send():
        image = client.image(np.full((64, 64, 3), 255, np.uint8))
        sent.append(client.send(image, make_boxes(image)))
        client.spin(0.1)
        return next((one for one in map(client.find_masks, sent) if one), None)

    return client.until(send)


def test_yolo_detections_are_read_where_their_publisher_offers_them(client, start):
    yolo_msgs = pytest.importorskip(
        "yolo_msgs.msg", reason="yolo_msgs is not generated: run `make setup`"
    )
    process = start("-r", f"detections:={TOPIC}", **OVERRIDES)
    client.node.destroy_publisher(client.detections)
    client.detections = client.node.create_publisher(yolo_msgs.DetectionArray, TOPIC, RELIABLE)
    (mask,) = answer_soon(client, yolo_boxes_for).masks
    assert (mask.detection_id, mask.class_id, mask.detection_score) == ("17", "mug", 0.75)
    assert (mask.amodal.x, mask.amodal.y) == (16, 16)
    assert (mask.amodal.image.width, mask.amodal.image.height) == (32, 32)
    assert "is read as yolo_msgs/msg/DetectionArray" in process.text()
    # Another detector takes its place.
    client.node.destroy_publisher(client.detections)
    client.detections = client.node.create_publisher(Detection2DArray, TOPIC, RELIABLE)
    (mask,) = answer_soon(client, lambda image: boxes_for(image, BOX)).masks
    assert mask.detection_id == "id 0"


def test_only_classes_that_are_asked_for_are_answered(client, start):
    start(classes="[cup, can]")
    client.until_active()
    assert answer_soon(client, lambda image: boxes_for(image, BOX)).masks == []
    assert client.set(classes="mug").successful
    assert len(answer_soon(client, lambda image: boxes_for(image, BOX)).masks) == 1
    assert client.values_now()["boxes_rejected"] == "0"


def test_boxes_of_a_letterboxed_network_come_back_to_the_image_and_others_are_refused(
    client, start
):
    start(detections_frame="letterbox:128x256")  # scale 2, bars of 64 above and below
    client.until_active()
    (mask,) = answer_soon(client, lambda image: boxes_for(image, (32, 96, 96, 160))).masks
    assert (mask.amodal.x, mask.amodal.y) == (16, 16)
    assert (mask.amodal.image.width, mask.amodal.image.height) == (32, 32)
    result = client.set(detections_frame="letterbox")
    assert not result.successful
    assert "letterbox:640x640" in result.reason


def test_the_node_is_switched_off_and_on_beside_its_lifecycle(client, start):
    start()
    client.until_active()
    enable = client.node.create_client(SetBool, "/sameo/enable")
    assert client.call(enable, SetBool.Request(data=False)).message == "disabled"
    client.until(lambda: client.images.get_subscription_count() == 0)
    assert client.state() == "active"
    client.until(lambda: "disabled by ~/enable" in client.values().get("message", ""))
    # A transition does not switch it on.
    assert client.transition("deactivate")
    assert client.transition("activate")
    client.spin(0.5)
    assert client.images.get_subscription_count() == 0
    assert client.call(enable, SetBool.Request(data=True)).success
    assert len(answer_soon(client, lambda image: boxes_for(image, BOX)).masks) == 1
    client.until(lambda: "disabled" not in client.values().get("message", ""))


def test_scores_that_are_never_set_do_not_hide_the_objects(client, start):
    process = start(min_detection_score=0.5)
    client.until_active()

    def unset(image):
        boxes = boxes_for(image, BOX)
        boxes.detections[0].results[0].hypothesis.score = 0.0
        return boxes

    (mask,) = answer_soon(client, unset).masks
    assert mask.detection_score == 1.0
    assert process.text().count("all detection scores are 0") == 1


def test_yolo_detections_are_recorded(client, start, tmp_path):
    yolo_msgs = pytest.importorskip(
        "yolo_msgs.msg", reason="yolo_msgs is not generated: run `make setup`"
    )
    start()
    client.node.destroy_publisher(client.detections)
    kind = yolo_msgs.DetectionArray
    client.detections = client.node.create_publisher(kind, "detections", RELIABLE)

    def send():
        image = client.image()
        client.send(image, yolo_boxes_for(image))

    (mask,) = record_one(client, tmp_path, send)["masks"]
    assert (mask["detection_id"], mask["class_id"]) == ("17", "mug")
