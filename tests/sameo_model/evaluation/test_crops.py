import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from sameo_model.data.rle import encode_mask
from sameo_model.evaluation.crops import (
    box_to_crop,
    convex_hull,
    crop_to_rle,
    rle_to_crop,
)
from sameo_model.runtime.types import MaskCrop
from tests.sameo_model.evaluation.scenes import filled

HW = (9, 12)
masks = arrays.arrays(bool, HW)


@given(masks)
def test_decoding_gives_the_same_pixels_as_pycocotools_encoded(mask):
    crop = rle_to_crop(encode_mask(mask))

    assert np.array_equal(crop.to_image(HW), mask)
    expected = MaskCrop.from_mask(mask)
    assert crop.box_xyxy == expected.box_xyxy


@given(masks)
def test_encoding_gives_the_same_counts_as_pycocotools(mask):
    assert crop_to_rle(MaskCrop.from_mask(mask), HW) == encode_mask(mask)


def test_damaged_run_lengths_are_refused():
    with pytest.raises(ValueError, match="must fill 9 x 12 pixels"):
        rle_to_crop({"size": [9, 12], "counts": encode_mask(np.ones((5, 5), bool))["counts"]})


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((2, 3, 5, 7), (2, 3, 5, 7)),
        # A pixel counts if its centre lies in the box: 2.4 takes in the centre 2.5, 2.6 does not.
        ((2.4, 3.6, 5.4, 7.6), (2, 4, 5, 8)),
        ((-4, -4, 3, 3), (0, 0, 3, 3)),
        ((10, 7, 40, 40), (10, 7, 12, 9)),
        ((3, 3, 3, 8), (0, 0, 0, 0)),
    ],
    ids=["whole", "fractions", "left of the image", "right of the image", "no area"],
)
def test_a_box_fills_the_pixels_whose_centres_it_holds(box, expected):
    assert box_to_crop(box, HW).box_xyxy == expected


def test_the_hull_of_two_corners_is_the_band_between_them():
    # Pixels (0, 0) and (4, 4): their hull is the diagonal.
    mask = np.zeros((5, 5), dtype=bool)
    mask[0, 0] = mask[4, 4] = True

    assert np.array_equal(convex_hull(MaskCrop.from_mask(mask)).mask, np.eye(5, dtype=bool))


def test_the_hull_fills_dents():
    # A "U": the hull fills the gap between its arms.
    mask = filled(HW, (2, 2, 4, 8), (2, 6, 9, 8), (7, 2, 9, 8))

    assert np.array_equal(
        convex_hull(MaskCrop.from_mask(mask)).to_image(HW), filled(HW, (2, 2, 9, 8))
    )


@given(masks)
def test_the_hull_holds_the_mask_and_keeps_its_box(mask):
    hull = convex_hull(MaskCrop.from_mask(mask))

    assert not (mask & ~hull.to_image(HW)).any()
    assert hull.box_xyxy == MaskCrop.from_mask(mask).box_xyxy
