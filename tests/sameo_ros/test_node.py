"""The node over real DDS: what comes in, what goes out, and what it makes of bad input."""

import math

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, PointCloud2  # noqa: E402
from std_srvs.srv import SetBool  # noqa: E402
from vision_msgs.msg import Detection3DArray, Point2D  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from sameo_ros.core.stamps import stamp_to_ns  # noqa: E402
from sameo_ros.messages.conversions import image_view  # noqa: E402
from sameo_ros.messages.masks import crop_to_mask  # noqa: E402
from sameo_ros.msg import AmodalMaskArray  # noqa: E402
from sameo_ros.srv import SegmentBoxes  # noqa: E402
from tests.sameo_ros.node_bench import (  # noqa: E402
    BOX,
    RELIABLE,
    Client,
    boxes_for,
    start_node,
)

LARGE_WAIT_S = 120.0  # a busy machine moves 36 MB slowly
NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module")
def running(tiny, tmp_path_factory):
    """One node for all tests of this file, and a client."""
    process = start_node(tmp_path_factory.mktemp("node"), tiny)
    client = Client()
    try:
        client.until_active()
        yield process, client
        assert process.popen.poll() is None, process.text()
    finally:
        client.close()
        status = process.stop()
    assert status == 0, process.text()
    assert "Traceback" not in process.text()


@pytest.fixture
def client(running):
    client = running[1]
    client.masks.clear()
    return client


@pytest.fixture
def process(running):
    return running[0]


def test_masks_come_under_the_header_of_the_image(client):
    image = client.image(np.full((64, 64, 3), 102, np.uint8))
    message = client.answer(image, boxes_for(image, BOX, (0, 0, 32, 32)))
    assert message.header == image.header
    assert (message.image_height, message.image_width, message.model) == (64, 64, "tiny")
    first, second = message.masks
    assert (first.detection_index, second.detection_index) == (0, 1)
    assert (first.detection_id, first.class_id, first.detection_score) == ("id 0", "mug", 0.5)
    assert first.predicted_iou == pytest.approx(0.4, abs=1e-5)  # red is 102 / 255
    assert first.score == pytest.approx(0.2, abs=1e-5)  # 0.5 * 0.4
    assert first.occlusion_ratio == pytest.approx(0.5, abs=0.01)  # the lower half is hidden
    amodal, visible = crop_to_mask(first.amodal), crop_to_mask(first.visible)
    assert amodal.box_xyxy == (16, 16, 48, 48)
    assert visible.box_xyxy == (16, 16, 48, 32)
    assert first.amodal.image.header == image.header
    # Box 1's visible part is rows 0 to 16; it covers nothing of box 0's hidden rows 32 to 48.
    # Box 1's hidden part is rows 16 to 32, of whose 32 * 16 pixels box 0 shows half in front.
    assert list(first.occluded_by) == []
    assert list(second.occluded_by) == [0]


def test_no_boxes_are_answered_with_no_masks(client):
    image = client.image()
    message = client.answer(image, boxes_for(image))
    assert message.header == image.header
    assert (message.image_height, message.image_width) == (64, 64)
    assert list(message.masks) == []


@pytest.mark.parametrize(
    "box",
    [(NAN, 1, 30, 30), (1, 1, INF, 30), (40, 10, 20, 30), (9, 9, 9, 30), (70, 70, 90, 90)],
    ids=["nan", "infinite", "inverted", "zero-sized", "outside"],
)
def test_a_box_that_cannot_be_used_is_left_out_and_counted(client, box):
    before = int(client.values_now()["boxes_rejected"])
    image = client.image()
    message = client.answer(image, boxes_for(image, BOX, box, BOX))
    assert [mask.detection_index for mask in message.masks] == [0, 2]
    assert int(client.values_now()["boxes_rejected"]) == before + 1


def test_a_rotated_box_becomes_its_hull(client):
    # 20 x 10 around (32, 32), turned by 90 degrees: 10 x 20.
    image = client.image()
    message = client.answer(image, boxes_for(image, (22, 27, 42, 37), theta=math.pi / 2))
    assert crop_to_mask(message.masks[0].amodal).box_xyxy == (27, 22, 37, 42)


def test_300_boxes_are_all_answered(client):
    boxes = [(x, y, x + 16, y + 16) for x in range(0, 40, 2) for y in range(0, 30, 2)]
    image = client.image()
    message = client.answer(image, boxes_for(image, *boxes))
    assert [mask.detection_index for mask in message.masks] == list(range(300))


def test_boxes_whose_image_never_came_are_dropped_with_a_reason(client, process):
    before = int(client.values_now()["dropped_unmatched"])
    client.detections.publish(boxes_for(client.image(), BOX))
    client.until_count("dropped_unmatched", before + 1)
    client.until(lambda: "no usable image of that stamp came" in process.text())
    assert len(client.answer_good_frame().masks) == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"step": 10}, "image step must be at least 192 bytes"),
        ({"data": [0] * 100}, "image data must hold step * height = 12288 bytes; got 100"),
        ({"encoding": "no_such_encoding"}, "got 'no_such_encoding'"),
        ({"height": 0}, "image must have at least one pixel; got 64x0"),
    ],
    ids=["step", "length", "encoding", "no pixels"],
)
def test_a_bad_image_is_counted_named_and_survived(client, process, fields, sentence):
    before = client.values_now()
    rejected, unmatched = int(before["images_rejected"]), int(before["dropped_unmatched"])
    image = client.image(**fields)
    client.send(image, boxes_for(image, BOX))
    client.until_count("images_rejected", rejected + 1)
    client.until_count("dropped_unmatched", unmatched + 1)
    client.until(lambda: client.values()["level"] == "1")
    assert client.find_masks(stamp_to_ns(image.header.stamp)) is None
    assert len(client.answer_good_frame().masks) == 1
    # The log has a kind of problem once per period; the diagnostics have each.
    messages = [array.status[0].message for array in client.diagnostics]
    assert any(sentence in text for text in (*messages, process.text()))


def test_a_bad_image_is_counted_at_once_without_boxes(client):
    rejected = int(client.values_now()["images_rejected"])
    client.images.publish(client.image(step=10))
    client.until_count("images_rejected", rejected + 1)


def test_padded_rows_are_skipped(client):
    # The padding is white: if it were read as pixels, the mean brightness would not be 0.
    padded = np.full((64, 70, 3), 255, np.uint8)
    padded[:, :64] = 0
    image = client.image(padded, width=64, step=210)
    assert client.answer(image, boxes_for(image, BOX)).masks[0].predicted_iou == 0


@pytest.fixture
def patient(client):
    """The node's client while the node keeps images and boxes for each other for long."""
    assert client.set(max_age_s=60.0, max_wait_s=10.0).successful
    yield client
    assert client.set(max_age_s=2.0, max_wait_s=0.5).successful


@pytest.mark.parametrize("size_hw", [(1, 1), (3000, 4000)], ids=["1x1", "4000x3000"])
def test_extreme_sizes_are_answered(patient, size_hw):
    client = patient
    height, width = size_hw
    received = int(client.values_now()["images_received"])
    image = client.image(np.zeros((height, width, 3), np.uint8))
    client.images.publish(image)  # once: nothing of 36 MB may be lost on the way
    client.until(lambda: int(client.values()["images_received"]) > received, LARGE_WAIT_S)
    client.detections.publish(boxes_for(image, (0, 0, width, height)))
    stamp_ns = stamp_to_ns(image.header.stamp)
    message = client.until(lambda: client.find_masks(stamp_ns), LARGE_WAIT_S)
    assert (message.image_height, message.image_width) == size_hw
    amodal = crop_to_mask(message.masks[0].amodal)
    assert amodal.box_xyxy == (0, 0, width, height)


def test_stamps_may_go_backwards(client):
    jumps = int(client.values_now()["time_jumps"])
    first = client.next_stamp_ns()
    stamps = [first, first + 10_000_000, first + 20_000_000]
    for _ in range(3):  # a recording that loops
        for stamp_ns in stamps:
            client.masks.clear()
            image = client.image(stamp_ns=stamp_ns)
            client.answer(image, boxes_for(image, BOX))
    client.until_count("time_jumps", jumps + 2)
    client.next_stamp_ns(100_000_000)


def test_zero_stamps_are_answered_with_a_warning(client, process):
    image = client.image(stamp_ns=0)
    assert len(client.answer(image, boxes_for(image, BOX)).masks) == 1
    client.until(lambda: "stamps are zero" in process.text())


def test_the_overlay_comes_when_somebody_subscribes(client):
    overlays = []
    subscription = client.node.create_subscription(
        Image, "/sameo/overlay", overlays.append, RELIABLE
    )
    client.until(lambda: client.node.count_subscribers("/sameo/overlay"))
    client.spin(0.3)  # until the node knows of it, too
    image = client.image(np.full((240, 320, 3), 90, np.uint8))
    client.answer(image, boxes_for(image, (80, 60, 240, 180)))
    # The answer to an image before may have been on its way.
    (overlay,) = client.until(lambda: [one for one in overlays if one.header == image.header])
    client.node.destroy_subscription(subscription)
    drawn = image_view(overlay)
    assert drawn.shape == (240, 320, 3)
    assert (drawn[:40] == 90).all()
    assert (drawn[70:110, 100:220] != 90).any()


def test_objects_lie_where_depth_and_calibration_say(client, process):
    node, boxes3d, markers, points = client.node, [], [], []
    subscriptions = [
        node.create_subscription(kind, f"/sameo/{topic}", found.append, RELIABLE)
        for kind, topic, found in (
            (Detection3DArray, "objects", boxes3d),
            (MarkerArray, "markers", markers),
            (PointCloud2, "points", points),
        )
    ]
    depths = node.create_publisher(Image, "depth", RELIABLE)
    infos = node.create_publisher(CameraInfo, "camera_info", RELIABLE)
    client.until(lambda: depths.get_subscription_count() and infos.get_subscription_count())
    client.until(lambda: node.count_subscribers("/sameo/points"))
    assert client.set(points_of="id 0").successful

    def send_until(condition):
        """Send frames until it is so: on a busy machine depth may miss its boxes."""
        client.until(lambda: send() and condition())

    def send():
        image = client.image()
        depth = Image(header=image.header, height=64, width=64, encoding="16UC1", step=128)
        depth.data = np.full((64, 64), 2000, "<u2").tobytes()
        depths.publish(depth)
        client.spin(0.1)  # depth comes before the boxes, as with any camera
        return client.answer(image, boxes_for(image, (32, 32, 48, 48)))

    send_until(lambda: "depth comes without camera_info" in process.text())
    info = CameraInfo(height=64, width=64, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [100.0, 0, 32, 0, 100, 32, 0, 0, 1]
    info.header.frame_id = "depth_optical"
    infos.publish(info)
    send_until(lambda: boxes3d and markers and points)
    (found,) = boxes3d[-1].detections
    assert boxes3d[-1].header.frame_id == "depth_optical"
    assert client.find_masks(stamp_to_ns(boxes3d[-1].header.stamp))
    # The whole object spans columns 32 to 47, 0 to 15 pixels off the centre: 0.3 m at 2 m.
    assert found.bbox.size.x == pytest.approx(0.3, abs=1e-6)
    assert found.bbox.center.position.z == pytest.approx(2.0)
    # The upper half alone is visible, but the centre is that of the whole: rows 32 to 47.
    assert found.results[0].pose.pose.position.y == pytest.approx(7.5 * 0.02, abs=0.002)
    assert found.results[0].pose.pose == found.bbox.center
    assert len(markers[-1].markers) == 3
    # Columns 34 to 45, rows 34 to 37, less the corners, which up-sampling rounds off.
    assert points[-1].width == 12 * 4 - 4
    # A call about the latest frame is answered with its depth, one about another image is not.
    latest, given = (
        client.call(client.segment, SegmentBoxes.Request(detections=boxes_for(image, BOX), **more))
        for image in [client.image()]
        for more in ({}, {"image": image})
    )
    assert latest.objects.detections[0].results
    assert latest.objects.header.frame_id == "depth_optical"
    assert given.success
    assert not given.objects.detections
    # Calibration that came once outlasts a pause, and its silence is no problem.
    enable = node.create_client(SetBool, "/sameo/enable")
    assert client.call(enable, SetBool.Request(data=False)).success
    client.until(lambda: not depths.get_subscription_count())
    boxes3d.clear()
    assert client.call(enable, SetBool.Request(data=True)).success
    client.until_active().until(depths.get_subscription_count)
    send_until(lambda: boxes3d)
    client.spin(2.0)  # a silence of one second means nothing
    assert "problem_depth_topic" in client.values_now()
    assert "problem_camera_info_topic" not in client.values()
    for subscription in subscriptions:
        node.destroy_subscription(subscription)


def test_a_publisher_that_does_not_fit_is_named_with_the_remedy(client, process):
    # The node of this file asks for reliable images.
    publisher = client.node.create_publisher(Image, "image", qos_profile_sensor_data)
    client.until(lambda: "a publisher of /image uses another reliability" in process.text())
    client.node.destroy_publisher(publisher)
    assert "-p qos_overrides./image.subscription.reliability" in process.text()


def test_a_subscriber_that_does_not_fit_is_named_with_the_remedy(client, process):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    subscription = client.node.create_subscription(
        AmodalMaskArray, "/sameo/masks", lambda _: None, latched
    )
    sentence = "a subscriber of /sameo/masks uses another durability"
    client.until(lambda: sentence in process.text())
    client.node.destroy_subscription(subscription)


def test_a_call_is_answered_for_its_own_image_and_for_the_latest_frame(client):
    image = client.image(np.zeros((64, 96, 3), np.uint8))
    request = SegmentBoxes.Request(image=image, detections=boxes_for(image, BOX))
    response = client.call(client.segment, request)
    assert response.success
    assert response.message == ""
    assert response.masks.header == image.header
    assert response.masks.image_width == 96
    assert len(response.masks.masks) == 1

    frame = client.image(np.zeros((64, 80, 3), np.uint8))
    client.answer(frame, boxes_for(frame))
    request = SegmentBoxes.Request(detections=boxes_for(frame, BOX, BOX))
    response = client.call(client.segment, request)
    assert response.masks.header == frame.header
    assert len(response.masks.masks) == 2


def test_a_call_about_a_frame_that_is_too_old_is_refused(client):
    client.answer_good_frame()
    assert client.set(segment_max_age_s=0.01).successful
    client.spin(0.05)
    response = client.call(client.segment, SegmentBoxes.Request())
    assert client.set(segment_max_age_s=2.0).successful
    assert not response.success
    assert "longer than segment_max_age_s, 0.01 s" in response.message
    assert response.masks.image_width == 0
    assert not response.objects.detections


def test_a_call_with_a_bad_image_says_what_is_wrong(client):
    image = client.image(step=1)
    request = SegmentBoxes.Request(image=image, detections=boxes_for(image, BOX))
    response = client.call(client.segment, request)
    assert not response.success
    assert "image step must be at least 192 bytes" in response.message
    assert response.masks.image_width == 0


def test_a_call_with_points_that_cannot_be_used_says_why(client):
    image = client.image()
    request = SegmentBoxes.Request(image=image, detections=boxes_for(image, BOX))
    request.points, request.point_boxes = [Point2D(x=20.0, y=20.0)], [1]
    assert "must be below 1, the number of boxes" in client.call(client.segment, request).message
    # The model of these tests was exported without clicks.
    request.point_boxes = [0]
    response = client.call(client.segment, request)
    assert not response.success
    assert "points_xy cannot be taken" in response.message


def test_calls_at_once_are_all_answered_while_frames_go_on(client):
    image = client.image()
    request = SegmentBoxes.Request(image=image, detections=boxes_for(image, BOX))
    futures = [client.segment.call_async(request) for _ in range(10)]
    assert len(client.answer_good_frame().masks) == 1
    client.until(lambda: all(future.done() for future in futures))
    assert all(len(future.result().masks.masks) == 1 for future in futures)


def test_parameters_change_while_frames_go_on(client):
    assert client.set(visible=False, min_detection_score=0.6).successful
    image = client.image()
    assert list(client.answer(image, boxes_for(image, BOX)).masks) == []  # score 0.5
    assert client.set(min_detection_score=0.0).successful
    image = client.image()
    (mask,) = client.answer(image, boxes_for(image, BOX)).masks
    assert math.isnan(mask.occlusion_ratio)
    assert mask.visible.image.width == 0
    assert client.set(visible=True).successful
    image = client.image()
    assert client.answer(image, boxes_for(image, BOX)).masks[0].occlusion_ratio < 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"encode_ahead": 3}, "encode_ahead must be one of on, off, auto; got '3'"),
        ({"max_age_s": "long"}, "max_age_s must be of type float; got 'long'"),
        ({"encode_ahead": "maybe"}, "encode_ahead must be one of on, off, auto; got 'maybe'"),
        ({"model": "other"}, "deactivate it first"),
        ({"visible": False, "encode_ahead": "maybe"}, "encode_ahead must be one of"),
    ],
)
def test_a_wrong_change_is_refused_as_a_whole(client, values, reason):
    result = client.set(**values)
    assert not result.successful
    assert reason in result.reason
    image = client.image()
    assert client.answer(image, boxes_for(image, BOX)).masks[0].occlusion_ratio < 1


def test_everything_received_is_published_or_counted(client):
    before = int(client.values_now()["dropped_unmatched"])
    client.answer_good_frame()
    client.detections.publish(boxes_for(client.image(), BOX))  # its image never comes
    client.until_count("dropped_unmatched", before + 1)
    values = client.until_accounted()
    decode_ms, overhead_ms, answer_ms = (
        float(values[f"{stage}_ms_p50"])
        for stage in ("latency_decode", "overhead", "latency_answer")
    )
    assert decode_ms > 0
    assert 0 < overhead_ms < answer_ms
    assert decode_ms < answer_ms
    assert values["backend"] == "onnxruntime"
