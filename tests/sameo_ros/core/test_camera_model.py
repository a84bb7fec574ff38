from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sameo_ros.core.camera_model import CameraModel, is_rectified

BARREL = [-0.3, 0.1, 0.0, 0.0, 0.0]


def projection(focal, centre=(60, 40)):
    return [focal, 0, centre[0], 0, 0, focal, centre[1], 0, 0, 0, 1, 0]


def camera_info(d=(), model="plumb_bob", focal=(100.0, 50.0), p=(0.0,) * 12, **window):
    return SimpleNamespace(
        header=SimpleNamespace(frame_id="optical"),
        height=80,
        width=120,
        k=[focal[0], 0, 60, 0, focal[1], 40, 0, 0, 1],
        d=list(d),
        p=list(p),
        distortion_model=model,
        binning_x=window.get("binning", (0, 0))[0],
        binning_y=window.get("binning", (0, 0))[1],
        roi=SimpleNamespace(
            **dict(
                zip(
                    ("x_offset", "y_offset", "width", "height"),
                    window.get("roi", (0, 0, 0, 0)),
                    strict=True,
                )
            )
        ),
    )


def ray_of(message, pixel=(110, 40), **options):
    (ray,) = CameraModel.from_message(message, **options).pixels_to_rays(np.array([pixel]))
    return ray


def test_without_distortion_a_ray_is_pixel_minus_centre_over_focal_length():
    camera = CameraModel.from_message(camera_info())
    assert camera.image_hw == (80, 120)
    assert camera.frame_id == "optical"
    rays = camera.pixels_to_rays([[60, 40], [110, 40], [60, 90]])
    np.testing.assert_allclose(rays, [[0, 0], [0.5, 0], [0, 1]])


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial", "", "none"])
def test_zero_coefficients_are_no_distortion(model):
    np.testing.assert_allclose(ray_of(camera_info([0.0] * 5, model)), [0.5, 0])


@pytest.mark.parametrize("d", [[0.0] * 4, []])
@pytest.mark.parametrize("model", ["equidistant", "fisheye", "KANNALA_BRANDT4", "Kannala Brandt4"])
def test_a_fisheye_with_zero_coefficients_is_no_pinhole(model, d):
    # 50 pixels of 100: r = 0.5 = theta.
    np.testing.assert_allclose(ray_of(camera_info(d, model)), [np.tan(0.5), 0])


@pytest.mark.parametrize(
    ("d", "model", "project"),
    [
        ([-0.3, 0.1, 0.001, -0.002, 0.0], "plumb_bob", cv2.projectPoints),
        ([-0.3, 0.1, 0.001, -0.002, 0.0], "Radial-Tangential", cv2.projectPoints),
        ([-0.3, 0.1, 0.0, 0.0, 0.0, 0.01, 0.02, 0.0], "rational_polynomial", cv2.projectPoints),
        ([0.05, -0.01, 0.002, 0.0], "equidistant", cv2.fisheye.projectPoints),
    ],
)
def test_distortion_is_undone(d, model, project):
    rays = np.array([[0.1, -0.05], [-1.5, 0.8], [0.0, 0.0]])  # 60 degrees off the axis
    points = np.column_stack([rays, np.ones(3)]).reshape(-1, 1, 3)
    message = camera_info(d, model, focal=(100.0, 100.0))
    matrix = np.array(message.k, dtype=float).reshape(3, 3)
    pixels, _ = project(points, np.zeros(3), np.zeros(3), matrix, np.array(d))
    undone = CameraModel.from_message(message).pixels_to_rays(pixels.reshape(-1, 2))
    np.testing.assert_allclose(undone, rays, atol=1e-6)


def test_no_pixels_have_no_rays():
    camera = CameraModel.from_message(camera_info(d=[0.1] * 5))
    assert camera.pixels_to_rays(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("focal", [(0.0, 0.0), (100.0, -1.0), (np.nan, 100.0)])
def test_a_camera_without_calibration_is_refused(focal):
    with pytest.raises(ValueError, match="must hold focal lengths above 0 in K"):
        CameraModel.from_message(camera_info(focal=focal))


@pytest.mark.parametrize(
    ("d", "model", "sentence"),
    [
        ([-0.1, 0.01, 0], "plumb_bob", "4, 5, 8, 12 or 14 coefficients in D, or none; got 3"),
        ([0.0] * 3, "plumb_bob", "got 3"),
        ([0.1] * 15, "rational_polynomial", "got 15"),
        ([0.1] * 5, "equidistant", "must hold 4 coefficients in D, or none; got 5"),
        ([np.nan] * 5, "plumb_bob", "must hold finite coefficients in D"),
        ([np.inf, 0, 0, 0], "equidistant", "must hold finite coefficients in D"),
        ([0.1] * 5, "double_sphere", "plumb_bob, rational_polynomial or equidistant; got 'double"),
        ([0.0] * 5, "double_sphere", "got 'double_sphere'"),
        ([0.1] * 5, "inverse_brown_conrady", "rectify the images"),
        ([0.1] * 5, "", "got ''"),
    ],
)
def test_distortion_that_nobody_knows_is_refused_in_one_sentence(d, model, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        CameraModel.from_message(camera_info(d, model))
    assert "\n" not in str(error.value)


def test_a_rectified_image_counts_by_p_alone():
    message = camera_info([np.nan] * 3, "unknown", focal=(0, 0), p=projection(200, (50, 40)))
    np.testing.assert_allclose(ray_of(message, rectified="on"), [0.3, 0])


def test_a_rectified_image_without_p_is_refused():
    with pytest.raises(ValueError, match=r"above 0 in P of a rectified image; got 0\.0 and 0\.0"):
        CameraModel.from_message(camera_info(BARREL), rectified="on")


SAME = projection(100)
OTHER = projection(70)


@pytest.mark.parametrize(
    ("topic", "d", "model", "p", "expected"),
    [
        ("/image", BARREL, "plumb_bob", OTHER, True),
        ("/image", BARREL, "plumb_bob", SAME, False),  # P says nothing of its own
        ("/image", BARREL, "plumb_bob", [0.0] * 12, False),
        ("/image", [0.0] * 5, "plumb_bob", OTHER, False),  # nothing to rectify
        ("/image", [0.0] * 4, "equidistant", OTHER, True),
        ("/image", [0.0] * 4, "equidistant", SAME, False),
        ("/camera/image_raw", BARREL, "plumb_bob", OTHER, False),
        ("/camera/image_raw/compressed", BARREL, "plumb_bob", OTHER, False),
        ("/camera/image_rect_color", BARREL, "plumb_bob", SAME, True),
        ("/left/rectified/image", BARREL, "plumb_bob", SAME, True),
        ("/direct/image", BARREL, "plumb_bob", SAME, False),  # only a whole word counts
        ("/camera/image_rect", [0.0] * 5, "plumb_bob", [0.0] * 12, False),  # K is enough
        ("/left/image_rect", [0.0] * 5, "plumb_bob", OTHER, True),  # turned to its stereo partner
    ],
)
def test_auto_goes_by_the_name_of_the_topic_then_by_p(topic, d, model, p, expected):
    message = camera_info(d, model, focal=(100.0, 100.0), p=p)
    assert is_rectified(message, "auto", topic) == expected


def test_off_ignores_p():
    message = camera_info([0.0] * 4, "equidistant", p=OTHER)
    np.testing.assert_allclose(ray_of(message, rectified="off"), [np.tan(0.5), 0])


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="rectified must be one of auto, on, off; got 'yes'"):
        is_rectified(camera_info(), "yes")


def test_region_of_interest_and_binning_move_and_shrink_the_calibration():
    message = camera_info(roi=(20, 10, 80, 60), binning=(2, 4))
    camera = CameraModel.from_message(message)
    assert camera.image_hw == (15, 40)
    # Pixel 45 of the image is column 2 * 45 + 20 = 110 of the sensor.
    np.testing.assert_allclose(ray_of(message, (45, 7.5)), [0.5, 0])
