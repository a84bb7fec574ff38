import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_model.runtime import MaskCrop
from sameo_ros.core.occlusion import find_occluders, hidden_part


def rectangle(x1, y1, x2, y2):
    return MaskCrop(x1, y1, np.ones((y2 - y1, x2 - x1), bool)) if x2 > x1 else MaskCrop.empty()


# Object 0 spans 10 x 10 = 100 pixels, its right half is hidden (50 pixels).
AMODAL = rectangle(0, 0, 10, 10)
LEFT_HALF = rectangle(0, 0, 5, 10)


@pytest.mark.parametrize(
    ("other", "occluders"),
    [
        (rectangle(5, 0, 12, 10), [1]),  # covers all of the hidden half
        (rectangle(5, 0, 6, 5), [1]),  # covers 5 of 50: exactly a tenth
        (rectangle(5, 0, 6, 4), []),  # covers 4 of 50
        (rectangle(0, 0, 5, 10), []),  # covers only what is visible
        (rectangle(20, 0, 30, 10), []),
        (MaskCrop.empty(), []),
    ],
    ids=["all", "a tenth", "less than a tenth", "visible part", "apart", "empty"],
)
def test_the_visible_mask_over_the_hidden_part_decides(other, occluders):
    assert find_occluders([AMODAL, other], [LEFT_HALF, other]) == [occluders, []]


def test_an_object_that_is_wholly_visible_has_nothing_in_front():
    # Object 1's mask overlaps object 0, which nevertheless has no hidden pixel.
    assert find_occluders([AMODAL, AMODAL], [AMODAL, AMODAL]) == [[], []]


def test_an_object_with_an_empty_visible_mask_is_hidden_as_a_whole():
    assert find_occluders([AMODAL, LEFT_HALF], [MaskCrop.empty(), LEFT_HALF]) == [[1], []]


def test_several_occluders_come_in_ascending_order():
    upper, lower = rectangle(5, 0, 10, 5), rectangle(5, 5, 10, 10)
    found = find_occluders([upper, AMODAL, lower], [upper, LEFT_HALF, lower])
    assert found == [[], [0, 2], []]


def test_without_visible_masks_nothing_is_known():
    assert find_occluders([AMODAL, AMODAL], None) == [[], []]


def test_no_objects_need_no_answer():
    assert find_occluders([], []) == []


def crops():
    edges = st.tuples(*[st.integers(0, 6)] * 4)
    return st.builds(
        lambda e, seed: MaskCrop.from_mask(
            np.random.default_rng(seed).random((e[2] + 1, e[3] + 1)) < 0.6, e[0], e[1]
        ),
        edges,
        st.integers(0, 99),
    )


@given(crops(), crops())
def test_the_hidden_part_equals_the_difference_of_full_masks(amodal, visible):
    image_hw = 14, 14
    expected = amodal.to_image(image_hw) & ~visible.to_image(image_hw)
    np.testing.assert_array_equal(hidden_part(amodal, visible).to_image(image_hw), expected)
