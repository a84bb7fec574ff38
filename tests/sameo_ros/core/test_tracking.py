"""Objects keep their numbers while they move a little."""

import numpy as np
import pytest

from sameo_model.runtime import MaskCrop
from sameo_ros.core.tracking import MAX_MISSED, BoxTracker


def boxes(*corners):
    """Squares of 10 pixels at these corners."""
    return np.array([(x, y, x + 10, y + 10) for x, y in corners], np.float32).reshape(-1, 4)


def test_numbers_follow_objects_whatever_their_order():
    tracker = BoxTracker()
    assert tracker.number_boxes(boxes((0, 0), (50, 0))) == [1, 2]
    assert tracker.number_boxes(boxes((52, 1), (1, 1))) == [2, 1]
    assert tracker.number_boxes(boxes((80, 80), (54, 2))) == [3, 2]


def test_the_larger_overlap_wins():
    tracker = BoxTracker()
    tracker.number_boxes(boxes((0, 0), (6, 0)))
    # At 4 the box shares 6 of 14 pixels of a row with the first one, and 8 of 12 with the second.
    assert tracker.number_boxes(boxes((4, 0))) == [2]


def test_a_jump_by_more_than_half_the_size_is_another_object():
    tracker = BoxTracker()
    tracker.number_boxes(boxes((0, 0)))
    # 4 of 16 pixels of a row: an IoU of 0.25.
    assert tracker.number_boxes(boxes((6, 0))) == [2]


def test_an_object_that_is_missed_for_a_while_keeps_its_number():
    tracker = BoxTracker()
    tracker.number_boxes(boxes((0, 0)))
    for _ in range(MAX_MISSED):
        assert tracker.number_boxes(boxes()) == []
    assert tracker.number_boxes(boxes((1, 0))) == [1]


def test_an_object_that_is_missed_for_longer_gets_a_new_number():
    tracker = BoxTracker()
    tracker.number_boxes(boxes((0, 0)))
    for _ in range(MAX_MISSED + 1):
        tracker.number_boxes(boxes())
    assert tracker.number_boxes(boxes((0, 0))) == [2]


def test_boxes_without_area_overlap_nothing():
    tracker = BoxTracker()
    speck = np.array([[5, 5, 5, 5]], np.float32)
    assert tracker.number_boxes(speck) == [1]
    assert tracker.number_boxes(speck) == [2]


ROWS = np.mgrid[:10, :10][0]
LOWER_HALF = MaskCrop.from_mask(ROWS >= 5)


@pytest.mark.parametrize(
    ("box", "number"),
    [
        ((0, 8, 10, 10), 1),  # all but the lowest fifth of the object is covered
        ((0, 0, 10, 2), 2),  # something else, in the empty part of the object's box
        ((-30, -20, 10, 20), 1),  # the object is part of what is seen now
        ((8, 5, 18, 10), 2),  # a fifth of it lies in the mask
    ],
)
def test_masks_decide_where_boxes_overlap_too_little(box, number):
    tracker = BoxTracker()
    tracker.number_boxes(boxes((0, 0)))
    tracker.keep_masks({"1": LOWER_HALF, "of nothing": LOWER_HALF})
    assert tracker.number_boxes(np.array([box], np.float32)) == [number]


def test_masks_of_what_was_missed_decide_nothing():
    tracker = BoxTracker()
    tracker.number_boxes(boxes((0, 0)))
    tracker.keep_masks({"1": LOWER_HALF})
    tracker.number_boxes(boxes())
    # It may have been taken away, and this lay below it.
    assert tracker.number_boxes(np.array([[0, 8, 10, 10]], np.float32)) == [2]


def test_a_box_that_overlaps_keeps_its_object_from_the_mask_of_another():
    tracker = BoxTracker()
    tracker.number_boxes(boxes((0, 0)))
    tracker.keep_masks({"1": LOWER_HALF})
    both = np.array([[0, 8, 10, 10], [1, 0, 11, 10]], np.float32)
    assert tracker.number_boxes(both) == [2, 1]
