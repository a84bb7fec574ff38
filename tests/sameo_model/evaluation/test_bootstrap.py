import numpy as np
import pytest

from sameo_model.evaluation.bootstrap import (
    clustered_mean,
    difference,
    draw_weights,
    interval,
    resample,
)


def test_weights_draw_as_many_images_as_there_are_and_repeat_with_the_seed():
    weights = draw_weights(20, 50, seed=1)

    assert weights.shape == (50, 20)
    assert (weights.sum(axis=1) == 20).all()
    assert np.array_equal(weights, draw_weights(20, 50, seed=1))
    assert not np.array_equal(weights, draw_weights(20, 50, seed=2))


def test_the_interval_of_a_mean_has_the_width_that_theory_gives():
    # 400 values of standard deviation 1: the standard error is 1/20, the interval +-1.96/20.
    values = np.random.default_rng(0).normal(size=400)
    mean = clustered_mean(values, np.arange(400))
    low, high = interval(resample(mean, draw_weights(400, 2000)))

    assert low == pytest.approx(values.mean() - 0.098, abs=0.012)
    assert high == pytest.approx(values.mean() + 0.098, abs=0.012)


def test_a_mean_over_clusters_weights_all_values_of_an_image_together():
    mean = clustered_mean(np.array([1.0, 3.0, np.nan, 8.0]), np.array([0, 0, 0, 1]))

    # Image 0 twice, image 1 once: (1 + 3 + 1 + 3 + 8) / 5; the undefined value does not count.
    assert mean(np.array([2.0, 1.0])) == pytest.approx(16 / 5)
    assert np.isnan(mean(np.array([0.0, 0.0])))


def test_a_clear_difference_is_significant_and_none_is_not():
    clear = difference(0.1, np.linspace(0.05, 0.15, 999))
    assert (clear.low, clear.high) == (pytest.approx(0.0525), pytest.approx(0.1475))
    # No replicate lies at or below 0: 2 * 1 / 1000.
    assert clear.p_value == pytest.approx(0.002)
    assert difference(0.0, np.linspace(-1, 1, 999)).p_value == pytest.approx(1.0, abs=0.01)


def test_undefined_replicates_do_not_count():
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert np.isnan(interval(np.array([np.nan]))[0])
