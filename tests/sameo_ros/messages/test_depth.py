from types import SimpleNamespace

import numpy as np
import pytest

from sameo_ros.core.depth_cache import DepthCache
from sameo_ros.core.settings import SameoParameters
from sameo_ros.messages.depth import read_depth
from tests.sameo_ros.stand_ins import header, image

S = 1_000_000_000
IMAGE_HW = 2, 3
SETTINGS = SameoParameters(depth_tolerance_s=0.05)


def camera_info(height=2, width=3, focal=100.0):
    return SimpleNamespace(
        header=header(), height=height, width=width, distortion_model="plumb_bob", d=[],
        k=[focal, 0, 1, 0, focal, 1, 0, 0, 1],
    )  # fmt: skip


def filled(pixels=None, info=None):
    cache = DepthCache()
    pixels = np.full(IMAGE_HW, 1500, "<u2") if pixels is None else pixels
    cache.add_image(image(pixels, "16UC1", seconds=1.0), 0.0, max_age_s=2.0)
    if info is not None:
        cache.set_camera_info(info)
    return cache


def test_depth_and_calibration_of_the_frame_are_found():
    depth = read_depth(filled(info=camera_info()), S, IMAGE_HW, SETTINGS)
    np.testing.assert_allclose(depth.depth_m, np.full(IMAGE_HW, 1.5))
    assert depth.camera.frame_id == "camera"


def test_without_depth_near_in_time_there_is_none():
    assert read_depth(filled(), 2 * S, IMAGE_HW, SETTINGS) is None


def test_depth_without_calibration_has_no_camera():
    assert read_depth(filled(), S, IMAGE_HW, SETTINGS).camera is None


@pytest.mark.parametrize(
    ("cache", "sentence"),
    [
        (
            filled(np.ones((4, 4), "<u2")),
            "depth image must have .* colour image, 3x2; got 4x4: use depth",
        ),
        (filled(np.ones(IMAGE_HW, np.uint8)), "image step must be at least 6 bytes"),
        (filled(info=camera_info(480, 640)), "camera_info must have .* 3x2; got 640x480: use that"),
        (filled(info=camera_info(focal=0.0)), "focal lengths above 0"),
    ],
    ids=["size", "encoding", "size of camera_info", "no calibration"],
)
def test_what_cannot_be_used_is_named(cache, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_depth(cache, S, IMAGE_HW, SETTINGS)
