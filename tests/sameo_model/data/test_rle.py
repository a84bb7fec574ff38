"""Run lengths against masks counted pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from sameo_model.data.rle import (
    encode_mask,
    intersect_rles,
    occlusion_rate,
    rle_area,
    rle_box_xywh,
    rle_runs,
)
from tests.sameo_model.data import fabricate as fab

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(mask=MASKS)
def test_encoding_and_decoding_return_the_same_mask(mask):
    np.testing.assert_array_equal(coco_mask.decode(encode_mask(mask)), mask)


@given(mask=MASKS)
def test_runs_are_those_counted_down_the_columns(mask):
    runs = rle_runs(encode_mask(mask)["counts"])
    assert runs.tolist() == fab.uncompressed_rle(mask)["counts"]


def test_long_runs_that_shrink_again_are_expanded():
    # Runs of 5000, 4000, 5000, 10 need several characters and negative differences.
    mask = np.zeros(14_010 * 2, dtype=bool)
    mask[5000:9000] = mask[14_000:14_010] = True
    mask = mask.reshape(2, -1, order="F")
    assert rle_runs(encode_mask(mask)["counts"]).tolist() == [5000, 4000, 5000, 10, 14_010]


@pytest.mark.parametrize("counts", [b"", b"\x20", b"\x7f", b"o", b"oooooooo1"])
def test_malformed_text_has_no_runs(counts):
    assert rle_runs(counts) is None


def test_area_box_and_intersection_of_the_hand_drawn_scene():
    front, back = encode_mask(fab.FRONT), encode_mask(fab.BACK)
    assert (rle_area(front), rle_area(back)) == (16, 20)
    assert rle_box_xywh(back) == (4, 3, 5, 4)
    shared = intersect_rles(front, back)
    np.testing.assert_array_equal(coco_mask.decode(shared), fab.FRONT & fab.BACK)


def test_the_occlusion_rate_is_the_hidden_share():
    assert occlusion_rate(20, 16) == pytest.approx(0.2)
    assert occlusion_rate(20, 20) == 0.0
