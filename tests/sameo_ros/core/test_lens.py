"""Undistortion against OpenCV's forward projection."""

import cv2
import numpy as np
import pytest

from sameo_ros.core.lens import undistort_fisheye, undistort_pinhole


def rays_within(angle_deg):
    """Return rays in all directions, up to an angle off the axis."""
    angles, turns = np.radians(np.linspace(0, angle_deg, 41)), np.linspace(0, 2 * np.pi, 49)
    radii = np.tan(angles)[:, None]
    return np.stack([radii * np.cos(turns), radii * np.sin(turns)], -1).reshape(-1, 2)


def project(rays, distortion, projection):
    points = np.column_stack([rays, np.ones(len(rays))])[:, None]
    none = np.zeros(3)
    return projection(points, none, none, np.eye(3), np.array(distortion, float))[0][:, 0]


PINHOLE = {
    "plumb_bob": [-0.3, 0.1, 0.001, -0.002, 0.0],
    "plumb_bob, four": [-0.25, 0.06, 0.0, 0.001],
    "plumb_bob, strong": [-0.4, 0.15, 0.005, -0.004, 0.0],
    "plumb_bob, pincushion": [0.1, 0.05, 0.0, 0.0, 0.02],
    "rational": [8.0, 12.0, 0.0002, -0.0001, 0.9, 8.4, 14.0, 3.0],
    "thin prism": [-0.2, 0.05, 0.001, 0.001, 0.0, 0.0, 0.0, 0.0, 0.002, 0.001, -0.002, 0.001],
    "tilted": [-0.2, 0.05, 0.0005, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.02, -0.03],
}


@pytest.mark.parametrize("name", PINHOLE)
def test_a_point_a_metre_away_is_met_within_a_micrometre_up_to_60_degrees(name):
    rays, distortion = rays_within(60), np.array(PINHOLE[name], float)
    undone = undistort_pinhole(project(rays, distortion, cv2.projectPoints), distortion)
    np.testing.assert_allclose(undone, rays, atol=1e-6)


@pytest.mark.parametrize(
    "distortion", [[0, 0, 0, 0], [0.05, -0.01, 0.002, 0], [-0.03, 0.02, -0.01, 0.001]]
)
def test_a_fisheye_is_undone_up_to_80_degrees(distortion):
    rays, distortion = rays_within(80), np.array(distortion, float)
    undone = undistort_fisheye(project(rays, distortion, cv2.fisheye.projectPoints), distortion)
    np.testing.assert_allclose(undone, rays, atol=1e-6)


def test_a_fisheye_without_coefficients_is_still_a_fisheye():
    # The image is at r = theta, the ray at tan(theta).
    undone = undistort_fisheye(np.array([[1.0, 0.0]]), np.zeros(0))
    np.testing.assert_allclose(undone, [[np.tan(1.0), 0.0]])


def test_what_no_ray_meets_is_unknown():
    # r (1 - 0.3 r^2) is largest at r = 1 / sqrt(0.9) = 1.054, where it is 0.703.
    falling = np.array([-0.3, 0, 0, 0, 0], float)
    undone = undistort_pinhole(np.array([[0.70, 0], [0.71, 0], [5.0, 5.0]]), falling)
    np.testing.assert_array_equal(np.isnan(undone).any(axis=1), [False, True, True])
    assert np.isnan(undistort_fisheye(np.array([[1.6, 0.0]]), np.zeros(4))).all()  # 92 degrees


def test_no_pixels_have_no_rays():
    assert undistort_pinhole(np.zeros((0, 2)), np.array([-0.3, 0, 0, 0.1, 0])).shape == (0, 2)
    assert undistort_fisheye(np.zeros((0, 2)), np.zeros(4)).shape == (0, 2)
