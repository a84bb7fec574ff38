import numpy as np
import pytest

from sameo_model.synthesis.depth_sensor import BASELINE_M, sense_depth

FOCAL_PX = 600.0


def wall(depth_m: float) -> np.ndarray:
    return np.full((120, 160), depth_m, np.float32)


def sense(depth_m: np.ndarray) -> np.ndarray:
    return sense_depth(np.random.default_rng(0), depth_m, FOCAL_PX)


@pytest.mark.parametrize("depth_m", [0.5, 1.0, 2.0])
def test_the_error_grows_with_the_square_of_the_distance(depth_m):
    sensed = sense(wall(depth_m))
    error = (sensed - depth_m)[sensed > 0]
    # One disparity step of 1/8 px is z^2 / (f b) / 8: 3.8 mm at 1 m. The noise of 0.085 px and the
    # rounding (a step's width over sqrt(12)) make 0.093 px together, 2.8 mm at 1 m.
    step_m = depth_m**2 / (FOCAL_PX * BASELINE_M)
    assert 0.07 * step_m < error.std() < 0.13 * step_m
    assert abs(error.mean()) < 0.06 * step_m
    assert (sensed > 0).mean() > 0.98


@pytest.mark.parametrize("depth_m", [0.0, 0.1, 20.0], ids=["nothing", "too near", "too far"])
def test_nothing_is_measured_out_of_range(depth_m):
    assert not sense(wall(depth_m)).any()


def test_beside_a_near_object_lies_a_shadow_on_one_side_only():
    depth = wall(2.0)
    depth[:, 80:110] = 0.5
    measured = (sense(depth) > 0)[20:100]
    # Disparities are 16.5 px at 2 m and 66 px at 0.5 m: 49.5 columns left of the object are hidden
    # from the second eye, those right of it are not.
    assert measured[:, 35:76].mean() < 0.05
    assert measured[:, :28].mean() > 0.95
    assert measured[:, 115:].mean() > 0.95


def test_surfaces_seen_at_a_grazing_angle_return_nothing():
    columns = np.arange(160, dtype=np.float32)
    # 1 m deep at the left; depth grows by 1 % per column: tan = 0.01 * 600 = 6 (80.5 degrees).
    grazing = np.tile(np.exp(0.01 * columns), (120, 1)).astype(np.float32)
    steep = np.tile(np.exp(0.004 * columns), (120, 1)).astype(np.float32)  # tan 2.4, 67 degrees
    assert (sense(grazing) > 0)[10:-10, 10:-10].mean() < 0.15
    assert (sense(steep) > 0)[10:-10, 10:-10].mean() > 0.9


def test_the_same_generator_gives_the_same_depth():
    assert (sense(wall(1.0)) == sense(wall(1.0))).all()
