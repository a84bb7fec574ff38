import importlib.util
import sys

import pytest

from sameo_ros.messages.detector_conventions import VISION_TYPE, YOLO_TYPE
from sameo_ros.ros.detection_types import choose_type, first_type, load_class


@pytest.mark.parametrize(
    ("detections_type", "name"),
    [("auto", VISION_TYPE), ("vision_msgs", VISION_TYPE), ("yolo_msgs", YOLO_TYPE)],
)
def test_a_type_is_read_from_the_start(detections_type, name):
    assert first_type(detections_type) == name


@pytest.mark.ros
@pytest.mark.parametrize(
    ("offered", "current", "name"),
    [
        (set(), VISION_TYPE, VISION_TYPE),
        ({"std_msgs/msg/String"}, VISION_TYPE, VISION_TYPE),
        ({YOLO_TYPE}, VISION_TYPE, YOLO_TYPE),
        (set(), YOLO_TYPE, YOLO_TYPE),  # the detector starts again
        ({VISION_TYPE}, YOLO_TYPE, VISION_TYPE),
    ],
)
def test_the_publisher_decides(offered, current, name):
    pytest.importorskip("yolo_msgs", reason="yolo_msgs is not generated: run `make setup`")
    assert choose_type(offered, current) == (name, "")


def test_two_types_on_one_topic_are_complained_of():
    name, complaint = choose_type({VISION_TYPE, YOLO_TYPE}, YOLO_TYPE)
    assert name == VISION_TYPE
    assert "vision_msgs and as yolo_msgs on one topic" in complaint


def test_a_type_that_is_not_installed_is_named_and_the_other_kept(monkeypatch):
    for module in ("yolo_msgs", "yolo_msgs.msg"):
        monkeypatch.setitem(sys.modules, module, None)
    name, complaint = choose_type({YOLO_TYPE}, VISION_TYPE)
    assert name == VISION_TYPE
    assert "need the package yolo_msgs, which is not installed" in complaint


@pytest.mark.ros
def test_a_class_is_found_by_the_name_of_its_type():
    if importlib.util.find_spec("vision_msgs") is None:
        pytest.skip("vision_msgs is not installed")
    assert load_class(VISION_TYPE).__name__ == "Detection2DArray"
