from types import SimpleNamespace

import pytest

from sameo_ros.core.depth_cache import DepthCache
from tests.sameo_ros.stand_ins import header

S = 1_000_000_000


def depth_at(seconds):
    return SimpleNamespace(header=header(seconds))


@pytest.mark.parametrize(
    ("stamp_s", "found_s"), [(1.0, 1.0), (1.04, 1.0), (1.06, 1.1), (1.15, 1.1), (1.16, None)]
)
def test_the_depth_image_with_the_nearest_stamp_is_found(stamp_s, found_s):
    cache = DepthCache()
    for seconds in (1.0, 1.1):
        cache.add_image(depth_at(seconds))
    image, _ = cache.find(round(stamp_s * S), tolerance_s=0.05)
    assert (image and image.header.stamp.sec + image.header.stamp.nanosec / S) == found_s


def test_of_equal_stamps_the_newest_depth_image_counts():
    cache = DepthCache()
    for _ in range(3):
        newest = depth_at(0.0)
        cache.add_image(newest)
    assert cache.find(0, tolerance_s=0.05)[0] is newest


def test_a_step_back_in_time_forgets_the_older_images():
    cache = DepthCache()
    for seconds in (5.0, 1.0):
        cache.add_image(depth_at(seconds))
    assert cache.find(5 * S, tolerance_s=0.1)[0] is None
    assert cache.find(1 * S, tolerance_s=0.1)[0] is not None


def test_the_newest_calibration_counts_until_everything_is_forgotten():
    cache = DepthCache()
    assert cache.find(0, 1.0) == (None, None)
    cache.set_camera_info("old")
    cache.set_camera_info("new")
    cache.add_image(depth_at(1.0))
    assert cache.find(S, 1.0)[1] == "new"
    cache.clear()
    assert cache.find(S, 1.0) == (None, None)


def test_a_second_of_depth_images_is_kept_and_no_more():
    cache = DepthCache()
    for number in range(40):
        cache.add_image(depth_at(1.0 + number))
    assert cache.find(10 * S, tolerance_s=0.5)[0] is None
    assert cache.find(11 * S, tolerance_s=0.5)[0] is not None
