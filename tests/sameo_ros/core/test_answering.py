import numpy as np
import pytest

from sameo_model.runtime import MaskCrop, Prediction
from sameo_ros.core.answer import DetectedBoxes
from sameo_ros.core.answering import build_answer, choose_boxes
from sameo_ros.core.settings import SameoParameters

IMAGE_HW = 60, 100
GOOD = (10, 10, 30, 30)


def detected(boxes, scores=None):
    number = len(boxes)
    return DetectedBoxes(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        [""] * number,
        np.array(scores or [1.0] * number, dtype=np.float32),
        [""] * number,
    )


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((np.nan, 10, 30, 30), "holds NaN or infinity"),
        ((10, 10, np.inf, 30), "holds NaN or infinity"),
        ((30, 10, 10, 30), "is inverted"),
        ((10, 10, 10, 30), "has no area"),
        ((200, 10, 230, 30), "lies outside the image"),
        ((-30, -30, -1, -1), "lies outside the image"),
    ],
)
def test_a_box_that_cannot_be_used_is_left_out_and_named(box, words):
    chosen = choose_boxes(detected([GOOD, box, GOOD]), IMAGE_HW, SameoParameters())
    assert chosen.indices == [0, 2]
    np.testing.assert_array_equal(chosen.boxes_xyxy, [GOOD, GOOD])
    (complaint,) = chosen.complaints
    assert complaint.startswith("box 1 of 3 is left out: it ")
    assert words in complaint


def test_a_box_across_the_border_is_clipped():
    chosen = choose_boxes(detected([(-10, 50, 120, 90)]), IMAGE_HW, SameoParameters())
    np.testing.assert_array_equal(chosen.boxes_xyxy, [[0, 50, 100, 60]])
    assert chosen.complaints == []


def test_no_boxes_are_no_problem():
    chosen = choose_boxes(detected([]), IMAGE_HW, SameoParameters())
    assert chosen.indices == []
    assert chosen.boxes_xyxy.shape == (0, 4)


def test_beyond_max_boxes_those_with_the_highest_scores_stay_in_their_order():
    scores = [0.5, 0.9, 0.1, 0.9, 0.7]
    chosen = choose_boxes(detected([GOOD] * 5, scores), IMAGE_HW, SameoParameters(max_boxes=3))
    assert chosen.indices == [1, 3, 4]
    assert [text[:10] for text in chosen.complaints] == ["box 0 of 5", "box 2 of 5"]


def test_a_low_score_is_left_out_without_a_complaint():
    parameters = SameoParameters(min_detection_score=0.5)
    bad = (30, 10, 10, 30)
    chosen = choose_boxes(detected([GOOD, GOOD, bad], [0.4, 0.5, 0.1]), IMAGE_HW, parameters)
    assert chosen.indices == [1]
    assert chosen.complaints == []


def test_a_box_whose_score_has_no_known_scale_is_left_out_and_named():
    chosen = choose_boxes(detected([GOOD, GOOD], [np.nan, 0.5]), IMAGE_HW, SameoParameters())
    assert chosen.indices == [1]
    (complaint,) = chosen.complaints
    assert complaint.startswith("box 0 of 2 is left out: scores must all be percentages or lie in")


def test_occluders_are_named_by_their_detection():
    # Rows 0 and 1 belong to detections 2 and 5; row 1 covers the hidden half of row 0.
    whole = MaskCrop(0, 0, np.ones((4, 8), bool))
    left = MaskCrop(0, 0, np.ones((4, 4), bool))
    right = MaskCrop(4, 0, np.ones((4, 4), bool))
    ones = np.ones(2, dtype=np.float32)
    prediction = Prediction([whole, right], [left, right], ones, ones)
    answer = build_answer(detected([GOOD] * 6), [2, 5], prediction, IMAGE_HW)
    assert answer.occluded_by == [[5], []]
