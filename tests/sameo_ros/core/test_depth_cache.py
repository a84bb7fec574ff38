from types import SimpleNamespace

import pytest

from sameo_ros.core.depth_cache import MAX_DEPTH_MIB, DepthCache
from tests.sameo_ros.stand_ins import header

S = 1_000_000_000
MAX_AGE_S = 2.0


def depth_at(seconds, num_bytes=0):
    return SimpleNamespace(header=header(seconds), data=range(num_bytes))


@pytest.mark.parametrize(
    ("stamp_s", "found_s"), [(1.0, 1.0), (1.04, 1.0), (1.06, 1.1), (1.15, 1.1), (1.16, None)]
)
def test_the_depth_image_with_the_nearest_stamp_is_found(stamp_s, found_s):
    cache = DepthCache()
    for seconds in (1.0, 1.1):
        cache.add_image(depth_at(seconds), 0.0, MAX_AGE_S)
    image, _ = cache.find(round(stamp_s * S), 0.0, tolerance_s=0.05)
    assert (image and image.header.stamp.sec + image.header.stamp.nanosec / S) == found_s


def test_of_equal_stamps_the_newest_depth_image_counts():
    cache = DepthCache()
    for _ in range(3):
        newest = depth_at(0.0)
        cache.add_image(newest, 0.0, MAX_AGE_S)
    assert cache.find(0, 0.0, tolerance_s=0.05)[0] is newest


def test_a_step_back_in_time_forgets_the_older_images():
    cache = DepthCache()
    for seconds in (5.0, 1.0):
        cache.add_image(depth_at(seconds), 0.0, MAX_AGE_S)
    assert cache.find(5 * S, 0.0, tolerance_s=0.1)[0] is None
    assert cache.find(1 * S, 0.0, tolerance_s=0.1)[0] is not None


def test_the_newest_calibration_counts_and_outlasts_the_images():
    cache = DepthCache()
    assert cache.find(0, 0.0, 1.0) == (None, None)
    assert not cache.has_camera_info
    cache.set_camera_info("old")
    cache.set_camera_info("new")
    cache.add_image(depth_at(1.0), 0.0, MAX_AGE_S)
    assert cache.find(S, 0.0, 1.0)[1] == "new"
    cache.clear_images()
    assert cache.find(S, 0.0, 1.0) == (None, "new")
    assert cache.has_camera_info


def test_depth_is_kept_as_long_as_the_images_it_belongs_to():
    cache = DepthCache()
    for number in range(101):  # 30 Hz, up to the stamp 100 / 30 s
        cache.add_image(depth_at(number / 30), 0.0, MAX_AGE_S)
    # One second more than max_age_s: images from 10 / 30 s on.
    assert cache.find(round(10 / 30 * S), 0.0, tolerance_s=0.001)[0] is not None
    assert cache.find(round(9 / 30 * S), 0.0, tolerance_s=0.001)[0] is None
    assert cache.has_forgotten(round(9 / 30 * S))
    assert not cache.has_forgotten(round(10 / 30 * S))


def test_the_oldest_of_too_many_bytes_are_forgotten_and_never_the_newest():
    cache = DepthCache()
    for number in range(3):
        cache.add_image(depth_at(1.0 + number / 30, MAX_DEPTH_MIB * 2**19), 0.0, MAX_AGE_S)
    assert cache.has_forgotten(S)
    assert cache.find(S, 0.0, tolerance_s=0.04)[0].header.stamp.nanosec > 0
    cache.add_image(depth_at(1.2, MAX_DEPTH_MIB * 2**21), 0.0, MAX_AGE_S)
    assert cache.nearest_offset_s(S) == pytest.approx(0.2)
    cache.clear_images()
    assert not cache.has_forgotten(S)


def test_depth_that_comes_after_it_was_looked_for_is_late_until_it_comes_in_time():
    cache = DepthCache()
    late_s = []
    for number in range(4):  # images at 1, 2, 3 and 4 s, each looked for 60 ms before its depth
        cache.find((1 + number) * S, float(number), tolerance_s=1.5)
        late_s.append(cache.late_s)
        cache.add_image(depth_at(1.0 + number), number + 0.06, MAX_AGE_S)
    # Nobody waits for the first depth.
    assert late_s == [None, None, pytest.approx(0.06), pytest.approx(0.06)]
    cache.add_image(depth_at(5.0), 4.0, MAX_AGE_S)
    cache.find(5 * S, 4.01, tolerance_s=1.5)
    assert cache.late_s is None


def test_depth_of_an_earlier_round_of_a_bag_is_not_late():
    cache = DepthCache()
    for number, seconds in enumerate((1, 2, 9)):
        cache.find(seconds * S, float(number), tolerance_s=0.05)
    cache.add_image(depth_at(9.0), 2.0, MAX_AGE_S)
    cache.add_image(depth_at(1.0), 10.0, MAX_AGE_S)  # a step back
    cache.add_image(depth_at(2.0), 11.0, MAX_AGE_S)
    cache.find(3 * S, 12.0, tolerance_s=0.05)
    assert cache.late_s is None


def test_depth_of_other_stamps_is_never_late():
    cache = DepthCache()
    for number in range(3):
        cache.find((1 + number) * S, float(number), tolerance_s=0.05)
        cache.add_image(depth_at(1.02 + number), number + 0.06, MAX_AGE_S)
    assert cache.late_s is None
