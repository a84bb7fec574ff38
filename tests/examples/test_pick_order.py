"""The example, alone and against a replayed scene with depth."""

import importlib.util
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.sameo_ros.processes import ROOT

pytestmark = pytest.mark.ros
EXAMPLE = ROOT / "examples" / "pick_order.py"
SCENES = ROOT / "sameo_ros" / "demo_scenes"


def order(*objects):
    """Order objects given as (index, occluded_by, occlusion_ratio)."""
    pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")
    spec = importlib.util.spec_from_file_location("pick_order", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    masks = [
        SimpleNamespace(detection_index=i, occluded_by=by, occlusion_ratio=ratio, score=1.0)
        for i, by, ratio in objects
    ]
    return [mask.detection_index for mask in example.pick_order(masks)]


def test_what_lies_on_top_comes_first():
    assert order((0, [1], 0.5), (1, [2], 0.3), (2, [], 0.0)) == [2, 1, 0]


def test_free_objects_come_in_the_order_of_how_well_they_are_seen():
    assert order((0, [], 0.2), (1, [], 0.1), (2, [0], 0.0)) == [1, 0, 2]


def test_objects_that_hide_each_other_begin_with_the_freest():
    assert order((0, [1], 0.4), (1, [0], 0.2), (2, [0], 0.9)) == [1, 0, 2]


def test_an_occluder_that_is_not_in_the_list_holds_nothing_up():
    assert order((0, [7], 0.4)) == [0]


def test_an_unknown_ratio_is_no_obstacle():
    assert sorted(order((0, [], math.nan), (1, [], math.nan))) == [0, 1]


def test_a_replayed_scene_is_ordered_and_located(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(*arguments, **options):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT, env=environment, **options)

    picture = SCENES / "images" / "000000_00.jpg"
    reliable = [
        word
        for topic in ("image", "detections", "depth", "camera_info")
        for word in ("-p", f"qos_overrides./{topic}.subscription.reliability:=reliable")
    ]
    processes = [
        example := start(EXAMPLE, stdout=subprocess.PIPE, text=True),
        start("-m", "sameo_ros.node", "--ros-args", *reliable, stderr=subprocess.DEVNULL),
        start(
            *("-m", "sameo_ros.replay", "--images", picture, "--loop", "--rate", 2),
            *("--boxes", SCENES / "annotations.json", "--detector-delay", 0.1),
        ),
    ]
    try:
        lines = []
        while len(lines) < 7:
            lines.append(example.stdout.readline().strip())
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
    assert lines[0] == "6 objects, in the frame camera:"
    assert [line.split(".")[0] for line in lines[1:]] == list("123456")
    classes = {line.split()[1] for line in lines[1:]}
    assert classes == {"vase", "ball", "bent_tube", "spray_bottle", "jar", "milk"}
    # The camera hangs half a metre above the table (cameras.json), so that all is nearer.
    depths_m = [float(line.split(", ")[2].split(")")[0]) for line in lines[1:]]
    assert all(0.2 < depth_m < 0.7 for depth_m in depths_m)
