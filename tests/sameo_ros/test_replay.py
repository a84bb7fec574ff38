"""Replay's command line, and what it publishes."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402

from sameo_ros import replay  # noqa: E402
from sameo_ros.core.stamps import stamp_to_ns  # noqa: E402
from sameo_ros.messages.conversions import depth_to_m, image_to_rgb  # noqa: E402
from tests.sameo_ros.node_bench import RELIABLE, Client, NodeProcess  # noqa: E402
from tests.sameo_ros.processes import ROOT  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    """Two images, the second one with depth, and boxes for both."""
    images, depths = tmp_path / "images", tmp_path / "depth"
    images.mkdir()
    depths.mkdir()
    boxes = {}
    for name, grey in (("a", 10), ("b", 20)):
        cv2.imwrite(str(images / f"{name}.png"), np.full((6, 8, 3), grey, np.uint8))
        boxes[f"{name}.png"] = [{"box": [0, 0, 4, 4], "class": name, "score": 0.5}]
    cv2.imwrite(str(depths / "b.png"), np.full((6, 8), 1500, np.uint16))
    intrinsics = [[9.0, 0, 4], [0, 9.0, 3], [0, 0, 1]]
    camera = {"file_name": "b.png", "depth_file_name": "b.png", "intrinsics": intrinsics}
    (tmp_path / "cameras.json").write_text(json.dumps([camera]))
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return tmp_path


def arguments(folder):
    return ["--images", str(folder / "images"), "--boxes", str(folder / "boxes.json")]


def test_images_boxes_and_depth_come_under_one_header(folder, tmp_path):
    client = Client()
    received = {"image": [], "detections": [], "depth": [], "camera_info": []}
    kinds = {"image": Image, "detections": Detection2DArray, "depth": Image}
    for topic, found in received.items():
        kind = kinds.get(topic, CameraInfo)
        client.node.create_subscription(kind, topic, found.append, RELIABLE)
    process = NodeProcess(tmp_path, "replay", *arguments(folder), "--rate", "20", "--count", "3")
    try:
        client.until(lambda: process.popen.poll() is not None)
        client.until(lambda: len(received["image"]) == len(received["detections"]) == 3)
    finally:
        client.close()
        assert process.stop() == 0, process.text()
    images, boxes = received["image"], received["detections"]
    assert [image_to_rgb(image)[0, 0, 0] for image in images] == [10, 20, 10]
    assert [image.header for image in images] == [one.header for one in boxes]
    stamps = [stamp_to_ns(image.header.stamp) for image in images]
    assert sorted(set(stamps)) == stamps
    assert [one.detections[0].id for one in boxes] == ["a#0", "b#0", "a#0"]
    assert boxes[0].detections[0].results[0].hypothesis.score == 0.5
    (depth,), (info,) = received["depth"], received["camera_info"]
    assert depth.header == info.header == images[1].header
    np.testing.assert_allclose(depth_to_m(depth), np.full((6, 8), 1.5))
    assert info.k.tolist() == [9, 0, 3.5, 0, 9, 2.5, 0, 0, 1]


def test_whom_it_waits_for_is_said_once(folder, tmp_path):
    client = Client()
    client.node.create_subscription(Image, "image", lambda _: None, RELIABLE)
    process = NodeProcess(tmp_path, "replay", *arguments(folder), "--rate", "20")
    try:
        client.until(lambda: "waiting for a subscriber of /" in process.text())
        client.spin(0.3)
    finally:
        client.close()
        process.stop()
    assert process.text().count("waiting for") == 1
    assert "/detections" in process.text()


def test_a_slow_detector_takes_the_newest_image_when_it_is_free(folder, tmp_path):
    client = Client()
    images, boxes = [], []
    client.node.create_subscription(Image, "image", images.append, RELIABLE)
    client.node.create_subscription(Detection2DArray, "detections", boxes.append, RELIABLE)
    options = ["--rate", "50", "--count", "40", "--detector-delay", "0.1"]
    process = NodeProcess(tmp_path, "replay", *arguments(folder), *options)
    try:
        client.until(lambda: process.popen.poll() is not None)
        client.until(lambda: len(images) == 40)
        client.spin(0.2)
    finally:
        client.close()
        process.stop()
    stamps = [stamp_to_ns(image.header.stamp) for image in images]
    answered = [stamps.index(stamp_to_ns(one.header.stamp)) for one in boxes]
    assert answered == sorted(set(answered))
    # A look takes 0.1 s. The last but one began before the last image came.
    assert 2 <= len(answered) <= (stamps[-1] - stamps[0]) / 1e8 + 2


def test_without_boxes_images_come_alone_and_name_their_frames(folder, tmp_path):
    client = Client()
    images = []
    client.node.create_subscription(Image, "image", images.append, RELIABLE)
    options = ["--images", str(folder / "images"), "--rate", "20", "--frame-id", "of {image}"]
    process = NodeProcess(tmp_path, "replay", *options)
    try:
        client.until(lambda: len(images) == 2)
        client.until(lambda: process.popen.poll() is not None)
    finally:
        client.close()
        assert process.stop() == 0, process.text()
    assert [image.header.frame_id for image in images] == ["of a", "of b"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["--images", "nowhere"], "sameo_replay: nowhere is neither an image nor a folder"),
        (["--boxes", "nowhere.json"], "sameo_replay: boxes file nowhere.json does not exist"),
        (["--boxes", '{"a.png": [{"class": "x"}]}'], "has no key 'box'"),
        (["--rate", "-1"], "must not be below 0"),
        (["--rate", "fast"], "must be a number, got fast"),
        (["--count", "-1"], "must be a whole number above 0, got -1"),
        (["--count", "1.5"], "must be a whole number above 0, got 1.5"),
    ],
)
def test_wrong_arguments_end_in_one_sentence(folder, changes, sentence, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sameo_replay", *arguments(folder), *changes])
    try:
        status = replay.main()
    except SystemExit as end:
        status = end.code
    assert status != 0
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_an_image_that_cannot_be_read_is_left_out_and_named(folder, tmp_path):
    (folder / "images" / "a.png").write_bytes(b"no image")
    client = Client()
    boxes = []
    client.node.create_subscription(Image, "image", lambda _: None, RELIABLE)
    client.node.create_subscription(Detection2DArray, "detections", boxes.append, RELIABLE)
    process = NodeProcess(tmp_path, "replay", *arguments(folder), "--rate", "20")
    try:
        client.until(lambda: process.popen.poll() is not None)
        client.until(lambda: len(boxes) == 1)
    finally:
        client.close()
    assert process.stop() == 1
    assert "a.png cannot be read" in process.text()
    assert boxes[0].detections[0].id == "b#0"


def test_images_that_cannot_be_read_at_all_end_in_one_sentence(folder):
    for name in ("a.png", "b.png"):
        (folder / "images" / name).write_bytes(b"no image")
    command = [sys.executable, "-m", "sameo_ros.replay", *arguments(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "a.png cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
