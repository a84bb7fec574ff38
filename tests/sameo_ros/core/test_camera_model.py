from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sameo_ros.core.camera_model import CameraModel


def camera_info(d=(), model="plumb_bob", focal=(100.0, 50.0)):
    return SimpleNamespace(
        header=SimpleNamespace(frame_id="optical"),
        height=80,
        width=120,
        k=[focal[0], 0, 60, 0, focal[1], 40, 0, 0, 1],
        d=list(d),
        distortion_model=model,
    )


def test_without_distortion_a_ray_is_pixel_minus_centre_over_focal_length():
    camera = CameraModel.from_message(camera_info())
    assert camera.image_hw == (80, 120)
    assert camera.frame_id == "optical"
    rays = camera.pixels_to_rays([[60, 40], [110, 40], [60, 90]])
    np.testing.assert_allclose(rays, [[0, 0], [0.5, 0], [0, 1]])


def test_zero_coefficients_are_no_distortion():
    camera = CameraModel.from_message(camera_info(d=[0.0] * 5))
    np.testing.assert_allclose(camera.pixels_to_rays([[110, 40]]), [[0.5, 0]])


@pytest.mark.parametrize(
    ("d", "model", "project"),
    [
        ([-0.3, 0.1, 0.001, -0.002, 0.0], "plumb_bob", cv2.projectPoints),
        ([-0.3, 0.1, 0.0, 0.0, 0.0, 0.01, 0.02, 0.0], "rational_polynomial", cv2.projectPoints),
        ([0.05, -0.01, 0.002, 0.0], "equidistant", cv2.fisheye.projectPoints),
    ],
)
def test_distortion_is_undone(d, model, project):
    rays = np.array([[0.1, -0.05], [-0.3, 0.2], [0.0, 0.0]])
    points = np.column_stack([rays, np.ones(3)]).reshape(-1, 1, 3)
    message = camera_info(d, model, focal=(100.0, 100.0))
    matrix = np.array(message.k, dtype=float).reshape(3, 3)
    pixels, _ = project(points, np.zeros(3), np.zeros(3), matrix, np.array(d))
    undone = CameraModel.from_message(message).pixels_to_rays(pixels.reshape(-1, 2))
    np.testing.assert_allclose(undone, rays, atol=1e-4)


def test_no_pixels_have_no_rays():
    camera = CameraModel.from_message(camera_info(d=[0.1] * 5))
    assert camera.pixels_to_rays(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("focal", [(0.0, 0.0), (100.0, -1.0), (np.nan, 100.0)])
def test_a_camera_without_calibration_is_refused(focal):
    with pytest.raises(ValueError, match="must hold focal lengths above 0 in K"):
        CameraModel.from_message(camera_info(focal=focal))
