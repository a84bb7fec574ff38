import re
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_ros.core.depth_cache import DepthCache
from sameo_ros.core.frame_cache import Frame
from sameo_ros.core.settings import SameoParameters
from sameo_ros.messages.depth import read_depth
from tests.sameo_ros.stand_ins import header, image

S = 1_000_000_000
IMAGE_HW = 2, 3


def camera_info(height=2, width=3, focal=100.0, frame_id="camera"):
    return SimpleNamespace(
        header=header(1.0, frame_id), height=height, width=width,
        distortion_model="plumb_bob", d=[], k=[focal, 0, 1, 0, focal, 1, 0, 0, 1],
    )  # fmt: skip


def filled(pixels=None, info=None, encoding="16UC1"):
    cache = DepthCache()
    pixels = np.full(IMAGE_HW, 1500, "<u2") if pixels is None else pixels
    cache.add_image(image(pixels, encoding, seconds=1.0), 0.0, max_age_s=2.0)
    if info is not None:
        cache.set_camera_info(info)
    return cache


def read(cache, stamp_ns=S, frame_id="camera"):
    message = SimpleNamespace(header=header(1.0, frame_id))
    return read_depth(cache, Frame(stamp_ns, 1, 0.0, message), IMAGE_HW, SameoParameters())


def test_depth_and_calibration_of_the_frame_are_found():
    depth = read(filled(info=camera_info()))
    np.testing.assert_allclose(depth.depth_m, np.full(IMAGE_HW, 1.5))
    assert depth.camera.frame_id == "camera"
    assert depth.complaint == ""


def test_without_depth_near_in_time_there_is_none():
    assert read(filled(), 2 * S) is None


def test_depth_without_calibration_has_no_camera():
    assert read(filled()).camera is None


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
        read(cache)


def test_metres_that_must_be_millimetres_are_doubted():
    millimetres = np.full(IMAGE_HW, 800, "<f4")
    depth = read(filled(millimetres, camera_info(), "32FC1"))
    assert "32FC1 depth must be in metres; its median is 800" in depth.complaint
    assert read(filled(np.full(IMAGE_HW, 99, "<f4"), encoding="32FC1")).complaint == ""
    assert read(filled(np.full(IMAGE_HW, np.nan, "<f4"), encoding="32FC1")).complaint == ""


@pytest.mark.parametrize(
    ("image_frame", "info_frame", "words"),
    [
        ("colour", "colour", "depth image must have .* image, 'colour'; got 'camera': use depth"),
        ("camera", "depth", "camera_info must have .* image, 'camera'; got 'depth': use that"),
        ("camera", "", "^$"),
        ("", "depth", "^$"),
    ],
    ids=["depth", "camera_info", "no frame of camera_info", "no frame of the image"],
)
def test_depth_of_another_frame_than_its_image_is_doubted(image_frame, info_frame, words):
    depth = read(filled(info=camera_info(frame_id=info_frame)), frame_id=image_frame)
    assert re.search(words, depth.complaint)
