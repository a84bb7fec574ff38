"""Images of ROS messages as arrays, and arrays as images of ROS messages.

Messages are duck-typed: anything with the fields of the named message will do.
"""

from __future__ import annotations

import importlib
import sys
from array import array
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime.image_format import read_orientation
from sameo_model.runtime.images import decode_image, decode_values, scale_to_8_bits
from sameo_model.runtime.types import FloatArray, Uint8Array


@dataclass(frozen=True)
class _Layout:
    """How an encoding lies in memory: values per pixel and the type of one value."""

    num_channels: int
    dtype: str


_LAYOUTS = {
    "rgb8": _Layout(3, "u1"),
    "bgr8": _Layout(3, "u1"),
    "rgba8": _Layout(4, "u1"),
    "bgra8": _Layout(4, "u1"),
    "mono8": _Layout(1, "u1"),
    "mono16": _Layout(1, "u2"),
    "rgb16": _Layout(3, "u2"),
    "bgr16": _Layout(3, "u2"),
    **{f"bayer_{order}8": _Layout(1, "u1") for order in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{order}16": _Layout(1, "u2") for order in ("rggb", "bggr", "gbrg", "grbg")},
    "16UC1": _Layout(1, "u2"),
    "32FC1": _Layout(1, "f4"),
}
COLOUR_ENCODINGS = tuple(name for name in _LAYOUTS if name not in ("16UC1", "32FC1"))
_UNKNOWN_MM = 65535  # the largest number of 16 bits: no distance, in many drivers
# OpenCV names a mosaic after its second row and column, ROS after its first.
_BAYER_TO_RGB = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
# By the encoding without its number of bits.
_TO_RGB = {
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "mono": cv2.COLOR_GRAY2RGB,
    **_BAYER_TO_RGB,
}
# OpenCV's own names say nothing of the order of colours or of what a value means.
_PUBLISH_INSTEAD = {
    "8UC1": "mono8, or bayer_rggb8 and the like for a mosaic",
    "8UC3": "bgr8 or rgb8, whichever order the colours have",
    "8UC4": "bgra8 or rgba8, whichever order the colours have",
    "16UC1": "mono16",
    "16UC3": "bgr16 or rgb16, whichever order the colours have",
    "32FC1": "mono8 or mono16",
    "32FC3": "bgr8 or rgb8",
}


def check_colour_image(message: Any) -> None:
    """Raise ValueError unless `image_to_rgb` can try the message.

    Costs microseconds: nothing is converted.

    Args:
        message: A sensor_msgs/Image.

    Raises:
        ValueError: If `check_image` does, or the encoding says nothing of colours, or it is none
            of `COLOUR_ENCODINGS` and cv_bridge is not installed.
    """
    if message.encoding in _PUBLISH_INSTEAD:
        raise ValueError(
            f"image encoding {message.encoding} does not say which colours the channels are; "
            f"publish the image as {_PUBLISH_INSTEAD[message.encoding]}"
        )
    if message.encoding not in COLOUR_ENCODINGS:
        _load_cv_bridge(message.encoding)
    check_image(message)


def check_image(message: Any) -> None:
    """Raise ValueError unless size, step and data of a sensor_msgs/Image fit together.

    Args:
        message: A sensor_msgs/Image of any encoding.

    Raises:
        ValueError: If a side is 0, or `step` or the number of data bytes do not fit the size and
            the encoding.
    """
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise ValueError(f"image must have at least one pixel; got {width}x{height}")
    if message.encoding in _LAYOUTS:
        layout = _LAYOUTS[message.encoding]
        row_bytes = width * layout.num_channels * np.dtype(layout.dtype).itemsize
        if step < row_bytes:
            raise ValueError(
                f"image step must be at least {row_bytes} bytes for {width} pixels of "
                f"{message.encoding}; got {step}"
            )
    if len(message.data) != step * height:
        raise ValueError(
            f"image data must hold step * height = {step * height} bytes; got {len(message.data)}"
        )


def image_view(message: Any) -> npt.NDArray[Any]:
    """View the pixels of a sensor_msgs/Image without copying them.

    Args:
        message: A sensor_msgs/Image of encoding rgb8, bgr8, rgba8, bgra8, mono8, mono16, 16UC1 or
            32FC1; `step` and `is_bigendian` are honoured.

    Returns:
        Read-only array (H, W) or, with several channels, (H, W, C), values as they are stored:
        uint8, uint16 or float32 in the message's byte order. Strided if rows are padded.

    Raises:
        ValueError: If the message cannot be read (see `check_image`) or has another encoding.
    """
    check_image(message)
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise ValueError(
            f"image encoding must be one of {', '.join(_LAYOUTS)} for a view; "
            f"got {message.encoding!r}"
        )
    dtype = np.dtype(layout.dtype).newbyteorder(">" if message.is_bigendian else "<")
    shape: tuple[int, ...] = (message.height, message.width)
    strides: tuple[int, ...] = (message.step, layout.num_channels * dtype.itemsize)
    if layout.num_channels > 1:
        shape, strides = (*shape, layout.num_channels), (*strides, dtype.itemsize)
    view: npt.NDArray[Any] = np.ndarray(shape, dtype, memoryview(message.data), strides=strides)
    view.flags.writeable = False
    return view


def image_to_rgb(message: Any) -> Uint8Array:
    """Return the pixels of a sensor_msgs/Image as RGB; rgb8 is viewed, not copied.

    Args:
        message: A sensor_msgs/Image in one of `COLOUR_ENCODINGS`, or in any other that cv_bridge
            converts to rgb8 where cv_bridge is installed. Of 16-bit values the upper eight of the
            used bits count, see `sameo_model.runtime.images.scale_to_8_bits`.

    Returns:
        uint8 (H, W, 3), RGB, 0-255; read-only and maybe strided for rgb8.

    Raises:
        ValueError: If the message cannot be read or converted.
    """
    check_colour_image(message)
    encoding = message.encoding
    if encoding not in COLOUR_ENCODINGS:
        return _with_cv_bridge(message)
    view = image_view(message)
    return _to_rgb(_to_8_bits(view), encoding.rstrip("0123456789"))


def compressed_to_rgb(message: Any) -> Uint8Array:
    """Decode a sensor_msgs/CompressedImage (JPEG or PNG) by `sameo_model.runtime.images`.

    Args:
        message: A sensor_msgs/CompressedImage. Where its `format` begins with a Bayer encoding
            and the image has one channel, that is a mosaic and becomes colours.

    Returns:
        uint8 (H, W, 3), RGB, 0-255, turned upright.

    Raises:
        ValueError: If the data are not a whole image that OpenCV decodes.
    """
    data, pattern = memoryview(message.data), _colour_pattern(message)
    try:
        if pattern in _BAYER_TO_RGB:
            mosaic = decode_values(data)
            if mosaic.ndim == 2:
                return _to_rgb(_to_8_bits(mosaic), pattern)
        return decode_image(data)
    except ValueError as error:
        raise ValueError(
            f"compressed image must be a whole JPEG or PNG; got {len(data)} bytes of format "
            f"{message.format!r} that cannot be decoded ({error})"
        ) from error


def describe_turn(message: Any) -> str:
    """Say that `compressed_to_rgb` turns an image upright; "" where it does not.

    Args:
        message: A sensor_msgs/CompressedImage.
    """
    orientation = read_orientation(memoryview(message.data))
    if orientation == 1 or _colour_pattern(message) in _BAYER_TO_RGB:
        return ""
    return (
        f"compressed images have the EXIF orientation {orientation} and are turned upright, as "
        "viewers and detectors do: boxes, depth and camera_info must be those of the upright image"
    )


def depth_to_m(message: Any) -> FloatArray:
    """Return a depth image in metres.

    Args:
        message: A sensor_msgs/Image, 16UC1 (or mono16) in millimetres with 0 or 65535 where
            unknown, or 32FC1 in metres with NaN, infinity or 0 where unknown.

    Returns:
        float32 (H, W), depth along the optical axis, metres, NaN where unknown.

    Raises:
        ValueError: If the message cannot be read or has another encoding.
    """
    check_image(message)
    if message.encoding not in ("16UC1", "mono16", "32FC1"):
        raise ValueError(
            "depth encoding must be 16UC1 (millimetres) or 32FC1 (metres); "
            f"got {message.encoding!r}"
        )
    depth_m: FloatArray = image_view(message).astype(np.float32)
    if message.encoding != "32FC1":
        depth_m[depth_m == _UNKNOWN_MM] = np.nan
        depth_m *= np.float32(0.001)
    depth_m[~(np.isfinite(depth_m) & (depth_m > 0))] = np.nan
    return depth_m


def fill_image(message: Any, pixels: Uint8Array, encoding: str, header: Any) -> None:
    """Fill a sensor_msgs/Image.

    Args:
        message: The sensor_msgs/Image to fill.
        pixels: uint8 (H, W) for mono8, (H, W, 3) for rgb8; H and W may be 0.
        encoding: mono8 or rgb8.
        header: The std_msgs/Header to share.
    """
    message.header = header
    message.height, message.width = pixels.shape[:2]
    message.encoding = encoding
    message.is_bigendian = 0
    message.step = message.width * _LAYOUTS[encoding].num_channels
    message.data = bytes_to_array(pixels)


def bytes_to_array(pixels: Uint8Array) -> array[int]:
    """Copy pixels into an array of type code B: what every rclpy assigns without a check per byte.

    Args:
        pixels: uint8 of any shape; copied in C order.
    """
    data = array("B")
    data.frombytes(np.ascontiguousarray(pixels).data)
    return data


def _colour_pattern(message: Any) -> str:
    """Return the encoding that the format of a sensor_msgs/CompressedImage begins with, or ""."""
    return str(message.format).partition(";")[0].strip().rstrip("0123456789")


def _to_rgb(pixels: Uint8Array, colours: str) -> Uint8Array:
    """Return RGB of pixels in an encoding without its number of bits, such as bgr."""
    if colours == "rgb":
        return pixels
    return np.asarray(cv2.cvtColor(pixels, _TO_RGB[colours]), dtype=np.uint8)


def _to_8_bits(values: npt.NDArray[Any]) -> Uint8Array:
    return values if values.dtype == np.uint8 else scale_to_8_bits(values)


def _with_cv_bridge(message: Any) -> Uint8Array:
    bridge = _load_cv_bridge(message.encoding)
    try:
        return np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)
    except Exception as error:
        raise ValueError(
            f"image encoding {message.encoding!r} cannot be converted to rgb8 by cv_bridge: {error}"
        ) from error


def _load_cv_bridge(encoding: str) -> Any:
    loaded = sys.modules.get("cv_bridge")
    try:
        return (loaded or importlib.import_module("cv_bridge")).CvBridge()
    except ImportError as error:
        raise ValueError(
            f"image encoding must be one of {', '.join(COLOUR_ENCODINGS)} where cv_bridge is not "
            f"installed; got {encoding!r}"
        ) from error
