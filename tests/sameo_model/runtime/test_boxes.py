import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_model.runtime.boxes import BoxFault, check_boxes, reach_far_outside, scale_boxes

IMAGE_HW = (60, 100)


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        pytest.param((10, 10, 20, 20), BoxFault.NONE, id="inside"),
        pytest.param((0, 0, 100, 60), BoxFault.NONE, id="whole image"),
        pytest.param((-50, -50, 500, 500), BoxFault.NONE, id="larger than the image"),
        pytest.param((99.5, 59.5, 120, 80), BoxFault.NONE, id="last half pixel"),
        pytest.param((100, 10, 120, 20), BoxFault.OUTSIDE, id="touches the right border"),
        pytest.param((-20, 10, 0, 20), BoxFault.OUTSIDE, id="touches the left border"),
        pytest.param((10, 60, 20, 90), BoxFault.OUTSIDE, id="below"),
        pytest.param((20, 10, 10, 20), BoxFault.INVERTED, id="x inverted"),
        pytest.param((10, 20, 20, 10), BoxFault.INVERTED, id="y inverted"),
        pytest.param((120, 10, 110, 20), BoxFault.INVERTED, id="inverted outside"),
        pytest.param((10, 10, 10, 20), BoxFault.NO_AREA, id="no width"),
        pytest.param((10, 10, 10, 10), BoxFault.NO_AREA, id="a point"),
        pytest.param((10, np.nan, 20, 20), BoxFault.NOT_FINITE, id="nan"),
        pytest.param((10, 10, np.inf, 20), BoxFault.NOT_FINITE, id="infinite"),
        pytest.param((10, 10, 1e300, 20), BoxFault.NOT_FINITE, id="too large for float32"),
    ],
)
def test_each_box_gets_its_fault(box, fault):
    checked = check_boxes([box], IMAGE_HW)
    assert BoxFault(checked.faults[0]) == fault
    assert checked.usable[0] == (fault == BoxFault.NONE)


def test_usable_boxes_are_clipped_and_unusable_ones_zeroed_in_their_rows():
    boxes = [[-5, 5, 30, 70], [np.nan, 0, 1, 1], [9, 9, 2, 12], [10, 20, 30, 40]]
    checked = check_boxes(boxes, IMAGE_HW)
    # Row 0: x from -5 to 0, y from 70 to the height 60.
    expected = np.array([[0, 5, 30, 60], [0] * 4, [0] * 4, [10, 20, 30, 40]], np.float32)
    np.testing.assert_array_equal(checked.boxes_xyxy, expected)
    assert checked.usable.tolist() == [True, False, False, True]


@pytest.mark.parametrize("empty", [[], np.zeros((0, 4)), np.zeros(0)], ids=str)
def test_no_boxes_are_fine(empty):
    checked = check_boxes(empty, IMAGE_HW)
    assert checked.boxes_xyxy.shape == (0, 4)
    assert checked.usable.shape == (0,)


@pytest.mark.parametrize(
    "boxes",
    [
        np.zeros(4),
        np.zeros((2, 5)),
        np.zeros((0, 5)),
        np.zeros((1, 1, 4)),
        [[1, 2], [3]],
        "a",
        [[10**400] * 4],
    ],
    ids=["flat", "five columns", "no rows of five", "three axes", "ragged", "text", "huge"],
)
def test_other_shapes_are_rejected(boxes):
    with pytest.raises(ValueError, match=r"boxes_xyxy must be numbers of shape \(N, 4\)"):
        check_boxes(boxes, IMAGE_HW)


coordinates = st.floats(-300, 300, width=32) | st.sampled_from([np.nan, np.inf, 0.0, 60.0, 100.0])


@given(st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), max_size=8))
def test_usable_boxes_always_have_an_area_inside_the_image(boxes):
    checked = check_boxes(boxes, IMAGE_HW)
    x1, y1, x2, y2 = checked.boxes_xyxy[checked.usable].T
    assert len(checked.faults) == len(boxes)
    assert (x1 >= 0).all()
    assert (y1 >= 0).all()
    assert (x2 <= 100).all()
    assert (y2 <= 60).all()
    assert ((x2 > x1) & (y2 > y1)).all()
    # Clipping again changes nothing.
    again = check_boxes(checked.boxes_xyxy, IMAGE_HW)
    np.testing.assert_array_equal(again.boxes_xyxy, checked.boxes_xyxy)


def test_scaling_works_on_each_axis_apart():
    # Width 100 to 50 halves x, height 25 to 50 doubles y.
    scaled = scale_boxes(np.array([[10, 5, 100, 25]], np.float32), (25, 100), 50)
    np.testing.assert_array_equal(scaled, np.array([[5, 10, 50, 50]], np.float32))


@pytest.mark.parametrize(
    ("box", "is_far"),
    [
        # A tenth of 100 x 60 pixels and 4 more: 14 to the left and right, 10 above and below.
        pytest.param((0, 0, 100, 60), False, id="whole image"),
        pytest.param((-14, -10, 114, 70), False, id="a little beyond"),
        pytest.param((-15, 0, 50, 50), True, id="left"),
        pytest.param((0, 0, 50, 71), True, id="below"),
        pytest.param((np.nan, 0, 50, 50), False, id="nan"),
    ],
)
def test_boxes_far_beyond_the_border_are_told_from_those_that_overshoot(box, is_far):
    assert reach_far_outside(np.array([box], np.float32), IMAGE_HW).tolist() == [is_far]
