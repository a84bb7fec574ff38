"""Clicks of a call reach the model beside the boxes that are used."""

import numpy as np
import pytest

from sameo_model.runtime.backends.base import Backend, DecoderOutput
from sameo_model.runtime.clicks import check_clicks
from sameo_model.runtime.predictor import Predictor
from sameo_ros.core.answer import DetectedBoxes
from sameo_ros.core.segmenter import Segmenter
from sameo_ros.core.settings import SameoParameters


class Noting(Backend):
    """Keeps the clicks that it was given, and draws nothing."""

    name, device, has_visible_decoder = "noting", "", False

    def __init__(self):
        self.clicks = []

    def encode(self, image):
        return image

    def decode(self, handle, boxes, visible):
        self.clicks.append(None)
        logits = np.full((len(boxes), 8, 8), -1, np.float32)
        return DecoderOutput(logits, np.ones(len(boxes), np.float32), None)

    def decode_clicks(self, handle, boxes, clicks, visible):
        output = self.decode(handle, boxes, visible)
        self.clicks[-1] = clicks
        return output


def answer(clicks, side=32):
    backend = Noting()
    segmenter = Segmenter(Predictor(backend, image_size=32, name="noting"))
    boxes = np.array([[0, 0, 20, 20], [5, 5, 5, 5], [10, 10, 30, 30]], np.float32)
    detections = DetectedBoxes(boxes, [""] * 3, np.array([0.9, 0.8, 0.7], np.float32), [""] * 3)
    embedding = segmenter.encode(np.zeros((side, side, 3), np.uint8))
    segmenter.answer(embedding, detections, SameoParameters(), None, clicks)
    return backend.clicks


def test_clicks_stay_beside_their_boxes_where_one_is_left_out():
    # The second box has no area.
    clicks = check_clicks([[[3, 4]], [[5, 5]], [[20, 25]]], None, 3, (32, 32))
    (seen,) = answer(clicks)
    assert seen.points_xy[:, 0].tolist() == [[3, 4], [20, 25]]


def test_a_click_that_is_not_on_its_box_is_named():
    clicks = check_clicks([[[3, 4]], [[5, 5]], [[150, 25]]], None, 3, (200, 200))
    message = r"box 2 has a point outside it, .*: \(150, 25\); check point_boxes"
    with pytest.raises(ValueError, match=message):
        answer(clicks, 200)


def test_boxes_alone_are_decoded_as_ever():
    assert answer(None) == [None]
