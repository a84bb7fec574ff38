import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sameo_model.runtime.types import MaskCrop

HW = (7, 9)
masks = hnp.arrays(np.bool_, HW)


def test_a_crop_is_the_tight_box_of_its_mask():
    mask = np.zeros(HW, bool)
    mask[2, 3:6] = True
    mask[4, 4] = True
    crop = MaskCrop.from_mask(mask)
    # Rows 2 to 4, columns 3 to 5, ends exclusive.
    assert crop.box_xyxy == (3, 2, 6, 5)
    assert crop.area == 4


def test_an_empty_mask_has_an_empty_crop_at_the_origin():
    crop = MaskCrop.from_mask(np.zeros(HW, bool), x=4, y=5)
    assert crop.box_xyxy == (0, 0, 0, 0)
    assert crop.mask.shape == (0, 0)
    assert not crop.to_image(HW).any()


@given(masks)
def test_painting_a_crop_gives_its_mask_back(mask):
    np.testing.assert_array_equal(MaskCrop.from_mask(mask).to_image(HW), mask)


@given(masks, st.integers(0, 6), st.integers(0, 8))
def test_a_crop_of_a_part_keeps_its_place(mask, y, x):
    crop = MaskCrop.from_mask(mask[y:, x:], x=x, y=y)
    expected = mask.copy()
    expected[:y] = False
    expected[:, :x] = False
    np.testing.assert_array_equal(crop.to_image(HW), expected)


@given(masks, masks)
def test_operations_on_crops_are_those_on_their_masks(a, b):
    first, second = MaskCrop.from_mask(a), MaskCrop.from_mask(b)
    assert first.intersection_area(second) == np.count_nonzero(a & b)
    np.testing.assert_array_equal(first.subtract(second).to_image(HW), a & ~b)
    assert first.subtract(second).box_xyxy == MaskCrop.from_mask(a & ~b).box_xyxy
    inside = MaskCrop(first.x, first.y, first.cut(second)).to_image(HW)
    np.testing.assert_array_equal(inside & a, a & b)
    union = np.count_nonzero(a | b)
    if union:
        assert first.iou(second) == np.count_nonzero(a & b) / union
    else:
        assert np.isnan(first.iou(second))
