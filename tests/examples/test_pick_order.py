"""The example, alone and against a replayed scene with depth."""

import importlib.util
import math
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.sameo_ros.processes import ROOT

pytestmark = pytest.mark.ros
EXAMPLE = ROOT / "examples" / "pick_order.py"
SCENES = ROOT / "sameo_ros" / "demo_scenes"


def load_example():
    pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")
    spec = importlib.util.spec_from_file_location("pick_order", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def order(*objects):
    """Order objects given as (index, occluded_by, occlusion_ratio)."""
    masks = [
        SimpleNamespace(detection_index=i, occluded_by=by, occlusion_ratio=ratio, score=1.0)
        for i, by, ratio in objects
    ]
    return [mask.detection_index for mask in load_example().pick_order(masks)]


def test_masks_and_boxes_are_joined_by_the_id_that_every_object_has():
    from geometry_msgs.msg import Point, Vector3
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

    from sameo_ros.msg import AmodalMask

    masks = [
        AmodalMask(detection_index=1, detection_id="1", class_id="mug", occlusion_ratio=0.1),
        AmodalMask(detection_index=4, detection_id="4", class_id="", occlusion_ratio=0.2),
        AmodalMask(detection_index=6, detection_id="7", class_id="jar", occlusion_ratio=0.3),
    ]
    objects = Detection3DArray()
    objects.header.frame_id = "optical"
    # The order differs from that of the masks, and one object has no depth.
    for name, x in (("7", 0.7), ("4", None), ("1", 0.1)):
        detection = Detection3D(id=name)
        if x is not None:
            detection.bbox.center.position = Point(x=x, y=0.0, z=1.0)
            detection.bbox.size = Vector3(x=0.1, y=0.2, z=0.3)
            result = ObjectHypothesisWithPose()
            result.pose.covariance[[0, 7, 14]] = 0.0001, 0.0004, 0.0009
            detection.results = [result]
        objects.detections.append(detection)
    assert load_example().describe_order(masks, objects) == [
        "3 objects, in the frame optical:",
        "  1. mug at (0.10, 0.00, 1.00) +- (0.01, 0.02, 0.03) m, 0.10 x 0.20 x 0.30 m",
        "  2. object 4 has no depth",
        "  3. jar at (0.70, 0.00, 1.00) +- (0.01, 0.02, 0.03) m, 0.10 x 0.20 x 0.30 m",
    ]


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


def test_each_boxes_are_printed_once_also_where_all_stamps_are_zero(capsys):
    rclpy = pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: `make setup`")
    example = load_example()
    rclpy.init()
    node = example.PickOrder()
    try:
        for frame in ("first", "second"):
            objects = example.Detection3DArray()
            objects.header.frame_id = frame
            node._keep_masks(example.AmodalMaskArray())
            node._keep_boxes(objects)
    finally:
        node.destroy_node()
        rclpy.shutdown()
    headings = [f"0 objects, in the frame {frame}:" for frame in ("first", "second")]
    assert capsys.readouterr().out.splitlines() == headings


@pytest.fixture
def read_order():
    """Start example, node and replay of an image; return a function that reads printed lines."""
    started = []

    def run(image, boxes, number, is_wanted):
        """Return the first heading and lines of so many objects that are wanted."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}

        def start(*arguments, **options):
            command = [sys.executable, *map(str, arguments)]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, **options)
            started.append(process)
            return process

        reliable = [
            word
            for topic in ("image", "detections", "depth", "camera_info")
            for word in ("-p", f"qos_overrides./{topic}.subscription.reliability:=reliable")
        ]
        example = start(EXAMPLE, stdout=subprocess.PIPE, text=True)
        start("-m", "sameo_ros.node", "--ros-args", *reliable, stderr=subprocess.DEVNULL)
        start(
            *("-m", "sameo_ros.replay", "--images", image, "--loop", "--rate", 2),
            *("--boxes", boxes, "--detector-delay", 0.1),
        )
        lines = []
        while not (len(lines) == number + 1 and is_wanted(lines)):
            line = example.stdout.readline().strip()
            # A heading begins anew: the first images may come before their depth.
            lines = [line] if "objects, in the frame" in line else [*lines, line]
        return lines

    yield run
    for process in started:
        process.terminate()
    for process in started:
        process.wait(30)


def test_a_replayed_scene_is_ordered_and_located(read_order):
    image, boxes = SCENES / "images" / "000000_00.jpg", SCENES / "annotations.json"
    lines = read_order(image, boxes, 6, lambda lines: all(" at (" in one for one in lines[1:]))
    assert lines[0] == "6 objects, in the frame camera:"
    assert [line.split(".")[0] for line in lines[1:]] == list("123456")
    classes = {line.split()[1] for line in lines[1:]}
    assert classes == {"vase", "ball", "bent_tube", "spray_bottle", "jar", "milk"}
    # The camera hangs half a metre above the table (cameras.json), so that all is nearer.
    depths_m = [float(line.split(", ")[2].split(")")[0]) for line in lines[1:]]
    assert all(0.2 < depth_m < 0.7 for depth_m in depths_m)


def test_without_depth_the_order_is_printed_all_the_same(read_order, tmp_path):
    image = tmp_path / "alone.jpg"  # away from cameras.json and depth/
    shutil.copy(SCENES / "images" / "000000_00.jpg", image)
    lines = read_order(image, "200,150,330,260;300,200,420,330", 2, lambda _: True)
    assert lines[0].startswith("2 objects, in the frame ")
    assert [line.split(". ")[0] for line in lines[1:]] == ["1", "2"]
    assert all(line.endswith("has no depth") for line in lines[1:])
