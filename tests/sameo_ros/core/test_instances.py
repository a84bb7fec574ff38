import numpy as np
import pytest

from sameo_model.runtime import MaskCrop, Prediction
from sameo_ros.core.answer import Answer, DetectedBoxes
from sameo_ros.core.instances import draw_instances, sort_front_to_back


def answer(indices, visible_masks, occluded_by, num_detections=4):
    boxes = DetectedBoxes(
        np.zeros((num_detections, 4), np.float32), [""] * num_detections,
        np.ones(num_detections, np.float32), [""] * num_detections,
    )  # fmt: skip
    ones = np.ones(len(indices), np.float32)
    prediction = Prediction(visible_masks, visible_masks, ones, 0 * ones)
    return Answer((1, 6), boxes, indices, prediction, occluded_by)


def bar(x1, x2):
    return MaskCrop(x1, 0, np.ones((1, x2 - x1), bool)) if x2 > x1 else MaskCrop.empty()


@pytest.mark.parametrize(
    ("occluded_by", "labels"),
    [
        ([[3], []], [2, 2, 4, 4, 4, 0]),
        ([[], [1]], [2, 2, 2, 2, 4, 0]),
        ([[3], [1]], [2, 2, 2, 2, 4, 0]),  # a circle: either may win
    ],
    ids=["the later is in front", "the first is in front", "a circle"],
)
def test_the_object_in_front_has_the_pixels_that_both_claim(occluded_by, labels):
    drawn = draw_instances(answer([1, 3], [bar(0, 4), bar(2, 5)], occluded_by))
    assert drawn.dtype == np.uint16
    if occluded_by[0] and occluded_by[1]:
        np.testing.assert_array_equal(drawn[0, [0, 1, 4, 5]], [2, 2, 4, 0])
    else:
        np.testing.assert_array_equal(drawn, [labels])


def test_empty_masks_and_no_masks_leave_zeros():
    assert not draw_instances(answer([2], [bar(0, 0)], [[]])).any()
    assert not draw_instances(answer([], [], [])).any()


def test_an_index_that_has_no_label_is_left_out():
    found = draw_instances(answer([65534, 65535], [bar(0, 1), bar(1, 2)], [[], []], 65536))
    np.testing.assert_array_equal(found, [[65535, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("occluders", "order"),
    [
        ([], []),
        ([[], [], []], [0, 1, 2]),
        ([[1], [2], []], [2, 1, 0]),
        ([[2, 1], [], [1]], [1, 2, 0]),
    ],
)
def test_what_is_in_front_comes_first(occluders, order):
    assert sort_front_to_back(occluders) == order


def test_a_circle_of_three_comes_in_some_order_once_each():
    assert sorted(sort_front_to_back([[1], [2], [0], [0]])) == [0, 1, 2, 3]
