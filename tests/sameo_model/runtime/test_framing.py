"""Windows: where they lie, what they show, and that masks come back to where they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sameo_model.runtime.framing import (
    BORDER_VALUE,
    WINDOW_FRAMING,
    Framing,
    boxes_in_frames,
    choose_framing,
    cut_window,
    find_frames,
)
from sameo_model.runtime.postprocess import logits_to_crops

WINDOW = Framing("window", padding=0.5, min_side=8)
IMAGE_HW = (100, 200)


def frames(*boxes, framing=WINDOW, image_hw=IMAGE_HW):
    return find_frames(framing, np.array(boxes, np.float32), image_hw).tolist()


def gradient(height, width):
    """An image whose red is the column and whose green is the row, both halved."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack((columns // 2, rows // 2, 0 * rows), axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # The longer side of 20 grows by 10 on either side: 40, around the centre (110, 45).
        ((100, 40, 120, 50), [90, 25, 40, 40]),
        # Beyond the left and the top border: moved inside.
        ((0, 0, 20, 10), [0, 0, 40, 40]),
        # Beyond the right and the bottom border.
        ((180, 90, 200, 100), [160, 60, 40, 40]),
        # Higher than the image: centred as far as the box allows, and never wider than it.
        ((0, 0, 200, 100), [0, -50, 200, 200]),
        # One pixel: the smallest window.
        ((50, 50, 51, 51), [46, 46, 8, 8]),
    ],
    ids=["inside", "top_left", "bottom_right", "whole", "one_pixel"],
)
def test_a_window_surrounds_its_box_and_stays_inside_the_image(box, expected):
    assert frames(box) == [expected]


def test_a_window_of_a_box_low_in_a_flat_image_reaches_beyond_it_as_little_as_possible():
    # Side 2 * 60 = 120 > 100: it starts between -20 and 0; the box's centre 70 asks for 10, so 0.
    assert frames((20, 50, 80, 90)) == [[0, 0, 120, 120]]


def test_image_framing_gives_every_box_the_whole_image():
    assert frames((1, 2, 3, 4), (5, 6, 7, 8), framing=Framing()) == [[0, 0, 200, 100]] * 2
    assert frames(framing=Framing()) == []
    assert find_frames(WINDOW, np.zeros((0, 4), np.float32), IMAGE_HW).shape == (0, 4)


def test_a_window_of_the_models_size_shows_its_pixels_unchanged():
    image = gradient(*IMAGE_HW)
    np.testing.assert_array_equal(cut_window(image, (90, 25, 40, 40), 40), image[25:65, 90:130])


def test_shrinking_averages_areas():
    image = np.zeros((8, 8, 3), np.uint8)
    image[::2, ::2] = 200  # a quarter of the pixels, which picking every other pixel would miss
    assert (cut_window(image, (0, 0, 8, 8), 4) == 50).all()


def test_what_lies_outside_the_image_is_grey():
    window = cut_window(np.zeros((4, 8, 3), np.uint8), (0, -2, 8, 8), 8)
    assert (window[:2] == BORDER_VALUE).all()
    assert (window[2:6] == 0).all()
    assert (window[6:] == BORDER_VALUE).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image[:, ::-1],
        lambda image: np.asfortranarray(image),
        lambda image: np.broadcast_to(image[:1, :1], image.shape),
    ],
    ids=["mirrored", "columns_first", "read_only"],
)
def test_any_strides_give_the_same_window(change):
    image = change(gradient(*IMAGE_HW))
    expected = cut_window(np.ascontiguousarray(image), (90, 25, 40, 40), 16)
    np.testing.assert_array_equal(cut_window(image, (90, 25, 40, 40), 16), expected)


def test_an_image_of_one_pixel_has_a_window():
    (frame,) = frames((0, 0, 1, 1), image_hw=(1, 1))
    window = cut_window(np.full((1, 1, 3), 9, np.uint8), frame, 8)
    assert window.shape == (8, 8, 3)
    assert window.min() == 9


def test_a_huge_window_is_thinned_out_before_it_is_averaged(monkeypatch):
    sizes = []
    import cv2

    resize = cv2.resize

    def spy(image, *words, **options):
        sizes.append(image.shape)
        return resize(image, *words, **options)

    monkeypatch.setattr(cv2, "resize", spy)
    image = np.broadcast_to(np.uint8(7), (6000, 8000, 3))
    assert (cut_window(image, (0, 0, 6000, 6000), 64) == 7).all()
    # At most 8 pixels and a step's rounding per model pixel and axis.
    assert max(sizes[0][:2]) < 9 * 64 * 2


@given(
    st.tuples(*[st.integers(1, 120)] * 2),
    st.tuples(*[st.integers(0, 99)] * 2),
    st.tuples(*[st.integers(1, 90)] * 2),
)
@settings(max_examples=150)
def test_a_box_drawn_into_its_window_comes_back_as_itself(image_hw, corner, size):
    height, width = image_hw
    x1, y1 = min(corner[0], width - 1), min(corner[1], height - 1)
    box = np.array([[x1, y1, min(x1 + size[0], width), min(y1 + size[1], height)]], np.float32)
    frame = find_frames(WINDOW, box, image_hw)
    side = int(frame[0, 2])
    assert side >= max(box[0, 2] - box[0, 0], box[0, 3] - box[0, 1])
    # Logits of the window's own resolution, positive on the box alone: no resampling, no loss.
    left, top, right, bottom = boxes_in_frames(box, frame, side)[0].astype(int)
    logits = np.full((1, side, side), -1, np.float32)
    logits[0, top:bottom, left:right] = 1
    (crop,) = logits_to_crops(logits, image_hw, frame)
    assert crop.box_xyxy == tuple(box[0].astype(int))
    assert crop.mask.all()


def test_a_mask_is_put_back_where_the_window_lies():
    frame = np.array([[90, 25, 40, 40]])
    logits = np.full((1, 10, 10), -1, np.float32)
    logits[0, 2:5, 4:9] = 1
    (crop,) = logits_to_crops(logits, IMAGE_HW, frame)
    # A logit covers 4 pixels, and equal values of both signs put the edge where pixels meet.
    assert crop.box_xyxy == (90 + 16, 25 + 8, 90 + 36, 25 + 20)


def test_what_a_window_says_beyond_the_image_is_left_out():
    logits = np.ones((1, 8, 8), np.float32)
    (crop,) = logits_to_crops(logits, (4, 8), np.array([[0, -2, 8, 8]]))
    assert crop.box_xyxy == (0, 0, 8, 4)


@pytest.mark.parametrize("content", [{"kind": "image"}, WINDOW.to_json()], ids=["image", "window"])
def test_a_framing_survives_json(content):
    assert Framing.from_json(content).to_json() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "spiral"}, "framing kind must be 'image' or 'window', got 'spiral'"),
        ({"padding": 0.5}, "framing must be an object with a kind"),
        ({"kind": "window", "padding": -1}, r"padding must lie in \[0, 4\], got -1"),
        ({"kind": "window", "min_side": 0}, "min_side must be at least 1 pixel, got 0"),
        ({"kind": "window", "border": 3}, "framing must not hold border"),
        ({"kind": "window", "padding": [1]}, "padding and min_side must be numbers"),
    ],
    ids=["kind", "no_kind", "padding", "min_side", "extra", "type"],
)
def test_a_framing_that_breaks_its_form_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        Framing.from_json(content)


def test_a_models_own_framing_counts_unless_another_is_asked_for():
    assert choose_framing(WINDOW, None) is WINDOW
    assert choose_framing(WINDOW, "window") is WINDOW
    assert choose_framing(WINDOW, "image") == Framing()
    assert choose_framing(Framing(), "window") == WINDOW_FRAMING
