"""Objects keep their numbers while they move a little."""

import numpy as np

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
