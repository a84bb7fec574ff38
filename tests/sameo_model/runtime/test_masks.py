import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from sameo_model.runtime.masks import crop_to_rle, rle_to_mask
from sameo_model.runtime.types import MaskCrop

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))
masks = shapes.flatmap(lambda shape: hnp.arrays(np.bool_, shape))


def encode(mask):
    return crop_to_rle(MaskCrop(0, 0, mask), mask.shape)


def coco_rle(mask):
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def test_a_small_mask_has_the_counts_derived_by_hand():
    mask = np.array([[0, 1, 0], [0, 1, 1]], bool)
    # Columns: 00, 11, 01; runs 2 unset, 2 set, 1 unset, 1 set. From the fourth count on the
    # difference to the one two before: 2, 2, 1, 1 - 2 = -1. Five bits from '0': '2', '2', '1',
    # and -1 is 31, one group as its sign bit is set: chr(48 + 31) = 'O'.
    assert encode(mask) == {"size": [2, 3], "counts": "221O"}


@given(masks)
def test_counts_equal_those_of_pycocotools(mask):
    assert encode(mask) == coco_rle(mask)


@given(masks)
def test_decoding_undoes_encoding(mask):
    np.testing.assert_array_equal(rle_to_mask(encode(mask)), mask)


@given(masks, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_crop_encodes_as_its_whole_image(mask, left, top, right, bottom):
    full = np.pad(mask, ((top, bottom), (left, right)))
    assert crop_to_rle(MaskCrop(left, top, mask), full.shape) == coco_rle(full)
    assert crop_to_rle(MaskCrop.from_mask(full), full.shape) == coco_rle(full)


@pytest.mark.parametrize("density", [0.0, 0.001, 0.5, 1.0])
def test_large_masks_with_long_and_short_runs_agree_with_pycocotools(density):
    mask = np.random.default_rng(3).random((1500, 2000)) < density
    assert encode(mask) == coco_rle(mask)
    np.testing.assert_array_equal(rle_to_mask(coco_rle(mask)), mask)


def test_bytes_and_plain_lists_of_counts_are_read():
    expected = np.array([[0, 1, 0], [0, 1, 1]], bool)
    np.testing.assert_array_equal(rle_to_mask({"size": [2, 3], "counts": b"221O"}), expected)
    uncompressed = {"size": [2, 3], "counts": [2, 2, 1, 1]}
    np.testing.assert_array_equal(rle_to_mask(uncompressed), expected)


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        pytest.param({"counts": "221O"}, "must hold 'size'", id="no size"),
        pytest.param({"size": [2, 3]}, "must hold 'size'", id="no counts"),
        pytest.param([[0, 0, 5, 0, 5, 5]], "must hold 'size'", id="polygon"),
        pytest.param({"size": [2, 3], "counts": "22P"}, "end too early", id="cut off"),
        pytest.param({"size": [2, 3], "counts": "2 1"}, "does not write", id="odd character"),
        pytest.param({"size": [2, 3], "counts": "P" * 30 + "0"}, "too long", id="long number"),
        pytest.param({"size": [2, 4], "counts": "221O"}, "add up to 2 x 4", id="other size"),
        pytest.param({"size": [2, 3], "counts": [7, -1]}, "must be positive", id="negative"),
        pytest.param({"size": [2, 3], "counts": ""}, "they add up to 0", id="empty counts"),
    ],
)
def test_damaged_encodings_are_rejected(rle, message):
    with pytest.raises(ValueError, match=message):
        rle_to_mask(rle)


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (0, -1), (2, 0), (0, 3)])
def test_a_crop_outside_the_image_is_rejected(x, y):
    with pytest.raises(ValueError, match="crop must lie inside the image of 4 x 3"):
        crop_to_rle(MaskCrop(x, y, np.ones((2, 2), bool)), (4, 3))
