import numpy as np
import pytest

from sameo_model.runtime import MaskCrop
from sameo_ros.core.camera_model import CameraModel
from sameo_ros.core.lifting import is_behind, lift_object

IMAGE_HW = 100, 120
# Focal length 100, centre (60, 50): a pixel at depth 1 m is a centimetre wide.
CAMERA = CameraModel(
    np.array([[100.0, 0, 60], [0, 100, 50], [0, 0, 1]]), np.zeros(5), False, IMAGE_HW, "optical"
)


def rectangle(x1, y1, x2, y2):
    return MaskCrop(x1, y1, np.ones((y2 - y1, x2 - x1), bool))


def flat(depth_m=1.0):
    return np.full(IMAGE_HW, depth_m, np.float32)


WHOLE = rectangle(60, 50, 81, 71)  # columns and rows from centre to 20 pixels away


def test_a_flat_visible_object_lies_where_its_pixels_look():
    lifted = lift_object(WHOLE, WHOLE, 0.0, flat(2.0), CAMERA)
    # Erosion leaves columns 62 to 78: 2 to 18 pixels from the centre, mean 10, times 2 m / 100.
    np.testing.assert_allclose(lifted.points_xyz.mean(axis=0), [0.2, 0.2, 2.0], rtol=1e-6)
    # The outline reaches from 0 to 20 pixels.
    np.testing.assert_allclose(lifted.box.centre_xyz, [0.2, 0.2, 2.0])
    # What is seen around it lies as far away: there is no room behind it.
    np.testing.assert_allclose(lifted.box.size_xyz, [0.4, 0.4, 0.0], atol=1e-9)
    assert 0.019 < np.sqrt(lifted.box.covariance_xyz[2, 2]) < 0.025  # 1 % of 2 m, mostly along z
    assert len(lifted.points_xyz) == 17 * 17


def test_the_hidden_part_widens_the_box_but_gives_no_points():
    depth_m = flat(1.0)
    depth_m[:, 71:] = 0.5  # the occluder in front of the right half
    visible = rectangle(60, 50, 71, 71)
    lifted = lift_object(WHOLE, visible, 0.5, depth_m, CAMERA)
    assert lifted.pixels_xy[:, 0].max() == 68  # 70 less the erosion
    np.testing.assert_allclose(lifted.points_xyz[:, 2], 1.0)
    np.testing.assert_allclose(lifted.box.size_xyz, [0.2, 0.2, 0.0], atol=1e-6)


def test_the_uncertainty_grows_with_the_hidden_share():
    variances = [
        lift_object(WHOLE, WHOLE, share, flat(), CAMERA).box.covariance_xyz[0, 0]
        for share in (0.0, 0.3, 0.9, 1.0)
    ]
    assert variances == sorted(set(variances))
    unknown = lift_object(WHOLE, WHOLE, np.nan, flat(), CAMERA).box.covariance_xyz[0, 0]
    assert unknown == variances[-1]


def test_stray_depths_at_the_edge_and_inside_do_not_stretch_the_box():
    depth_m = flat(1.0)
    depth_m[50:52, 60:81] = 3.0  # the background shows through at the upper edge
    depth_m[60, 65:75] = 0.2  # 10 of 289 pixels: below 5 %
    lifted = lift_object(WHOLE, WHOLE, 0.0, depth_m, CAMERA)
    np.testing.assert_allclose(lifted.box.size_xyz[2], 0.0, atol=1e-6)
    np.testing.assert_allclose(lifted.points_xyz[:, 2].mean(), 1.0)


def test_a_slanted_surface_keeps_its_extent_along_the_ray():
    depth_m = np.broadcast_to(np.linspace(1.0, 2.19, 120, dtype=np.float32), IMAGE_HW)
    lifted = lift_object(WHOLE, WHOLE, 0.0, depth_m, CAMERA)
    # Columns 62 to 78 have depths 1.62 to 1.78, and the outline has those of its neighbours.
    assert 0.15 < lifted.box.size_xyz[2] <= 0.19
    assert lifted.points_xyz[:, 2].mean() == pytest.approx(1.70, abs=0.001)


def test_unknown_depths_are_skipped():
    depth_m = flat(1.0)
    depth_m[::2] = np.nan
    lifted = lift_object(WHOLE, WHOLE, 0.0, depth_m, CAMERA)
    assert np.isfinite(lifted.points_xyz).all()
    assert len(lifted.points_xyz) == 8 * 17  # odd rows from 52 to 68


def test_too_few_known_depths_give_no_object():
    depth_m = np.full(IMAGE_HW, np.nan, np.float32)
    depth_m[60, 62:71] = 1.0
    assert lift_object(WHOLE, WHOLE, 0.0, depth_m, CAMERA) is None
    depth_m[60, 71] = 1.0  # the tenth
    assert lift_object(WHOLE, WHOLE, 0.0, depth_m, CAMERA) is not None


def test_a_thin_object_that_erosion_would_remove_keeps_its_pixels():
    thin = rectangle(60, 50, 63, 90)
    lifted = lift_object(thin, thin, 0.0, flat(), CAMERA)
    assert len(lifted.points_xyz) == 3 * 40


def test_an_object_without_visible_pixels_gives_no_object():
    assert lift_object(WHOLE, MaskCrop.empty(), 1.0, flat(), CAMERA) is None


def test_an_empty_amodal_mask_leaves_the_visible_extent():
    lifted = lift_object(MaskCrop.empty(), WHOLE, np.nan, flat(), CAMERA)
    np.testing.assert_allclose(lifted.box.size_xyz, [0.16, 0.16, 0.0], atol=1e-6)


@pytest.mark.parametrize(
    ("occluder_depth_m", "expected"),
    [(0.8, False), (1.0, False), (1.005, False), (1.02, True), (np.nan, False)],
)
def test_what_lies_behind_hides_nothing(occluder_depth_m, expected):
    depth_m = flat(1.0)
    depth_m[:, 71:] = occluder_depth_m
    visible, hidden = rectangle(60, 50, 71, 71), rectangle(71, 50, 81, 71)
    assert is_behind(rectangle(71, 40, 95, 60), hidden, visible, depth_m) == expected


def test_without_an_overlap_depth_rules_out_nothing():
    hidden = rectangle(71, 50, 81, 71)
    assert not is_behind(rectangle(0, 0, 5, 5), hidden, WHOLE, flat())


def test_depths_that_no_camera_measures_and_rays_that_no_lens_bends_give_no_points():
    depth_m = flat(1.0)
    depth_m[50:60] = 1e30
    lifted = lift_object(WHOLE, WHOLE, 0.0, depth_m, CAMERA)
    assert np.isfinite(lifted.points_xyz).all()
    assert lifted.points_xyz[:, 2].max() == 1.0
    # r (1 - 9 r^2) rises up to r = 0.19, where it is 0.128: 13 pixels from the centre.
    lens = CameraModel(CAMERA.matrix, np.array([-9.0, 0, 0, 0, 0]), False, IMAGE_HW, "optical")
    lifted = lift_object(WHOLE, WHOLE, 0.0, flat(1.0), lens)
    assert np.isfinite(lifted.points_xyz).all()
    assert lifted.pixels_xy.max(axis=0).tolist() <= [72, 62]
    assert np.isfinite(lifted.box.covariance_xyz).all()


@pytest.mark.parametrize("focal", [1e-300, 1e-30, 1e-4, 100.0, 1e30, 1e300])
@pytest.mark.parametrize("centre", [31.5, 1e300, -1e30])
@pytest.mark.parametrize("is_fisheye", [False, True])
def test_an_absurd_calibration_gives_no_object_or_one_of_numbers(focal, centre, is_fisheye):
    matrix = np.array([[focal, 0, centre], [0, 100.0, 32.0], [0, 0, 1]])
    camera = CameraModel(matrix, np.zeros(0), is_fisheye, (64, 64), "optical")
    mask = MaskCrop(16, 16, np.ones((20, 20), bool))
    lifted = lift_object(mask, mask, 0.5, np.full((64, 64), 2, np.float32), camera)
    assert (lifted is not None) == (focal == 100 and centre == 31.5) or focal >= 1e30
    if lifted is not None:
        for values in (lifted.points_xyz, lifted.box.centre_xyz, lifted.box.size_xyz):
            assert np.isfinite(values).all()
        assert np.isfinite(lifted.box.covariance_xyz).all()
