import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_model.evaluation.boundary import boundary_f, contour, near, tolerance_px
from sameo_model.runtime.types import MaskCrop
from tests.sameo_model.evaluation.scenes import filled

HW = (480, 640)


def _crop(*boxes, hw=HW):
    return MaskCrop.from_mask(filled(hw, *boxes))


def test_tolerance_grows_with_the_image():
    # Diagonal of 480 x 640 is 800: 0.003 * 800 = 2.4, rounded up.
    assert tolerance_px((480, 640)) == 3
    # 1080 x 1920: 2202.9 * 0.003 = 6.6.
    assert tolerance_px((1080, 1920)) == 7


def test_contour_of_a_square_is_its_rim():
    rim = contour(np.ones((4, 5), dtype=bool))

    expected = np.ones((4, 5), dtype=bool)
    expected[1:3, 1:4] = False
    assert np.array_equal(rim, expected)


def test_near_is_a_disk():
    point = np.zeros((7, 7), dtype=bool)
    point[3, 3] = True
    rows, columns = np.mgrid[-3:4, -3:4]

    assert np.array_equal(near(point, 2), rows**2 + columns**2 <= 4)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (0, 1.0),
        (3, 1.0),  # the whole rim moves by 3 pixels, the tolerance
    ],
)
def test_a_shift_within_the_tolerance_costs_nothing(shift, expected):
    first = _crop((100, 100, 200, 200))
    second = _crop((100 + shift, 100, 200 + shift, 200))

    assert boundary_f(first, second, HW) == pytest.approx(expected)


def test_a_shift_of_two_sides_beyond_the_tolerance_costs_those_sides():
    # Shifted by 50 to the right: the upper and lower sides overlap on 50 of 100 pixels and 3
    # more are near at each of the two ends (50 + 3 of 100 pixels each, predicted and true alike);
    # the left and right sides meet nothing but, near the corners, the other's horizontal sides.
    # Contour: 4 * 100 - 4 = 396 pixels. Upper and lower side: columns 150 to 199 of the true
    # square lie on the shifted one, 147 to 149 within 3 pixels: 53 each. The true right side
    # (column 199) has rows 101 to 198; within 3 pixels of the shifted square's upper side (row
    # 100): rows 101 to 103, likewise 196 to 198 below: 6. Together 2 * 53 + 6 = 112.
    first, second = _crop((100, 100, 200, 200)), _crop((150, 100, 250, 200))

    assert boundary_f(first, second, HW) == pytest.approx(112 / 396)


def test_an_empty_mask_matches_only_an_empty_mask():
    square = _crop((100, 100, 200, 200))

    assert boundary_f(MaskCrop.empty(), square, HW) == 0
    assert boundary_f(square, MaskCrop.empty(), HW) == 0
    assert boundary_f(MaskCrop.empty(), MaskCrop.empty(), HW) == 1


sides = st.integers(1, 30)
corners = st.tuples(st.integers(0, 30), st.integers(0, 30))


@given(corners, sides, sides, corners, sides, sides)
def test_f_is_symmetric_and_a_share(first, width, height, second, other_width, other_height):
    a = _crop((*first, first[0] + width, first[1] + height), hw=(64, 64))
    b = _crop((*second, second[0] + other_width, second[1] + other_height), hw=(64, 64))

    value = boundary_f(a, b, (64, 64))
    assert 0 <= value <= 1
    assert value == pytest.approx(boundary_f(b, a, (64, 64)))
    assert boundary_f(a, a, (64, 64)) == 1
