"""Detections in the conventions of the popular detectors; the facts are in the docstrings."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.settings import SameoParameters
from sameo_ros.messages.detection_reader import DetectionReader
from sameo_ros.messages.detector_conventions import accept_detections, find_stamp
from tests.sameo_ros.stand_ins import box_detection, detections, header, hypothesis, stamp

HW = (480, 640)


def yolo_detection(x1, y1, x2, y2, *, number=0, name="", score=0.5, track="", theta=0.0):
    """A yolo_msgs/Detection with the fields that are read."""
    position = SimpleNamespace(x=(x1 + x2) / 2, y=(y1 + y2) / 2)
    bbox = SimpleNamespace(
        center=SimpleNamespace(position=position, theta=theta),
        size=SimpleNamespace(x=x2 - x1, y=y2 - y1),
    )
    return SimpleNamespace(class_id=number, class_name=name, score=score, id=track, bbox=bbox)


class Reading:
    """Reads messages as the node does, and keeps what was said."""

    def __init__(self, **settings):
        self.said = []
        self.warnings = []
        self.problems = ProblemLog(self.warnings.append)
        self.reader = DetectionReader(self.said.append, self.problems)
        self.settings = SameoParameters().changed(settings)

    def __call__(self, *items):
        return self.reader.read(detections(*items), HW, self.settings)


def test_yolo_detections_carry_over_boxes_classes_scores_and_tracks():
    reading = Reading()
    boxes = reading(
        yolo_detection(10, 20, 60, 80, number=3, name="mug", score=0.75, track="17"),
        yolo_detection(100, 20, 160, 80, number=4, name="", score=0.25),
    )
    np.testing.assert_array_equal(boxes.boxes_xyxy, [(10, 20, 60, 80), (100, 20, 160, 80)])
    assert boxes.class_ids == ["mug", "4"]
    np.testing.assert_array_equal(boxes.scores, np.float32([0.75, 0.25]))
    assert boxes.detection_ids[0] == "17"
    assert boxes.detection_ids[1]  # made from the index
    assert reading.said == []


def test_a_turned_yolo_box_becomes_its_hull():
    # 40 wide and 20 high, turned by a right angle about (100, 100).
    boxes = Reading()(yolo_detection(80, 90, 120, 110, theta=np.pi / 2))
    np.testing.assert_allclose(boxes.boxes_xyxy, [(90, 80, 110, 120)], atol=1e-4)


@pytest.mark.parametrize("read", [box_detection, yolo_detection])
def test_no_detections_are_no_boxes(read):
    assert len(Reading()()) == 0


def test_scores_that_are_never_set_count_one_and_are_noted_once():
    reading = Reading()
    boxes = [
        box_detection(0, 0, 9, 9, results=[hypothesis("0", 0.0)]),
        box_detection(9, 9, 20, 20, results=[hypothesis("1", 0.0), hypothesis("2", 0.0)]),
    ]
    for _ in range(2):
        read = reading(*boxes)
        np.testing.assert_array_equal(read.scores, [1, 1])
        assert read.class_ids == ["0", "1"]
    (sentence,) = reading.said
    assert "all detection scores are 0" in sentence
    assert boxes[0].results[0].hypothesis.score == 0  # the message is not changed


def test_a_score_of_zero_beside_others_stays():
    scored = [hypothesis("a", 0.5)], [hypothesis("b", 0.0)]
    reading = Reading()
    boxes = reading(*(box_detection(0, 0, 9, 9, results=one) for one in scored))
    np.testing.assert_array_equal(boxes.scores, [0.5, 0])
    assert reading.said == []


def test_class_numbers_in_the_ids_are_no_names_of_objects():
    reading = Reading()
    boxes = reading(
        box_detection(0, 0, 9, 9, results=[hypothesis("7", 0.9)], detection_id="7"),
        box_detection(9, 0, 19, 9, results=[hypothesis("7", 0.8)], detection_id="7"),
        box_detection(9, 9, 19, 19, results=[hypothesis("2", 0.8)], detection_id="2"),
    )
    assert boxes.detection_ids == ["0", "1", "2"]
    (sentence,) = reading.said
    assert "detection ids are class numbers" in sentence


def test_tracks_that_look_like_numbers_stay():
    reading = Reading()
    boxes = reading(
        box_detection(0, 0, 9, 9, results=[hypothesis("7", 0.9)], detection_id="7"),
        box_detection(9, 0, 19, 9, results=[hypothesis("7", 0.8)], detection_id="8"),
    )
    assert boxes.detection_ids == ["7", "8"]
    assert reading.said == []


def test_equal_ids_are_told_apart_and_noted():
    reading = Reading()
    results = [hypothesis("mug", 0.9)]
    boxes = reading(
        *(box_detection(0, 0, 9 + i, 9, results=results, detection_id="3") for i in range(2))
    )
    assert len(set(boxes.detection_ids)) == 2
    (sentence,) = reading.said
    assert "same id" in sentence


def test_the_stamp_is_that_of_the_message_or_else_of_its_detections():
    inner = box_detection(0, 0, 9, 9)
    inner.header = header(5.0)
    without = box_detection(0, 0, 9, 9)
    without.header = header(0.0)
    assert find_stamp(detections(without, seconds=3.0)).sec == 3  # inner stamps of zero
    assert find_stamp(detections(without, inner, seconds=0.0)).sec == 5
    assert find_stamp(detections(yolo_detection(0, 0, 9, 9), seconds=0.0)) == stamp(0.0)
    assert find_stamp(detections(seconds=0.0)) == stamp(0.0)


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [
        ([], [True, True, True]),
        (["mug"], [True, False, False]),
        (["3"], [True, False, False]),
        ([4], [False, True, False]),
        ("mug,can", [True, True, False]),
        (["plate"], [False, False, False]),
    ],
)
def test_classes_are_asked_for_by_name_or_number(classes, wanted):
    boxes = Reading(classes=classes)(
        yolo_detection(0, 0, 9, 9, number=3, name="mug"),
        yolo_detection(0, 0, 9, 9, number=4, name="can"),
        yolo_detection(0, 0, 9, 9, number=5, name="bowl"),
    )
    assert boxes.is_wanted.tolist() == wanted


def test_classes_of_vision_msgs_are_compared_as_they_are_sent():
    one = box_detection(0, 0, 9, 9, results=[hypothesis("17", 0.9)])
    other = box_detection(0, 0, 9, 9)
    assert Reading(classes=["17"])(one, other).is_wanted.tolist() == [True, False]


def test_classes_that_never_come_are_named_with_those_that_do():
    reading = Reading(classes=["Mug"])
    classless, mug = box_detection(0, 0, 9, 9), yolo_detection(0, 0, 9, 9, name="mug")
    for _ in range(49):
        reading(mug)
    assert reading.warnings == []
    reading(classless)
    (sentence,) = reading.warnings
    assert "last 50 detection messages has a class of the parameter classes, Mug" in sentence
    assert "they are: mug, (none)" in sentence


def test_classes_in_one_of_ten_messages_come_in_time_and_end_the_warning():
    reading = Reading(classes=["mug"])
    mug, can = (yolo_detection(0, 0, 9, 9, name=name) for name in ("mug", "can"))
    for _ in range(9):
        reading(can, can, can)
    assert reading.warnings == []
    for _ in range(50):
        reading(can)
    assert "classes" in reading.problems.current(time.monotonic())
    reading(mug)
    assert reading.problems.current(time.monotonic()) == {}


def test_classes_that_differ_in_every_message_do_not_pile_up():
    reading = Reading(classes=["mug"])
    for number in range(1100):
        reading(yolo_detection(0, 0, 9, 9, name=f"can {number}"))
    assert len(reading.reader._others) == 1000


def test_classes_that_came_once_may_be_out_of_sight_until_others_are_asked_for():
    reading = Reading(classes=["mug"])
    for name in ["mug", *["can"] * 60]:
        reading(yolo_detection(0, 0, 9, 9, name=name))
    assert reading.warnings == []
    reading.settings = reading.settings.changed({"classes": ["bowl"]})
    for _ in range(50):
        reading(yolo_detection(0, 0, 9, 9, name="can"))
    assert "they are: can" in reading.warnings[0]


def test_a_given_frame_is_mapped_to_the_image():
    boxes = Reading(detections_frame="letterbox:320x320")(box_detection(5, 50, 30, 150))
    np.testing.assert_allclose(boxes.boxes_xyxy, [(10, 20, 60, 220)], atol=1e-4)


def letterboxed(seed, num=8):
    corners = np.random.default_rng(seed).uniform((0, 80), (600, 520), (num, 2))
    return [box_detection(x, y, x + 40, y + 40) for x, y in corners]


def test_a_letterboxed_detector_is_recognised_and_warned_of_as_long_as_it_is_a_guess():
    reading = Reading()
    for seed in range(8):
        items = letterboxed(seed)
        boxes = reading(*items)
    expected = [one.bbox.center.position.y - 80 for one in items]
    centres = (boxes.boxes_xyxy[:, 1] + boxes.boxes_xyxy[:, 3]) / 2
    np.testing.assert_allclose(centres, expected, atol=1e-3)
    assert reading.said == []
    guess = reading.problems.current(time.monotonic())["frame"]
    assert "fit letterbox:640x640" in guess
    assert "set detections_frame" in guess
    reading.settings = reading.settings.changed({"detections_frame": "letterbox:640x640"})
    reading(*items)
    assert reading.problems.current(time.monotonic()) == {}


def test_what_is_said_to_be_in_the_image_is_left_where_it_is():
    reading = Reading(detections_frame="image")
    for seed in range(8):
        items = letterboxed(seed)
        boxes = reading(*items)
    assert boxes.boxes_xyxy[0, 1] == np.float32(items[0].bbox.center.position.y - 20)
    assert reading.said == []


def test_boxes_that_fit_nothing_are_warned_of_as_long_as_they_come():
    reading = Reading()
    for _ in range(3):
        reading(box_detection(0, 700, 50, 750))
    (warning,) = reading.warnings
    assert "boxes lie outside the 640x480 image" in warning
    reading(box_detection(0, 0, 50, 50))  # the others are still remembered
    assert set(reading.problems.current(time.monotonic())) == {"frame"}
    reading.settings = reading.settings.changed({"detections_frame": "image"})
    reading(box_detection(0, 0, 50, 50))
    assert reading.problems.current(time.monotonic()) == {}


def test_a_message_is_accepted_as_it_is_where_nothing_is_odd():
    one = box_detection(0, 0, 9, 9, results=[hypothesis("mug", 0.9)], detection_id="a")
    accepted = accept_detections(detections(one))
    assert accepted.detections[0] is one
    assert accepted.notes == []


ODD = [0.0, -1.0, 1.5, 320.0, 1e6, 1e308, -1e308, np.nan, np.inf, -np.inf]


def test_whatever_a_yolo_message_holds_it_is_read_without_an_error():
    generator = np.random.default_rng(0)
    texts = ["", "mug", "17", "ä\n", "x" * 300]
    reading = Reading()
    for num in generator.integers(0, 12, 300):
        items = []
        for _ in range(num):
            x1, y1, x2, y2, theta, score = (float(value) for value in generator.choice(ODD, 6))
            name, track = generator.choice(texts, 2)
            number = int(generator.integers(-(2**31), 2**31))
            with np.errstate(all="ignore"):
                item = yolo_detection(
                    *(x1, y1, x2, y2), number=number, name=name, track=track, theta=theta
                )
            item.score = score
            items.append(item)
        boxes = reading(*items)
        assert boxes.boxes_xyxy.shape == (num, 4)
        assert boxes.boxes_xyxy.dtype == np.float32
        known = boxes.scores[~np.isnan(boxes.scores)]
        assert ((known >= 0) & (known <= 1)).all()
        assert len(set(boxes.detection_ids)) == num
