import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_model.runtime import MaskCrop
from sameo_ros.core.occlusion import find_occluders


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


def overlap_shared_out(left_columns):
    """Return two 10 x 10 squares that overlap in 4 columns, of which the left one shows some."""
    amodal = [rectangle(0, 0, 10, 10), rectangle(6, 0, 16, 10)]
    border = 6 + left_columns
    return amodal, [rectangle(0, 0, border, 10), rectangle(border, 0, 16, 10)]


@pytest.mark.parametrize(
    ("left_columns", "occluders"),
    [(4, [[], [0]]), (3, [[], [0]]), (2, [[], [0]]), (1, [[1], []]), (0, [[1], []])],
    ids=["all", "most", "half: the first", "less", "none"],
)
def test_two_objects_never_hide_each_other(left_columns, occluders):
    assert find_occluders(*overlap_shared_out(left_columns)) == occluders


@pytest.mark.parametrize(
    ("left_m", "right_m", "occluders"),
    [
        (1.0, 1.0, [[1], []]),  # depth says nothing: the right one has 3 of 4 columns
        (1.1, 1.0, [[1], []]),
        (1.0, 1.1, [[], [0]]),  # the right one lies behind, and so it is the hidden one
        (np.nan, 1.0, [[1], []]),
    ],
)
def test_depth_overrules_the_share(left_m, right_m, occluders):
    depth_m = np.full((10, 16), right_m, np.float32)
    depth_m[:, :7] = left_m
    assert find_occluders(*overlap_shared_out(1), depth_m) == occluders


def test_what_covers_too_little_is_not_replaced_by_what_covers_less():
    # They overlap in 4 rows of 4 pixels. The small one is seen in 3 of them: 12 pixels of the large
    # one, whose limit is 20 (a fifth of 100). The large one is seen in 4; the small one's limit is
    # 1.4 (a fifth of the square root of 48).
    large, small = rectangle(0, 0, 100, 100), rectangle(96, 0, 108, 4)
    seen_of_large, seen_of_small = large.mask.copy(), small.mask.copy()
    seen_of_large[:3, 96:] = False
    seen_of_small[3, :4] = False
    seen = [MaskCrop(0, 0, seen_of_large), MaskCrop(96, 0, seen_of_small)]
    assert find_occluders([large, small], seen) == [[], []]


@pytest.mark.parametrize(("rows", "occluders"), [(8, [[1], []]), (3, [[], []])])
def test_a_small_share_of_a_large_hidden_part_counts_where_it_is_large_enough(rows, occluders):
    # 500 pixels are hidden; 5 * rows of them: below a tenth, but 40 is more than half the square
    # root of the 2500 pixels of the object, and 15 is not.
    whole = rectangle(0, 0, 50, 50)
    seen = rectangle(0, 0, 40, 50)
    other = rectangle(45, 0, 60, rows)
    assert find_occluders([whole, other], [seen, other]) == occluders


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


@given(st.lists(st.tuples(crops(), st.integers(0, 5)), min_size=2, max_size=5))
def test_no_pair_is_decided_both_ways(objects):
    amodal = [crop for crop, _ in objects]
    seen = [
        MaskCrop.from_mask(
            crop.mask & (np.indices(crop.mask.shape).sum(0) % 5 != hole), crop.x, crop.y
        )
        for crop, hole in objects
    ]
    pairs = {(i, j) for i, found in enumerate(find_occluders(amodal, seen)) for j in found}
    assert not {(j, i) for i, j in pairs} & pairs
