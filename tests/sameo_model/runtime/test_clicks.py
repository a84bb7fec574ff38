"""Clicks beside boxes are checked, padded, moved into frames, and reach the backend."""

import numpy as np
import pytest

from sameo_model.runtime.backends.base import Backend, DecoderOutput
from sameo_model.runtime.clicks import check_clicks, clicks_in_frames, find_strays
from sameo_model.runtime.framing import Framing
from sameo_model.runtime.predictor import Predictor

HW = (40, 60)


def test_clicks_are_padded_to_four_and_points_that_are_none_get_paddings_coordinates():
    clicks = check_clicks([[[3, 4], [9, 9]], [[7, 8], [1, 2]]], [[1, -1], [1, 1]], 2, HW)
    none = [-1.0, -1.0]
    assert clicks.points_xy.tolist() == [[[3, 4], none, none, none], [[7, 8], [1, 2], none, none]]
    assert clicks.labels.tolist() == [[1, -1, -1, -1], [1, 1, -1, -1]]


@pytest.mark.parametrize(
    ("points", "labels", "num_boxes"),
    [(None, None, 3), ([], [], 0), (np.zeros((2, 0, 2)), None, 2), ([[[5, 5]]], [[-1]], 1)],
    ids=["none given", "no boxes", "no points", "padding alone"],
)
def test_no_clicks_are_no_clicks(points, labels, num_boxes):
    assert check_clicks(points, labels, num_boxes, HW) is None


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        ([[3, 4]], None, r"shape \(N, P, 2\).*got shape \(1, 2\)"),
        ([[[3, 4]] * 5], None, r"P at most 4, for 1 boxes; got shape \(1, 5, 2\)"),
        ([[[3, 4]]] * 2, None, r"for 1 boxes and point_labels .* got \(2, 1, 2\)"),
        ([[[3, 4]]], [[1, 1]], r"got \(1, 1, 2\) and \(1, 2\)"),
        ([[[3, 4]]], [[0]], r"point_labels must be 1 .* or -1 .* got 0; there are no clicks on"),
        ([[[61, 4]]], None, r"inside the image of 60 x 40 pixels, got \(61, 4\)"),
        ([[[np.nan, 4]]], None, r"inside the image of 60 x 40 pixels, got \(nan, 4\)"),
        ([[["a", 4]]], None, "got values that do not form such an array"),
        (None, [[1]], "point_labels need points_xy"),
    ],
)
def test_clicks_that_mean_nothing_are_refused(points, labels, message):
    with pytest.raises(ValueError, match=message):
        check_clicks(points, labels, 1, HW)


def test_clicks_outside_their_boxes_frame_are_left_out():
    clicks = check_clicks([[[12, 14], [2, 2]]], None, 1, HW)
    # The frame of 20 pixels becomes 40: (12, 14) lies 2 and 4 pixels from its corner (10, 10).
    moved = clicks_in_frames(clicks, np.array([[10, 10, 20, 20]]), 40)
    assert moved.points_xy[0, 0].tolist() == [4, 8]
    assert moved.labels.tolist() == [[1, -1, -1, -1]]
    assert (moved.points_xy[0, 1:] == -1).all()


@pytest.mark.parametrize(
    ("point", "framing", "is_stray"),
    [
        # A window of 0.25 shows 5 pixels around the box of 20, from (95, 95) to (125, 125).
        ((110, 110), Framing("window", 0.25, 8), False),
        ((125, 95), Framing("window", 0.25, 8), False),
        ((126, 110), Framing("window", 0.25, 8), True),
        ((0.5, 0.4), Framing("window", 0.25, 8), True),
        # Other models see all of the image; the window of at least 64 pixels counts, to 142.
        ((142, 110), Framing(), False),
        ((143, 110), Framing(), True),
    ],
)
def test_a_click_belongs_to_the_window_of_its_box(point, framing, is_stray):
    clicks = check_clicks([[[110, 110]], [point]], None, 2, (200, 200))
    boxes = np.array([[100, 100, 120, 120]] * 2, np.float32)
    strays = find_strays(clicks, boxes, framing, (200, 200))
    assert list(strays) == ([1] if is_stray else [])


class Noting(Backend):
    """Keeps the prompts that it was given, and draws nothing."""

    name, device, has_visible_decoder, max_boxes = "noting", "", False, 2

    def __init__(self):
        self.seen = []

    def encode(self, image):
        return image

    def decode(self, handle, boxes, visible):
        self.seen.append(None)
        return DecoderOutput(
            np.full((len(boxes), 8, 8), -1, np.float32), np.ones(len(boxes), np.float32), None
        )

    def decode_clicks(self, handle, boxes, clicks, visible):
        self.seen.append(clicks)
        return self.decode(handle, boxes, visible)


@pytest.mark.parametrize("framing", [Framing(), Framing("window", 0.5, 8)], ids=["image", "window"])
def test_the_clicks_of_a_box_go_where_its_box_goes(framing):
    backend = Noting()
    predictor = Predictor(backend, image_size=32, name="noting", framing=framing)
    boxes = [[0, 0, 20, 20], [5, 5, 5, 5], [20, 10, 40, 30], [30, 20, 50, 40]]
    points = [[[10, 10]], [[6, 6]], [[30, 20]], [[40, 30]]]
    embedding = predictor.encode(np.zeros((*HW, 3), np.uint8))
    predictor.decode(embedding, boxes, points_xy=points)
    shown = [clicks for clicks in backend.seen if clicks is not None]
    # The second box has no area; two boxes fit into a call (one, as a window).
    assert sum(len(clicks.labels) for clicks in shown) == 3
    if not framing.is_window:
        assert [len(clicks.labels) for clicks in shown] == [2, 1]
        # (10, 10) of 60 x 40 pixels in 32 x 32.
        np.testing.assert_allclose(shown[0].points_xy[0, 0], [10 * 32 / 60, 10 * 32 / 40])
    else:
        # Each click is the middle of its box; away from the border that is the window's middle.
        np.testing.assert_allclose(shown[1].points_xy[0, 0], [16, 16], atol=1)


def test_boxes_alone_do_not_touch_what_clicks_need():
    backend = Noting()
    predictor = Predictor(backend, image_size=32, name="noting")
    predictor.decode(predictor.encode(np.zeros((*HW, 3), np.uint8)), [[0, 0, 20, 20]])
    assert backend.seen == [None]


class BoxesAlone(Noting):
    decode_clicks = Backend.decode_clicks


def test_a_backend_without_a_graph_for_clicks_says_so():
    predictor = Predictor(BoxesAlone(), image_size=32, name="noting")
    embedding = predictor.encode(np.zeros((*HW, 3), np.uint8))
    with pytest.raises(ValueError, match="points_xy cannot be taken: backend noting has no graph"):
        predictor.decode(embedding, [[0, 0, 20, 20]], points_xy=[[[3, 3]]])
