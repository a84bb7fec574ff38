import sys
from array import array
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sameo_ros.core.stamps import stamp_to_ns
from sameo_ros.messages.conversions import (
    bytes_to_array,
    check_colour_image,
    compressed_to_rgb,
    depth_to_m,
    fill_image,
    image_to_rgb,
    image_view,
)
from tests.image_files import tagged
from tests.sameo_ros.stand_ins import empty_image, header, image, stamp

RED_GREEN = np.array([[[200, 0, 0], [0, 100, 0]]], dtype=np.uint8)  # RGB, 1x2


def test_a_stamp_becomes_whole_nanoseconds():
    assert stamp_to_ns(stamp(1_700_000_000.5)) == 1_700_000_000_500_000_000


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (RED_GREEN, "rgb8"),
        (RED_GREEN[..., ::-1], "bgr8"),
        (np.dstack([RED_GREEN, [[7, 9]]]).astype(np.uint8), "rgba8"),
        (np.dstack([RED_GREEN[..., ::-1], [[7, 9]]]).astype(np.uint8), "bgra8"),
    ],
    ids=["rgb8", "bgr8", "rgba8", "bgra8"],
)
def test_colour_encodings_give_the_same_rgb_with_any_row_padding(pixels, encoding, padding):
    rgb = image_to_rgb(image(pixels, encoding, padding))
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, RED_GREEN)


def test_grey_becomes_three_equal_channels():
    rgb = image_to_rgb(image(np.array([[5, 250]], dtype=np.uint8), "mono8", padding=3))
    np.testing.assert_array_equal(rgb, [[[5, 5, 5], [250, 250, 250]]])


@pytest.mark.parametrize("byte_order", ["<", ">"], ids=["little", "big"])
def test_mono16_keeps_the_upper_byte_of_all_bits_in_either_byte_order(byte_order):
    # 0x1234 -> 0x12 = 18, 0xff00 -> 255
    pixels = np.array([[0x1234, 0xFF00]], dtype=f"{byte_order}u2")
    message = image(pixels, "mono16", padding=2)
    message.is_bigendian = int(byte_order == ">")
    np.testing.assert_array_equal(image_to_rgb(message)[..., 0], [[18, 255]])


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_cameras_of_few_bits_give_the_image_of_eight(bits):
    eight = np.array([[0, 100, 255], [30, 20, 10]], dtype=np.uint8)
    wide = eight.astype("<u2") << (bits - 8)
    expected = np.repeat(eight[..., None], 3, axis=2)
    np.testing.assert_array_equal(image_to_rgb(image(wide, "mono16", padding=2)), expected)
    for name, order in (("rgb16", 1), ("bgr16", -1)):
        message = image(np.dstack([wide, wide, 0 * wide])[..., ::order].copy(), name)
        np.testing.assert_array_equal(image_to_rgb(message)[..., :2], expected[..., :2])
    message = SimpleNamespace(
        format="mono16; png compressed ", data=cv2.imencode(".png", wide)[1].tobytes()
    )
    np.testing.assert_array_equal(compressed_to_rgb(message), expected)


def mosaic_of(colour_rgb, order):
    """What a camera with the order's filters over its pixels (two rows of two) sees of a colour."""
    mosaic = np.zeros((8, 8), np.uint8)
    for place, name in enumerate(order):
        mosaic[place // 2 :: 2, place % 2 :: 2] = colour_rgb["rgb".index(name)]
    return mosaic


@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
def test_mosaics_become_colours(order):
    colour = (200, 100, 50)
    mosaic = mosaic_of(colour, order)
    wide = mosaic.astype("<u2") << 4
    # 12 bits are told by a value above 1,023: 200 << 4 = 3,200.
    for raw in (image(mosaic, f"bayer_{order}8"), image(wide, f"bayer_{order}16")):
        np.testing.assert_array_equal(image_to_rgb(raw)[2:-2, 2:-2], np.full((4, 4, 3), colour))
    for pixels, name in ((mosaic, f"bayer_{order}8"), (wide, f"bayer_{order}16")):
        data = cv2.imencode(".png", pixels)[1].tobytes()
        message = SimpleNamespace(format=f"{name}; png compressed ", data=data)
        decoded = compressed_to_rgb(message)
        np.testing.assert_array_equal(decoded[2:-2, 2:-2], np.full((4, 4, 3), colour))


def test_a_compressed_image_that_is_in_colour_already_is_no_mosaic():
    data = cv2.imencode(".png", np.full((8, 8, 3), (50, 100, 200), np.uint8))[1].tobytes()
    message = SimpleNamespace(format="bayer_rggb8; png compressed bgr8", data=data)
    np.testing.assert_array_equal(compressed_to_rgb(message)[0, 0], (200, 100, 50))


@pytest.mark.parametrize(
    ("encoding", "remedy"),
    [
        ("8UC1", "publish the image as mono8, or bayer_rggb8"),
        ("8UC3", "publish the image as bgr8 or rgb8"),
        ("8UC4", "publish the image as bgra8 or rgba8"),
        ("16UC1", "publish the image as mono16"),
    ],
)
def test_encodings_that_do_not_name_colours_say_what_to_publish(encoding, remedy):
    message = image(RED_GREEN, "rgb8")
    message.encoding = encoding
    for call in (check_colour_image, image_to_rgb):
        with pytest.raises(ValueError, match=f"encoding {encoding} does not say .*; {remedy}"):
            call(message)


def test_rgb8_is_viewed_without_a_copy():
    message = image(RED_GREEN, "rgb8", padding=4)
    assert np.shares_memory(image_to_rgb(message), np.frombuffer(message.data, np.uint8))


def test_a_view_cannot_change_the_message():
    view = image_view(image(RED_GREEN, "rgb8"))
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0, 0] = 1


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_any_size_and_padding_of_a_view_round_trips(height, width, padding, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(image_view(image(pixels, "bgr8", padding)), pixels)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"height": 0}, "at least one pixel; got 2x0"),
        ({"width": 0}, "at least one pixel; got 0x1"),
        ({"step": 5}, "step must be at least 6 bytes for 2 pixels of rgb8; got 5"),
        ({"data": array("B", bytes(5))}, r"step \* height = 6 bytes; got 5"),
        ({"data": array("B", bytes(7))}, r"step \* height = 6 bytes; got 7"),
        ({"width": 2**32 - 1}, "step must be at least 12884901885"),
        ({"height": 2**32 - 1}, "25769803770 bytes; got 6"),
        ({"encoding": "yuv422"}, "cv_bridge is not installed; got 'yuv422'"),
        ({"encoding": ""}, "cv_bridge is not installed; got ''"),
        ({"encoding": "32FC1"}, "encoding 32FC1 does not say .* publish the image as mono8 or"),
    ],
)
def test_an_image_that_does_not_fit_together_is_refused(changes, sentence, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)  # importing it raises ImportError
    message = image(RED_GREEN, "rgb8")
    for field, value in changes.items():
        setattr(message, field, value)
    with pytest.raises(ValueError, match=sentence):
        check_colour_image(message)
    with pytest.raises(ValueError, match=sentence):
        image_to_rgb(message)


def test_other_encodings_go_through_cv_bridge_where_it_is_installed(monkeypatch):
    def convert(message, encoding):
        assert encoding == "rgb8"
        if message.encoding != "yuv422":
            raise RuntimeError("no such conversion")
        return RED_GREEN

    bridge = ModuleType("cv_bridge")
    bridge.CvBridge = lambda: SimpleNamespace(imgmsg_to_cv2=convert)
    monkeypatch.setitem(sys.modules, "cv_bridge", bridge)
    message = image(RED_GREEN[..., :2], "yuv422")
    np.testing.assert_array_equal(image_to_rgb(message), RED_GREEN)
    message.encoding = "nonsense"
    with pytest.raises(ValueError, match=r"'nonsense' cannot be converted .*no such conversion"):
        image_to_rgb(message)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_compressed_image_is_decoded_to_rgb(suffix):
    rgb = np.full((16, 16, 3), (200, 50, 10), dtype=np.uint8)
    _, data = cv2.imencode(suffix, rgb[..., ::-1])
    message = SimpleNamespace(format="x", data=array("B", data.tobytes()))
    assert np.abs(compressed_to_rgb(message).astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x89PNG\r\n\x1a\n"])
def test_damaged_compressed_data_are_refused(data):
    message = SimpleNamespace(format="jpeg", data=array("B", data))
    with pytest.raises(ValueError, match=f"got {len(data)} bytes of format 'jpeg'"):
        compressed_to_rgb(message)


def test_a_jpeg_without_its_end_is_refused():
    # OpenCV 4 decodes it and leaves the rest grey.
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    message = SimpleNamespace(format="rgb8; jpeg compressed bgr8", data=array("B", data[:-500]))
    with pytest.raises(ValueError, match=r"cannot be decoded \(its end is missing\)"):
        compressed_to_rgb(message)


def test_a_compressed_image_is_turned_upright():
    data = array("B", tagged("jpg", np.zeros((16, 32, 3), np.uint8), 6))
    assert compressed_to_rgb(SimpleNamespace(format="jpeg", data=data)).shape == (32, 16, 3)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_depth_in_millimetres_becomes_metres_with_nan_for_zero_and_the_largest_number(dtype):
    depth_m = depth_to_m(image(np.array([[1500, 0, 65535]], dtype=dtype), "16UC1", padding=2))
    np.testing.assert_allclose(depth_m, [[1.5, np.nan, np.nan]])


def test_depth_in_metres_keeps_its_values_and_hides_what_is_no_distance():
    pixels = np.array([[0.25, np.inf, np.nan, 0.0, -1.0]], dtype="<f4")
    depth_m = depth_to_m(image(pixels, "32FC1"))
    np.testing.assert_allclose(depth_m, [[0.25, np.nan, np.nan, np.nan, np.nan]])


def test_colour_is_no_depth():
    with pytest.raises(ValueError, match=r"depth encoding must be 16UC1 .*; got 'rgb8'"):
        depth_to_m(image(RED_GREEN, "rgb8"))


def test_filling_an_image_and_viewing_it_gives_the_same_pixels():
    message, used = empty_image(), header(3.0)
    fill_image(message, RED_GREEN[:, ::-1], "rgb8", used)
    assert message.header is used
    assert (message.height, message.width, message.step, message.encoding) == (1, 2, 6, "rgb8")
    np.testing.assert_array_equal(image_view(message), RED_GREEN[:, ::-1])


def test_bytes_become_the_array_type_that_rclpy_takes_unchecked():
    data = bytes_to_array(np.array([[1, 2], [3, 255]], dtype=np.uint8)[:, ::-1])
    assert isinstance(data, array)
    assert data.typecode == "B"
    assert data.tolist() == [2, 1, 255, 3]


def test_an_empty_mask_image_has_no_bytes():
    message = empty_image()
    fill_image(message, np.zeros((0, 0), dtype=np.uint8), "mono8", header())
    assert (message.height, message.width, message.step, len(message.data)) == (0, 0, 0, 0)
