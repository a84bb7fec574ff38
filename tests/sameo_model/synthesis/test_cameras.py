import numpy as np
import pytest

from sameo_model.synthesis.cameras import PinholeCamera, look_at, sample_camera
from sameo_model.synthesis.stage import Stage


def test_the_point_looked_at_is_in_the_middle_and_up_is_up():
    position, target = np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 0.5])
    camera = PinholeCamera(position, look_at(position, target), 40.0)
    points = np.stack([target, target + np.array([0, 0, 0.1])])
    xy, depth = camera.project(points, (480, 640))
    assert xy[0] == pytest.approx([320, 240])
    assert xy[1, 1] < 240  # rows count downwards
    assert depth[0] == pytest.approx(np.linalg.norm(position - target))


def test_half_a_field_of_view_spans_half_the_image():
    camera = PinholeCamera(np.zeros(3), np.eye(3), 90.0)  # forward is z, tan(45 deg) = 1
    xy, _ = camera.project(np.array([[1.0, 1.0, 1.0]]), (480, 640))
    assert xy[0] == pytest.approx([560, 480])


def test_cameras_look_from_above_obliquely_and_low_and_never_from_below():
    rng, centres = np.random.default_rng(0), np.random.default_rng(1).uniform(-0.2, 0.2, (8, 3))
    centres[:, 2] = 0.05
    stage = Stage("table", (0.5, 0.5))
    elevations = []
    for _ in range(300):
        camera = sample_camera(rng, stage, centres, np.full(8, 0.12), (480, 640))
        assert camera.position[2] > 0.03
        forward = camera.rotation[:, 2]
        elevations.append(np.degrees(np.arcsin(-forward[2])))
        assert np.linalg.det(camera.rotation) == pytest.approx(1.0)
    shares = np.histogram(elevations, [-90, 28, 62, 90])[0] / 300
    assert (shares > 0.15).all()
