import numpy as np
import pytest

from sameo_model.runtime.overlay import draw_overlay, format_label, instance_colour
from sameo_model.runtime.types import MaskCrop

IMAGE_HW = (480, 640)
AMODAL = MaskCrop(200, 150, np.ones((200, 240), bool))
VISIBLE = MaskCrop(200, 150, np.ones((200, 120), bool))
BOX = [200, 150, 320, 350]


def black_image(image_hw=IMAGE_HW):
    return np.zeros((*image_hw, 3), np.uint8)


def draw(amodal=(AMODAL,), visible=(VISIBLE,), boxes=(BOX,), labels=("#0",), image=None):
    image = black_image() if image is None else image
    return draw_overlay(image, amodal, visible, boxes, labels)


def test_the_visible_part_is_tinted_evenly():
    inner = draw()[200:300, 220:300]
    expected = 0.45 * np.array(instance_colour(0))
    assert np.abs(inner - expected).max() <= 1


def test_the_hidden_part_is_striped():
    inner = draw()[200:300, 340:420]
    share = (inner.sum(axis=2) > 0).mean()
    # Stripes of 2 pixels every 8, beside dark edges that do not show on black.
    assert share == pytest.approx(0.25, abs=0.02)
    assert len(np.unique(inner.reshape(-1, 3), axis=0)) == 2


def test_nothing_far_from_the_objects_is_touched():
    overlay = draw()
    assert not overlay[:120].any()
    assert not overlay[:, :190].any()
    assert not overlay[:, 450:].any()
    assert not overlay[380:].any()


def test_without_visible_masks_the_amodal_mask_is_solid():
    overlay = draw(visible=None)
    assert len(np.unique(overlay[200:300, 340:420].reshape(-1, 3), axis=0)) == 1


def test_the_image_given_is_not_changed():
    image = black_image()
    draw(image=image)
    assert not image.any()


def test_views_with_any_strides_are_drawn():
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    flipped = image[:, :, ::-1]
    np.testing.assert_array_equal(draw(image=flipped), draw(image=flipped.copy()))


def test_no_objects_leave_the_image_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw((), (), [], (), image), image)


@pytest.mark.parametrize(
    "box", [[np.nan] * 4, [-90, -90, 9000, 9000], [9, 9, 1, 1]], ids=["nan", "huge", "inverted"]
)
def test_any_box_and_empty_masks_are_survived(box):
    empty = MaskCrop.empty()
    assert draw((empty,), (empty,), [box]).shape == (480, 640, 3)


@pytest.mark.parametrize("image_hw", [(1, 1), (8, 500), (500, 8)])
def test_tiny_images_are_survived(image_hw):
    whole = MaskCrop(0, 0, np.ones(image_hw, bool))
    box = [0, 0, image_hw[1], image_hw[0]]
    assert draw((whole,), (whole,), [box], image=black_image(image_hw)).shape == (*image_hw, 3)


def test_labels_grow_with_the_image():
    def label_height(image_hw):
        # A white object on a box at the middle; the plate lies above the box.
        middle = image_hw[0] // 2
        box = [10, middle, image_hw[1] - 10, image_hw[0] - 10]
        empty = MaskCrop.empty()
        overlay = draw((empty,), (empty,), [box], image=black_image(image_hw))
        return int(overlay[:middle].any(axis=(1, 2)).sum())

    assert label_height((1080, 1920)) > 2 * label_height((480, 640)) - 4
    assert label_height((480, 640)) >= 12


def test_labels_of_equal_boxes_do_not_cover_each_other():
    empty = MaskCrop.empty()
    one = draw((empty,), (empty,), [BOX], ["#0"])
    two = draw((empty, empty), (empty, empty), [BOX, BOX], ["#0", "#1"])
    # The first plate is drawn as before, the second somewhere else.
    plate = one[132:148, 200:220]
    np.testing.assert_array_equal(two[132:148, 200:220], plate)
    assert plate.any()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((3,), "#3"),
        ((3, "mug"), "#3 mug"),
        ((3, "mug", 0.374), "#3 mug 37% hidden"),
        ((0, "", 0.0), "#0 0% hidden"),
    ],
)
def test_labels_hold_what_is_known(arguments, text):
    assert format_label(*arguments) == text


def test_neighbouring_colours_differ():
    colours = [np.array(instance_colour(i), float) for i in range(12)]
    for i, colour in enumerate(colours):
        for other in colours[i + 1 : i + 4]:
            assert np.abs(colour - other).max() > 60
