"""Strategies for messages that no publisher should send, and those between that can be answered."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

SIDE = 64
UINT32 = 2**32 - 1

sizes = st.one_of(st.integers(0, 40), st.sampled_from([1000, 65535, UINT32]))
encodings = st.sampled_from(
    ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "32FC1", "16UC1", "yuv422", "", "☃" * 9]
)
seconds = st.one_of(st.integers(0, 3), st.sampled_from([-(2**31), -1, 2**31 - 1]))
nanoseconds = st.one_of(st.integers(0, 3), st.sampled_from([999_999_999, UINT32]))
numbers = st.one_of(
    st.floats(-50, 150), st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0])
)
# About every fourth message exceeds max_boxes, 300; these take most of the time.
counts = st.sampled_from([0, *3 * [1, 2, 3, 4], 301, 301, 301, 2000])
depths_m = st.sampled_from([2.0, 0.0, -1.0, 1e-38, 999.0, 3e38, math.nan, math.inf, -math.inf])
calibrations = st.sampled_from(
    [0.0, -1.0, 1e-300, 1e-30, 1e-3, 32.0, 100.0, 1e30, 1e300, math.nan, math.inf, -math.inf]
)
texts = functools.partial(st.text, alphabet="mug0/#._ \t\né☃😀\u202e")
models = st.sampled_from(["plumb_bob", "equidistant", "rational_polynomial", "", "☃"])


@dataclass(frozen=True)
class BoxRow:
    """A box as both kinds of messages hold it: pixels and radians."""

    x: float
    y: float
    theta: float
    width: float
    height: float
    score: float = 0.5
    class_id: str = "mug"
    id: str = ""


@st.composite
def images(draw: Any) -> Image:
    """Draw an image whose size, step, encoding and data may contradict each other."""
    height, width, encoding = draw(sizes), draw(sizes), draw(encodings)
    bytes_per_pixel = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono16": 2}.get(encoding, 1)
    step = draw(st.one_of(st.just(min(width * bytes_per_pixel, UINT32)), sizes))
    num_bytes = draw(st.one_of(st.just(step * height), st.integers(0, 300)))
    message = Image(height=height, width=width, encoding=encoding, step=step)
    message.is_bigendian = draw(st.integers(0, 255))
    message.data = bytes(num_bytes if num_bytes <= 1_000_000 else 0)
    message.header.stamp.sec, message.header.stamp.nanosec = draw(seconds), draw(nanoseconds)
    message.header.frame_id = draw(texts(max_size=5))
    return message


@st.composite
def boxes(draw: Any) -> list[BoxRow]:
    """Draw equal boxes of any numbers, up to 2,000."""
    values = [draw(numbers) for _ in range(6)]
    return [BoxRow(*values, draw(texts(max_size=3)), draw(texts(max_size=3)))] * draw(counts)


@st.composite
def depth_images(draw: Any, header: Any) -> Image:
    """Draw depth for an image of `SIDE` by `SIDE` pixels: hostile as such, or of hostile values."""
    if draw(st.booleans()):
        message = draw(images())
    else:
        values = [draw(depths_m) for _ in range(3)]
        pattern = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 3, (SIDE, SIDE))
        pixels = np.array(values, "<f4")[pattern]
        pixels[: SIDE // 2] = values[0]
        message = Image(height=SIDE, width=SIDE, encoding="32FC1", step=4 * SIDE)
        message.data = pixels.tobytes()
    message.header = header
    return message


@st.composite
def camera_infos(draw: Any) -> CameraInfo:
    """Draw a calibration: one for an image of `SIDE` by `SIDE` pixels, mostly with faults."""
    k = [100.0, 0.0, 32.0, 0.0, 100.0, 32.0, 0.0, 0.0, 1.0]
    p = [100.0, 0.0, 32.0, 0.0, 0.0, 100.0, 32.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for values in (k, p):
        for place in draw(st.lists(st.integers(0, len(values) - 1), max_size=1)):
            values[place] = draw(calibrations)
    message = CameraInfo(height=SIDE, width=SIDE, k=k, p=p, distortion_model=draw(models))
    message.d = draw(st.sampled_from([0, 0, 4, 5, 8, 3, 200])) * [draw(calibrations)]
    if draw(st.integers(0, 3)) == 0:
        message.height, message.width = draw(sizes), draw(sizes)
    message.binning_x = draw(st.sampled_from([0, 0, 1, UINT32]))
    message.roi.height = message.roi.width = draw(st.sampled_from([0, 0, SIDE, UINT32]))
    message.roi.x_offset = draw(st.sampled_from([0, 0, UINT32]))
    message.header.frame_id = draw(texts(max_size=5))
    return message


def make_detections(kind: str, header: Any, rows: list[BoxRow]) -> Any:
    """Make a message of detections, `vision_msgs` or `yolo_msgs`."""
    if kind == "yolo_msgs":
        from yolo_msgs.msg import DetectionArray

        made = {row: _yolo_detection(row) for row in set(rows)}
        return DetectionArray(header=header, detections=[made[row] for row in rows])
    made = {row: _detection(row) for row in set(rows)}
    return Detection2DArray(header=header, detections=[made[row] for row in rows])


def _detection(row: BoxRow) -> Detection2D:
    detection = Detection2D(id=row.id)
    centre = detection.bbox.center
    centre.position.x, centre.position.y, centre.theta = row.x, row.y, row.theta
    detection.bbox.size_x, detection.bbox.size_y = row.width, row.height
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = row.class_id, row.score
    detection.results = [result] if row.class_id else []
    return detection


def _yolo_detection(row: BoxRow) -> Any:
    from yolo_msgs.msg import Detection

    detection = Detection(id=row.id, class_name=row.class_id, score=row.score)
    detection.class_id = -(2**31)
    centre = detection.bbox.center
    centre.position.x, centre.position.y, centre.theta = row.x, row.y, row.theta
    detection.bbox.size.x, detection.bbox.size.y = row.width, row.height
    return detection
