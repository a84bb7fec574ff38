"""The best of overlapping boxes stays, and so of masks."""

import numpy as np

from sameo_model.runtime.backends.base import CellBoxes
from sameo_model.runtime.box_suppression import average_boxes, choose_boxes, choose_masks
from sameo_model.runtime.types import MaskCrop


def choose_with_scores(boxes, scores, **options):
    options = {"min_score": 0.1, "max_boxes": 100, **options}
    rows, lowered = choose_boxes(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), **options
    )
    return rows.tolist(), lowered


def choose(boxes, scores, **options):
    return choose_with_scores(boxes, scores, **options)[0]


def test_the_best_of_each_group_stays_best_first():
    # IoU of the first two: 9 * 10 / 110 = 0.82; of the first and third: 5 * 10 / 150 = 0.33.
    boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [5, 0, 15, 10]]
    assert choose(boxes, [0.5, 0.9, 0.7]) == [1, 2]


def test_overlap_lowers_the_score_and_may_change_the_order():
    # IoU of the first two: 8 * 10 / 120 = 2 / 3; the third lies apart.
    boxes = [[0, 0, 10, 10], [2, 0, 12, 10], [50, 0, 60, 10]]
    rows, scores = choose_with_scores(boxes, [0.9, 0.8, 0.5])
    assert rows == [0, 2, 1]
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.8 * np.exp(-(4 / 9) / 0.5)], rtol=1e-6)
    assert choose(boxes, [0.9, 0.8, 0.5], min_score=0.4) == [0, 2]


def average(rows, scores, visible, amodal=None):
    visible = np.array(visible, np.float32)
    amodal = visible if amodal is None else np.array(amodal, np.float32)
    cells = CellBoxes(visible, amodal, np.array(scores, np.float32))
    return average_boxes(np.array(rows, np.int64), cells)


def test_cells_of_the_same_object_move_its_boxes_by_score_and_overlap():
    # IoU of the first two: 9 * 10 / 110 = 0.818; of the first and third: 8 * 10 / 120 = 0.667.
    visible = [[0, 0, 10, 10], [1, 0, 11, 10], [2, 0, 12, 10], [50, 0, 60, 10]]
    amodal = [[0, 0, 10, 20], [1, 0, 11, 30], [2, 0, 12, 90], [50, 0, 60, 10]]
    averaged = average([0, 3], [0.8, 0.5, 0.9, 0.6], visible, amodal)
    share = 0.5 * (90 / 110) ** 2 / (0.8 + 0.5 * (90 / 110) ** 2)
    np.testing.assert_allclose(averaged[0], [[share, 0, 10 + share, 10], visible[3]], rtol=1e-5)
    np.testing.assert_allclose(
        averaged[1], [[share, 0, 10 + share, 20 + 10 * share], amodal[3]], rtol=1e-5
    )


def test_doubtful_cells_have_no_say():
    visible = [[0, 0, 10, 10], [1, 0, 11, 10]]
    for row in (0, 1):
        np.testing.assert_allclose(average([row], [0.8, 0.1], visible)[0], visible[:1], rtol=1e-6)
        np.testing.assert_array_equal(average([row], [0.1, 0.1], visible)[0], [visible[row]])


def test_boxes_without_area_and_no_boxes_stay_as_they_are():
    flat = [[3, 4, 3, 9], [0, 0, 10, 10]]
    np.testing.assert_allclose(average([0], [0.8, 0.5], flat)[0], flat[:1])
    assert [boxes.shape for boxes in average([], [0.8, 0.5], flat)] == [(0, 4), (0, 4)]


def test_a_suppressed_box_suppresses_nothing():
    # Each overlaps the next with IoU 9 / 11 = 0.82, and the one after with 8 / 12 = 0.67.
    boxes = [[0, 0, 10, 1], [1, 0, 11, 1], [2, 0, 12, 1]]
    rows, scores = choose_with_scores(boxes, [0.9, 0.8, 0.7])
    assert rows == [0, 2]
    np.testing.assert_allclose(scores[1], 0.7 * np.exp(-(4 / 9) / 0.5), rtol=1e-6)


def test_low_scores_and_too_many_boxes_are_left_out():
    boxes = [[10 * i, 0, 10 * i + 5, 5] for i in range(5)]
    assert choose(boxes, [0.05, 0.1, 0.5, 0.4, 0.3], max_boxes=3) == [2, 3, 4]
    assert choose(boxes, [0.05] * 5) == []
    assert choose([], []) == []


def test_the_best_of_thousands_of_cells_are_found():
    boxes = [[10 * i, 0, 10 * i + 5, 5] for i in range(3000)]
    scores = np.linspace(0.2, 0.9, 3000)
    assert choose(boxes, scores, max_boxes=3) == [2999, 2998, 2997]
    assert len(choose(boxes, scores, max_boxes=1000)) == 400


def test_boxes_without_area_overlap_nothing():
    assert choose([[5, 5, 5, 5], [5, 5, 5, 5]], [0.9, 0.8]) == [0, 1]


def square(x, y, width, height):
    return MaskCrop(x, y, np.ones((height, width), bool))


def test_masks_inside_a_better_one_and_empty_ones_are_left_out():
    # Of the second mask 9 of 10 columns lie inside the first, of the third 5 of 10.
    masks = [square(0, 0, 20, 10), square(11, 0, 10, 10), square(15, 0, 10, 10), MaskCrop.empty()]
    assert choose_masks(masks).tolist() == [0, 2]


def test_a_better_mask_inside_a_worse_one_stays_with_it():
    assert choose_masks([square(5, 5, 4, 4), square(0, 0, 20, 20)]).tolist() == [0, 1]
