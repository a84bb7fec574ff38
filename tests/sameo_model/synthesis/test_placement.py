"""Offsets that hide a wanted share, on masks whose overlaps can be counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_model.synthesis.placement import OcclusionRange, overlap_area, solve_offset

SQUARE = np.ones((20, 20), dtype=bool)


def test_a_square_over_a_square_moves_by_the_share_that_stays_visible():
    # Along x, an equal square shifted by d hides (20 - d) of 20 columns: 30 % at d = 14.
    placement = solve_offset(SQUARE, SQUARE, 0.3, direction_rad=0.0)
    assert (placement.x, placement.y, placement.is_reached) == (14, 0, True)
    assert placement.rate == pytest.approx(0.3)


def test_the_direction_is_measured_from_x_towards_y():
    placement = solve_offset(SQUARE, SQUARE, 0.3, direction_rad=-math.pi / 2)
    assert (placement.x, placement.y) == (0, -14)


def test_an_occluder_that_is_too_small_is_centred():
    # 10 x 10 pixels hide 100 of 400 at most, from column and row 5 on.
    placement = solve_offset(SQUARE, np.ones((10, 10), dtype=bool), 0.5, direction_rad=1.0)
    assert (placement.x, placement.y, placement.is_reached) == (5, 5, False)
    assert placement.rate == 0.25


def test_holes_in_the_masks_count():
    # A ring of one pixel: 4 * 19 = 76 pixels. A larger square that covers the left 10 columns
    # hides half of it: 20 in the first column and 2 in each of 9 others, 38.
    ring = SQUARE.copy()
    ring[1:-1, 1:-1] = False
    placement = solve_offset(ring, np.ones((60, 60), dtype=bool), 0.5, direction_rad=math.pi)
    assert placement.x == -50
    assert placement.rate == 0.5


@given(
    rate=st.floats(0.05, 0.9),
    direction_rad=st.floats(0, 2 * math.pi),
    height=st.integers(20, 60),
    width=st.integers(20, 60),
)
def test_any_rate_is_met_within_one_row_or_column(rate, direction_rad, height, width):
    target = np.ones((height, width), dtype=bool)
    placement = solve_offset(target, np.ones((80, 80), dtype=bool), rate, direction_rad)
    assert placement.is_reached
    # A step of one pixel in both directions changes at most a row and a column.
    assert abs(placement.rate - rate) <= 1 / height + 1 / width
    measured = overlap_area(target, np.ones((80, 80), dtype=bool), placement.x, placement.y)
    assert placement.rate == measured / target.size


@given(x=st.integers(-12, 12), y=st.integers(-12, 12), seed=st.integers(0, 10))
def test_overlap_equals_that_of_masks_painted_on_a_canvas(x, y, seed):
    generator = np.random.default_rng(seed)
    first, second = generator.random((7, 9)) < 0.5, generator.random((5, 6)) < 0.5
    canvas_first, canvas_second = np.zeros((2, 40, 40), dtype=bool)
    canvas_first[15:22, 15:24] = first
    canvas_second[15 + y : 20 + y, 15 + x : 21 + x] = second
    assert overlap_area(first, second, x, y) == (canvas_first & canvas_second).sum()


def test_requested_rates_have_the_asked_mean_and_range():
    occlusion = OcclusionRange(mean=0.345, lowest=0.05, highest=0.75)
    generator = np.random.default_rng(0)
    rates = np.array([occlusion.sample(generator) for _ in range(20_000)])
    # The standard deviation is about 0.15, so that of the mean is 0.001.
    assert rates.mean() == pytest.approx(0.345, abs=0.004)
    assert rates.min() >= 0.05
    assert rates.max() <= 0.75
    assert rates.std() > 0.1


@pytest.mark.parametrize("changes", [{"lowest": 0.5}, {"highest": 1.0}, {"concentration": 0}])
def test_an_impossible_range_is_refused(changes):
    with pytest.raises(ValueError, match="0 < lowest < mean < highest < 1"):
        OcclusionRange(**changes)
