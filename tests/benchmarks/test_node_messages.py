"""The size of a message on the wire, beside masks as large as the image."""

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from benchmarks.node_messages import size_of, with_whole_masks  # noqa: E402
from sameo_model.runtime import MaskCrop, Prediction  # noqa: E402
from sameo_ros.core.answer import Answer, DetectedBoxes  # noqa: E402


def test_ten_objects_of_a_quarter_of_the_picture_take_under_40_percent_of_whole_masks():
    count = 10
    masks = [MaskCrop(20 * i, 10 * i, np.ones((360, 640), bool)) for i in range(count)]
    ones = np.ones(count, np.float32)
    detections = DetectedBoxes(np.zeros((count, 4), np.float32), ["c"] * count, ones, [""] * count)
    prediction = Prediction(masks, masks, ones, 0 * ones)
    answer = Answer((720, 1280), detections, list(range(count)), prediction, [[]] * count)
    crops, whole = size_of(answer), size_of(with_whole_masks(answer))
    # A byte per pixel; the rest of a mask takes under half a kilobyte.
    assert crops == pytest.approx(20 * 360 * 640, abs=20 * 512)
    assert whole == pytest.approx(20 * 720 * 1280, abs=20 * 512)
    assert crops < 0.4 * whole
