"""Box prompts: tight boxes and their jitter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_model.data.collection import open_dataset
from sameo_model.data.prompts import instance_box_xyxy, jitter_boxes_xyxy, mask_to_box_xyxy
from tests.sameo_model.data import fabricate as fab

BOXES = np.array([[10, 20, 50, 100], [0, 0, 8, 8]], dtype=np.float32)


def test_a_tight_box_ends_behind_the_last_column_and_row():
    box_xyxy = mask_to_box_xyxy(fab.BACK)
    # Columns 4 to 8, rows 3 to 6.
    assert box_xyxy.tolist() == [4, 3, 9, 7]
    assert box_xyxy.dtype == np.float32


def test_a_single_pixel_has_a_box_of_one_by_one():
    mask = np.zeros((5, 7), dtype=bool)
    mask[4, 6] = True
    assert mask_to_box_xyxy(mask).tolist() == [6, 4, 7, 5]


def test_an_empty_mask_has_no_box():
    with pytest.raises(ValueError, match="at least one pixel, got none"):
        mask_to_box_xyxy(np.zeros((3, 3), dtype=bool))


def test_the_boxes_of_an_instance_are_those_of_its_masks(tmp_path):
    fab.amodal_coco(tmp_path)
    _, back = open_dataset("amodal_coco", tmp_path)[0].instances
    assert instance_box_xyxy(back, "amodal").tolist() == mask_to_box_xyxy(fab.BACK).tolist()
    np.testing.assert_array_equal(
        instance_box_xyxy(back, "visible"), mask_to_box_xyxy(fab.BACK_VISIBLE)
    )


def test_an_instance_without_the_mask_has_no_such_prompt(tmp_path):
    fab.lvis(tmp_path)
    (instance,) = open_dataset("lvis", tmp_path)[0].instances
    with pytest.raises(ValueError, match="has no amodal box"):
        instance_box_xyxy(instance, "amodal")


def test_no_jitter_changes_nothing():
    jittered = jitter_boxes_xyxy(BOXES, 0.0, np.random.default_rng(0), (120, 80))
    np.testing.assert_array_equal(jittered, BOXES)


def test_sides_move_by_up_to_the_share_of_their_own_direction():
    # 40 wide and 80 high: at 10 % the sides move by up to 4 in x and 8 in y.
    boxes = np.tile(BOXES[:1], (5000, 1))
    moves = jitter_boxes_xyxy(boxes, 0.1, np.random.default_rng(0), (500, 500)) - boxes
    largest = np.abs(moves).max(axis=0)
    np.testing.assert_allclose(largest, [4, 8, 4, 8], rtol=0.01)
    np.testing.assert_allclose(moves.mean(axis=0), 0, atol=0.2)
    # Uniform: half of the moves lie within half of the range.
    assert (np.abs(moves[:, 0]) < 2).mean() == pytest.approx(0.5, abs=0.03)


def test_a_seed_repeats_the_jitter():
    first, second = (
        jitter_boxes_xyxy(BOXES, 0.2, np.random.default_rng(7), (120, 80)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@given(share=st.floats(0, 0.49), seed=st.integers(0, 1000))
def test_jittered_boxes_stay_in_the_image_and_keep_an_area(share, seed):
    boxes = jitter_boxes_xyxy(BOXES, share, np.random.default_rng(seed), (100, 50))
    assert boxes.dtype == np.float32
    assert (boxes >= 0).all()
    assert (boxes <= [50, 100, 50, 100]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_no_boxes_stay_no_boxes():
    empty = np.zeros((0, 4), dtype=np.float32)
    assert jitter_boxes_xyxy(empty, 0.1, np.random.default_rng(0), (9, 9)).shape == (0, 4)


@pytest.mark.parametrize("share", [-0.1, 0.5])
def test_a_share_at_which_sides_could_cross_is_refused(share):
    with pytest.raises(ValueError, match=r"share must lie in \[0, 0.5\)"):
        jitter_boxes_xyxy(BOXES, share, np.random.default_rng(0), (9, 9))


def test_boxes_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(N, 4\), got \(4,\)"):
        jitter_boxes_xyxy(BOXES[0], 0.1, np.random.default_rng(0), (9, 9))
