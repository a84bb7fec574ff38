"""Bags in, bags out: written and read with rosbags, no ROS anywhere."""

import contextlib
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed")

from rosbags.typesys import Stores, get_types_from_msg, get_typestore  # noqa: E402

from sameo_ros.bag import main  # noqa: E402
from sameo_ros.bag_types import (  # noqa: E402
    SOURCE_FOLDERS,
    build_typestore,
    make_message,
    make_storable,
)
from sameo_ros.messages.masks import crop_to_mask  # noqa: E402
from tests.sameo_ros.processes import ROOT  # noqa: E402

MS = 1_000_000
STORE = build_typestore()
IMAGE, BOXES = "sensor_msgs/msg/Image", "vision_msgs/msg/Detection2DArray"
MASKS, TEXT = "sameo_ros/msg/AmodalMaskArray", "std_msgs/msg/String"


def stamped(name, stamp_ms):
    message = make_message(STORE, name)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ms * MS, 10**9)
    message.header.frame_id = "camera"
    return message


def image(stamp_ms, red=0):
    message = stamped(IMAGE, stamp_ms)
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[..., 0] = red
    message.height, message.width, message.step, message.encoding = 64, 64, 192, "rgb8"
    message.data = pixels.ravel()
    return message


def boxes(stamp_ms, *boxes_xyxy):
    message = stamped(BOXES, stamp_ms)
    for x1, y1, x2, y2 in boxes_xyxy:
        detection = make_message(STORE, "vision_msgs/msg/Detection2D")
        detection.bbox.center.position.x = (x1 + x2) / 2
        detection.bbox.center.position.y = (y1 + y2) / 2
        detection.bbox.size_x, detection.bbox.size_y = float(x2 - x1), float(y2 - y1)
        message.detections.append(detection)
    return make_storable(STORE, message)


def write_bag(path, messages, plugin="MCAP", version=9, stores=None):
    """Write (topic, type, milliseconds, message) in their order, some topics with other types."""
    storage = getattr(rosbag2.StoragePlugin, plugin)
    with rosbag2.Writer(path, version=version, storage_plugin=storage) as writer:
        connections = {}
        for topic, kind, time_ms, message in messages:
            store = (stores or {}).get(topic, STORE)
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], time_ms * MS, store.serialize_cdr(message, kind))
    return path


def store_with(**definitions):
    """Return types of another version: definitions by name, with __ for / in it."""
    store = get_typestore(Stores.EMPTY)
    store.register(dict(get_typestore(Stores.LATEST).fielddefs))
    for name, definition in definitions.items():
        store.register(get_types_from_msg(definition, name.replace("__", "/")))
    return store


def read_bag(path):
    with rosbag2.Reader(path) as reader:
        return [
            (connection.topic, time_ns // MS, STORE.deserialize_cdr(data, connection.msgtype))
            for connection, time_ns, data in reader.messages()
        ]


BOX = (16, 16, 48, 48)
RECORDED = [
    ("/image", IMAGE, 1000, image(1000, red=51)),
    ("/note", TEXT, 1010, STORE.types[TEXT]("hello")),
    ("/image", IMAGE, 1033, image(1033)),
    ("/boxes", BOXES, 1100, boxes(1000, BOX, (9, 9, 9, 9), (0, 0, 32, 32))),
    ("/boxes", BOXES, 1133, boxes(1033)),
    ("/boxes", BOXES, 1140, boxes(1050, BOX)),  # its image was not recorded
    ("/boxes", BOXES, 1150, boxes(1160, BOX)),  # comes before its image
    ("/image", IMAGE, 1170, image(1160)),
]


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_every_boxes_message_with_an_image_is_answered(tmp_path, tiny, plugin, storage, capsys):
    source = write_bag(tmp_path / "in", RECORDED, plugin)
    target = tmp_path / "out"
    arguments = [str(source), str(target), "--model", str(tiny), "--storage", storage]
    assert main([*arguments, "--backend", "onnxruntime"]) == 0
    said = capsys.readouterr()
    assert "3 of 4 detection messages are answered" in said.out
    assert "not answered, by cause: 1 dropped_unmatched" in said.err
    assert not target.with_name("out.partial").exists()

    messages = read_bag(target)
    copied = [(topic, time_ms) for topic, time_ms, _ in messages if topic != "/sameo/masks"]
    assert copied == [(topic, time_ms) for topic, _, time_ms, _ in RECORDED]
    assert [m.data for topic, _, m in messages if topic == "/note"] == ["hello"]

    masks = [(time_ms, message) for topic, time_ms, message in messages if topic == "/sameo/masks"]
    assert [time_ms for time_ms, _ in masks] == [1100, 1133, 1170]
    stamps_ms = [m.header.stamp.sec * 1000 + m.header.stamp.nanosec // MS for _, m in masks]
    assert stamps_ms == [1000, 1033, 1160]
    first = masks[0][1]
    assert (first.model, first.header.frame_id, first.image_width) == ("tiny", "camera", 64)
    assert [mask.detection_index for mask in first.masks] == [0, 2]
    assert first.masks[0].predicted_iou == pytest.approx(0.2, abs=1e-5)  # 51 / 255
    assert crop_to_mask(first.masks[0].amodal).box_xyxy == BOX
    assert crop_to_mask(first.masks[0].visible).box_xyxy == (16, 16, 48, 32)
    assert first.masks[1].occluded_by.tolist() == [0]
    assert masks[1][1].masks == []


YOLO = "yolo_msgs/msg/DetectionArray"


def yolo_boxes(stamp_ms, *boxes_xyxy):
    """Make detections of yolo_ros."""
    message = stamped(YOLO, stamp_ms)
    for i, (x1, y1, x2, y2) in enumerate(boxes_xyxy):
        detection = make_message(STORE, "yolo_msgs/msg/Detection")
        detection.class_id, detection.class_name, detection.score = 41, "cup", 0.5
        detection.id = f"track {i}"
        position = detection.bbox.center.position
        position.x, position.y = (x1 + x2) / 2, (y1 + y2) / 2
        detection.bbox.size.x, detection.bbox.size.y = float(x2 - x1), float(y2 - y1)
        message.detections.append(detection)
    return make_storable(STORE, message)


def find_masks(path):
    return [message for topic, _, message in read_bag(path) if topic == "/sameo/masks"]


def uninstall_yolo_msgs(monkeypatch, empty):
    """Hide the definitions that this machine has."""
    monkeypatch.setitem(SOURCE_FOLDERS, "yolo_msgs", empty)
    monkeypatch.setattr(sys, "prefix", str(empty))
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    assert YOLO not in build_typestore().types


@pytest.mark.parametrize("installed", [True, False])
def test_detections_of_yolo_ros_are_answered_with_tracks_and_classes(
    tmp_path, tiny, monkeypatch, installed
):
    recorded = [RECORDED[0], ("/boxes", YOLO, 1100, yolo_boxes(1000, BOX, (0, 0, 32, 32)))]
    source = write_bag(tmp_path / "in", recorded)
    if not installed:
        uninstall_yolo_msgs(monkeypatch, tmp_path)
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 0
    (message,) = find_masks(tmp_path / "out")
    assert [mask.detection_id for mask in message.masks] == ["track 0", "track 1"]
    assert [mask.class_id for mask in message.masks] == ["cup", "cup"]
    assert [mask.detection_score for mask in message.masks] == [0.5, 0.5]
    assert crop_to_mask(message.masks[0].amodal).box_xyxy == BOX


def test_a_type_of_detections_that_nobody_defines_is_named(tmp_path, tiny, monkeypatch, capsys):
    recorded = [RECORDED[0], ("/boxes", YOLO, 1100, yolo_boxes(1000, BOX))]
    source = write_bag(tmp_path / "in", recorded, "SQLITE3")
    (file,) = source.glob("*.db3")
    with contextlib.closing(sqlite3.connect(file)) as base:
        base.execute("DELETE FROM message_definitions")
        base.commit()
    uninstall_yolo_msgs(monkeypatch, tmp_path)
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 1
    assert f"the bag does not define {YOLO} of /boxes; source a" in capsys.readouterr().err


def test_of_two_topics_with_detections_one_must_be_named(tmp_path, tiny, capsys):
    recorded = [*RECORDED[:4], ("/yolo", YOLO, 1100, yolo_boxes(1000))]
    source = write_bag(tmp_path / "in", recorded)
    arguments = [str(source), str(tmp_path / "out"), "--model", str(tiny)]
    assert main(arguments) == 1
    assert "the bag has /boxes, /yolo" in capsys.readouterr().err
    assert main([*arguments, "--detections", "/yolo"]) == 0
    (message,) = find_masks(tmp_path / "out")
    assert message.masks == []


def test_boxes_that_have_their_stamp_inside_alone_are_answered(tmp_path, tiny):
    message = boxes(1000, BOX)
    message.detections[0].header.stamp = message.header.stamp
    message.header = make_message(STORE, "std_msgs/msg/Header")
    source = write_bag(tmp_path / "in", [RECORDED[0], ("/boxes", BOXES, 1100, message)])
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 0
    assert len(find_masks(tmp_path / "out")) == 1


def test_depth_and_calibration_add_3d_boxes(tmp_path, tiny, capsys):
    depth = stamped(IMAGE, 1000)
    depth.height, depth.width, depth.step, depth.encoding = 64, 64, 128, "16UC1"
    depth.data = np.full((64, 64), 2000, "<u2").view(np.uint8).ravel()
    info = stamped("sensor_msgs/msg/CameraInfo", 1000)
    info.header.frame_id = "depth_optical"
    info.height, info.width, info.k = 64, 64, [100.0, 0, 32, 0, 100, 32, 0, 0, 1]
    make_storable(STORE, info)
    recorded = [
        ("/image", IMAGE, 1000, image(1000)),
        ("/depth", IMAGE, 1001, depth),
        ("/info", "sensor_msgs/msg/CameraInfo", 1002, info),
        ("/boxes", BOXES, 1100, boxes(1000, (32, 32, 48, 48))),
        ("/image", IMAGE, 1133, image(1133)),  # no depth near enough
        ("/boxes", BOXES, 1200, boxes(1133, (32, 32, 48, 48))),
    ]
    source = write_bag(tmp_path / "in", recorded)
    arguments = [str(source), str(tmp_path / "out"), "--model", str(tiny), "--image", "/image"]
    assert main([*arguments, "--depth", "/depth", "--camera-info", "/info"]) == 0
    assert "1 of 2 answers have no 3D boxes" in capsys.readouterr().err
    messages = read_bag(tmp_path / "out")
    assert [topic for topic, _, _ in messages].count("/sameo/masks") == 2
    ((time_ms, found),) = [(at, m) for topic, at, m in messages if topic == "/sameo/objects"]
    assert time_ms == 1100
    assert (found.header.frame_id, found.header.stamp.sec) == ("depth_optical", 1)
    # Columns 32 to 47 lie 0 to 15 pixels off the centre: 0.3 m at 2 m.
    (box,) = found.detections
    assert box.bbox.size.x == pytest.approx(0.3, abs=1e-6)
    assert box.bbox.center.position.z == pytest.approx(2.0)
    assert box.results[0].pose.covariance[0] > 0


def recorded_with_depth(info):
    depth = stamped(IMAGE, 1000)
    depth.height, depth.width, depth.step, depth.encoding = 64, 64, 128, "16UC1"
    depth.data = np.full((64, 64), 2000, "<u2").view(np.uint8).ravel()
    return [
        ("/image", IMAGE, 1000, image(1000)),
        ("/depth", IMAGE, 1001, depth),
        ("/info", "sensor_msgs/msg/CameraInfo", 1002, info),
        ("/boxes", BOXES, 1100, boxes(1000, (32, 32, 48, 48))),
    ]


def calibration(d=(), model="plumb_bob", p_focal=100.0):
    info = stamped("sensor_msgs/msg/CameraInfo", 1000)
    info.height, info.width, info.k = 64, 64, [100.0, 0, 32, 0, 100, 32, 0, 0, 1]
    info.p = [p_focal, 0, 32, 0, 0, p_focal, 32, 0, 0, 0, 1, 0]
    info.d, info.distortion_model = list(d), model
    return make_storable(STORE, info)


WITH_DEPTH = ["--image", "/image", "--depth", "/depth", "--camera-info", "/info"]


def test_a_calibration_that_nobody_knows_costs_the_3d_boxes_alone(tmp_path, tiny, capsys):
    source = write_bag(tmp_path / "in", recorded_with_depth(calibration([-0.1, 0.01, 0.0])))
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny), *WITH_DEPTH]) == 0
    said = capsys.readouterr()
    assert "1 of 1 detection messages are answered" in said.out
    assert "coefficients in D, or none; got 3" in said.err
    assert "Traceback" not in said.err
    topics = [topic for topic, _, _ in read_bag(tmp_path / "out")]
    assert "/sameo/masks" in topics
    assert "/sameo/objects" not in topics


@pytest.mark.parametrize(
    ("rectified", "size"),
    # The object is 15 pixels wide at 2 m; P has half the focal length, and at the barrel's edge,
    # where K and D would count, a pixel is wider than in the middle.
    [("auto", 0.6), ("on", 0.6), ("off", 0.3)],
)
def test_a_rectified_image_can_be_named_and_is_recognised(tmp_path, tiny, rectified, size):
    info = calibration([-1e-4, 0, 0, 0, 0], p_focal=50.0)
    source = write_bag(tmp_path / "in", recorded_with_depth(info))
    arguments = [str(source), str(tmp_path / "out"), "--model", str(tiny), *WITH_DEPTH]
    assert main([*arguments, "--rectified", rectified]) == 0
    ((_, _, found),) = [one for one in read_bag(tmp_path / "out") if one[0] == "/sameo/objects"]
    assert found.detections[0].bbox.size.x == pytest.approx(size, abs=0.01)


TRANSFORMS = "tf2_msgs/msg/TFMessage"


def transforms(child, parent, xyz, quaternion, stamp_ms):
    message = make_message(STORE, TRANSFORMS)
    one = make_message(STORE, "geometry_msgs/msg/TransformStamped")
    one.header.stamp.sec, one.header.stamp.nanosec = divmod(stamp_ms * MS, 10**9)
    one.header.frame_id, one.child_frame_id = parent, child
    one.transform.translation.x, one.transform.translation.y, one.transform.translation.z = xyz
    turn = one.transform.rotation
    turn.x, turn.y, turn.z, turn.w = quaternion
    message.transforms.append(one)
    return make_storable(STORE, message)


# The camera hangs upside down 3 m above the base's floor and looks straight down.
DOWN = ((0.0, 0.0, 3.0), (1.0, 0.0, 0.0, 0.0))


def test_objects_are_given_in_the_frame_that_is_asked_for(tmp_path, tiny):
    info = calibration()
    info.header.frame_id = "optical"
    recorded = [
        ("/tf_static", TRANSFORMS, 990, transforms("optical", "arm", *DOWN, 0)),
        ("/tf", TRANSFORMS, 995, transforms("arm", "base", (1.0, 0, 0), (0, 0, 0, 1.0), 950)),
        ("/tf", TRANSFORMS, 996, transforms("arm", "base", (2.0, 0, 0), (0, 0, 0, 1.0), 1050)),
        *recorded_with_depth(info),
    ]
    source = write_bag(tmp_path / "in", recorded)
    arguments = [str(source), str(tmp_path / "out"), "--model", str(tiny), *WITH_DEPTH]
    assert main([*arguments, "--target-frame", "base"]) == 0
    ((_, _, found),) = [one for one in read_bag(tmp_path / "out") if one[0] == "/sameo/objects"]
    assert found.header.frame_id == "base"
    (box,) = found.detections
    # (0.15, 0.15, 2) in the optical frame; half way between two poses of the arm, y and z negated.
    position = box.bbox.center.position
    assert (position.x, position.y, position.z) == pytest.approx((1.65, -0.15, 1.0), abs=0.01)


def test_a_frame_that_the_bag_does_not_know_costs_the_3d_boxes_alone(tmp_path, tiny, capsys):
    source = write_bag(tmp_path / "in", recorded_with_depth(calibration()))
    arguments = [str(source), str(tmp_path / "out"), "--model", str(tiny), *WITH_DEPTH]
    assert main([*arguments, "--target-frame", "base"]) == 0
    said = capsys.readouterr()
    assert "target_frame base is not connected with camera by /tf" in said.err
    assert "1 of 1 detection messages are answered" in said.out


@pytest.mark.parametrize("given", [["--depth", "/depth"], ["--camera-info", "/info"]])
def test_depth_and_calibration_belong_together(tmp_path, tiny, capsys, given):
    source = write_bag(tmp_path / "in", recorded_with_depth(calibration()))
    arguments = [str(source), str(tmp_path / "out"), "--model", str(tiny), "--image", "/image"]
    assert main([*arguments, *given]) == 1
    assert re.search(f"^bag: {given[0]} .*3D boxes need both", capsys.readouterr().err)


@pytest.mark.parametrize(("plugin", "suffix"), [("MCAP", ".mcap"), ("SQLITE3", ".db3")])
def test_the_file_of_a_bag_alone_is_read(tmp_path, tiny, plugin, suffix):
    (source,) = write_bag(tmp_path / "in", RECORDED, plugin).glob(f"*{suffix}")
    (tmp_path / "in" / "metadata.yaml").unlink()
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 0
    assert [topic for topic, _, _ in read_bag(tmp_path / "out")].count("/sameo/masks") == 3


GRIPPER = "acme_msgs/msg/GripperState"


@pytest.mark.parametrize("known", [True, False], ids=["defined in the bag", "defined nowhere"])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_topic_of_unknown_type_is_copied_untouched(tmp_path, tiny, known, storage):
    store = store_with(acme_msgs__msg__GripperState="float32 width\n")
    state = store.types[GRIPPER](0.25)
    recorded = [*RECORDED[:2], ("/gripper", GRIPPER, 1020, state), *RECORDED[3:4]]
    source = write_bag(tmp_path / "in", recorded, "SQLITE3", stores={"/gripper": store})
    if not known:
        (file,) = source.glob("*.db3")
        with contextlib.closing(sqlite3.connect(file)) as base:
            base.execute("DELETE FROM message_definitions")
            base.commit()
    arguments = [str(source), str(tmp_path / "out"), "--model", str(tiny), "--storage", storage]
    assert main(arguments) == 0
    with rosbag2.Reader(tmp_path / "out") as reader:
        copied = [data for one, _, data in reader.messages() if one.topic == "/gripper"]
        topics = {one.topic: one.msgtype for one in reader.connections}
    assert [bytes(data) for data in copied] == [bytes(store.serialize_cdr(state, GRIPPER))]
    assert topics["/gripper"] == GRIPPER
    assert "/sameo/masks" in topics


DETECTION = """
std_msgs/Header header
vision_msgs/ObjectHypothesisWithPose[] results
vision_msgs/BoundingBox2D bbox
string id
"""
OTHER_VISION_MSGS = {
    "vision_msgs__msg__Detection2DArray": "std_msgs/Header header\n"
    "vision_msgs/Detection2D[] detections\n",
    "vision_msgs__msg__Detection2D": DETECTION,
    "vision_msgs__msg__BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\n"
    "float64 size_y\n",
    "vision_msgs__msg__Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "vision_msgs__msg__Point2D": "float64 x\nfloat64 y\n",
    "vision_msgs__msg__ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\n"
    "geometry_msgs/PoseWithCovariance pose\n",
    "vision_msgs__msg__ObjectHypothesis": "string class_id\nfloat64 score\n",
}


def boxes_of(store, stamp_ms, box_xyxy):
    message = make_message(store, BOXES)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ms * MS, 10**9)
    detection = make_message(store, "vision_msgs/msg/Detection2D")
    x1, y1, x2, y2 = box_xyxy
    position = getattr(detection.bbox.center, "position", detection.bbox.center)
    position.x, position.y = (x1 + x2) / 2, (y1 + y2) / 2
    detection.bbox.size_x, detection.bbox.size_y = float(x2 - x1), float(y2 - y1)
    message.detections.append(detection)
    return make_storable(store, message)


def test_the_bags_own_definition_is_used_where_it_has_more(tmp_path, tiny):
    store = store_with(
        **OTHER_VISION_MSGS
        | {"vision_msgs__msg__Detection2D": "uint8[3] version\n" + DETECTION + "float32 depth\n"}
    )
    recorded = [RECORDED[0], ("/boxes", BOXES, 1100, boxes_of(store, 1000, BOX))]
    source = write_bag(tmp_path / "in", recorded, stores={"/boxes": store})
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 0
    with rosbag2.Reader(tmp_path / "out") as reader:
        (masks,) = [
            STORE.deserialize_cdr(data, one.msgtype)
            for one, _, data in reader.messages()
            if one.topic == "/sameo/masks"
        ]
    assert crop_to_mask(masks.masks[0].amodal).box_xyxy == BOX


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"vision_msgs__msg__BoundingBox2D": "geometry_msgs/Pose2D center\nfloat64 size_x\n"
             "float64 size_y\n"},
            r"geometry_msgs/msg/Pose2D has no field position \(detections.bbox.center.position\)",
        ),
        (
            {"vision_msgs__msg__ObjectHypothesis": "int64 class_id\nfloat64 score\n"},
            "another kind of field class_id",
        ),
    ],
    ids=["as in Foxy", "another kind"],
)  # fmt: skip
def test_a_bag_of_another_version_is_refused_by_name(tmp_path, tiny, capsys, changed, sentence):
    store = store_with(**OTHER_VISION_MSGS | changed)
    recorded = [RECORDED[0], ("/boxes", BOXES, 1100, boxes_of(store, 1000, BOX))]
    source = write_bag(tmp_path / "in", recorded, stores={"/boxes": store})
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 1
    expected = f"^bag: /boxes holds {BOXES} of another version: .*{sentence}"
    assert re.search(expected, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_boxes_that_can_all_not_be_read_are_a_failure(tmp_path, tiny, capsys):
    def cut(message, kind):
        return bytes(STORE.serialize_cdr(message, kind))[: 20 if kind == BOXES else None]

    source = tmp_path / "in"
    plugin = rosbag2.StoragePlugin.MCAP
    with rosbag2.Writer(source, version=9, storage_plugin=plugin) as writer:
        for topic, kind, time_ms, message in [RECORDED[0], RECORDED[3]]:
            connection = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connection, time_ms * MS, cut(message, kind))
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 1
    assert "none of the 1 messages on /boxes can be read" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        (
            [RECORDED[0], ("/boxes", BOXES, 1100, boxes(1003, BOX))],
            "none of the 1 messages on /boxes has the stamp of an image on /image: the nearest is "
            "3 ms before theirs; let the detector copy the header of its image",
        ),
        (
            [("/boxes", BOXES, 900, boxes(900, BOX)), RECORDED[0]],
            "the nearest is 0.1 s after theirs",
        ),
    ],
    ids=["new stamps", "before the first image"],
)  # fmt: skip
def test_boxes_that_find_no_image_at_all_are_a_failure(tmp_path, tiny, capsys, messages, sentence):
    source = write_bag(tmp_path / "in", messages)
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 1
    assert sentence in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def mcap_of_profile(profile):
    record = len(profile).to_bytes(4, "little") + profile + bytes(4)
    return b"\x89MCAP0\r\n\x01" + len(record).to_bytes(8, "little") + record


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.bag", b"#ROSBAG V2.0\n", "is a bag of ROS 1; convert it first: rosbags-convert"),
        ("a.mcap", b"#ROSBAG V2.0\n", "is a bag of ROS 1"),
        ("a.mcap", mcap_of_profile(b"ros1"), "holds messages of 'ros1', not of ROS 2"),
        ("a.mcap", b"", "cannot be read as a bag"),
        ("a.zip", b"PK", "must be the folder of a rosbag2 or a file that ends in .mcap or .db3"),
    ],
    ids=["ROS 1", "ROS 1 by content", "MCAP of ROS 1", "empty", "something else"],
)
def test_a_file_that_is_no_bag_of_ros_2_says_what_it_is(
    tmp_path, tiny, capsys, name, content, sentence
):
    (tmp_path / name).write_bytes(content)
    assert main([str(tmp_path / name), str(tmp_path / "out"), "--model", str(tiny)]) == 1
    assert sentence in capsys.readouterr().err


def test_a_path_that_is_not_there_is_named(tmp_path, tiny, capsys):
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(tiny)]) == 1
    assert f"bag: {tmp_path / 'in'} does not exist" in capsys.readouterr().err


def test_a_bag_without_definitions_is_read(tmp_path, tiny):
    source = write_bag(tmp_path / "in", RECORDED[:1] + RECORDED[3:4], "SQLITE3", version=8)
    arguments = [str(source), str(tmp_path / "out"), "--model", str(tiny)]
    assert main([*arguments, "--backend", "onnxruntime"]) == 0
    assert [topic for topic, _, _ in read_bag(tmp_path / "out")].count("/sameo/masks") == 1


@pytest.mark.parametrize(
    ("messages", "arguments", "sentence"),
    [
        (RECORDED[:2], [], "--detections must name a topic of type vision_msgs"),
        (RECORDED, ["--image", "/boxes"], "--image must name a topic .*; the bag has /image"),
        (RECORDED, ["--depth", "/none"], "--depth must name a topic of type sensor_msgs/msg/Image"),
        (RECORDED, ["--model", "no_such_model"], "no_such_model"),
        (RECORDED, ["--masks", "/note"], "--masks must be .* the bag does not have; got /note"),
        (RECORDED, ["--masks", "my masks"], "--masks must be the full name, such as /sameo/masks"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_nothing_behind(
    tmp_path, tiny, capsys, messages, arguments, sentence
):
    source = write_bag(tmp_path / "in", messages)
    given = [str(source), str(tmp_path / "out"), "--model", str(tiny), *arguments]
    assert main(given) == 1

    assert re.search(f"^bag: .*{sentence}", capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_folder_that_is_no_bag_is_named(tmp_path, tiny, capsys):
    assert main([str(tmp_path), str(tmp_path / "out"), "--model", str(tiny)]) == 1
    assert "is not the folder of a rosbag2: it has no metadata.yaml" in capsys.readouterr().err


def test_a_damaged_bag_is_named(tmp_path, tiny, capsys):
    source = write_bag(tmp_path / "in", RECORDED)
    (data,) = source.glob("*.mcap")
    data.write_bytes(data.read_bytes()[:500])
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 1
    assert "cannot be read as a bag" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_damaged_message_is_left_out_and_the_rest_answered(tmp_path, tiny, capsys, monkeypatch):
    serialize = STORE.serialize_cdr

    def damage_one(message, kind):
        data = serialize(message, kind)
        return bytes(data)[:20] if message is RECORDED[2][3] else data

    monkeypatch.setattr(STORE, "serialize_cdr", damage_one)
    source = write_bag(tmp_path / "in", RECORDED)
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == 0
    said = capsys.readouterr()
    assert "a message on /image is damaged and left out" in said.err
    assert "2 of 4 detection messages are answered" in said.out


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
def test_flipped_bytes_end_in_a_bag_or_in_one_sentence(tmp_path, tiny, capsys, plugin):
    source = write_bag(tmp_path / "in", RECORDED, plugin)
    (path,) = [one for one in source.iterdir() if one.suffix in (".mcap", ".db3")]
    whole, random = path.read_bytes(), np.random.default_rng(0)
    statuses = set()
    for number in range(20):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[random.integers(0, len(whole), 1 + number)] ^= 0x5A
        path.write_bytes(damaged.tobytes())
        target = tmp_path / f"out {number}"
        status = main([str(source), str(target), "--model", str(tiny), "--backend", "onnxruntime"])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert target.exists() == (status == 0)
        assert status == 0 or said.err.splitlines()[-1].startswith("bag: ")
        assert not target.with_name(target.name + ".partial").exists()
        statuses.add(status)
    assert 1 in statuses


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_full_disk_is_said_with_the_path(tmp_path, tiny, storage):
    source = write_bag(tmp_path / "in", [RECORDED[0], RECORDED[3]] * 40)
    command = [sys.executable, "-m", "sameo_ros.bag", str(source), str(tmp_path / "out"),
               "--model", str(tiny), "--backend", "onnxruntime", "--storage", storage]  # fmt: skip
    limited = ["bash", "-c", 'ulimit -f 100 && exec "$@"', "bash", *command]  # 100 KiB a file
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"bag: {tmp_path / 'out'} cannot be written (" in done.stderr
    assert "); free space or give another folder\n" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(OSError("the disk is full"), 1, "bag: the disk is full\n"), (KeyboardInterrupt(), 130, "")],
)
def test_a_failure_on_the_way_leaves_nothing_behind(
    tmp_path, tiny, capsys, monkeypatch, error, status, said
):
    def fail(run):
        raise error

    source = write_bag(tmp_path / "in", RECORDED)
    monkeypatch.setattr("sameo_ros.bag.BagRun.run", fail)
    assert main([str(source), str(tmp_path / "out"), "--model", str(tiny)]) == status
    assert capsys.readouterr().err == said
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_target_is_not_touched(tmp_path, tiny, capsys):
    source = write_bag(tmp_path / "in", RECORDED)
    target = tmp_path / "out"
    target.mkdir()
    assert main([str(source), str(target), "--model", str(tiny)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert list(target.iterdir()) == []


def test_the_command_needs_no_ros():
    code = "import sys, sameo_ros.bag; sys.exit('rclpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
