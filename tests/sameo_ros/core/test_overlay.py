import numpy as np

from sameo_model.runtime import MaskCrop, Prediction
from sameo_ros.core.answering import build_answer
from sameo_ros.core.overlay import draw_answer
from sameo_ros.messages.detections import detections_to_boxes
from tests.sameo_ros.stand_ins import box_detection, detections, hypothesis

IMAGE_HW = 240, 320
DETECTIONS = detections_to_boxes(
    detections(
        box_detection(300, 10, 200, 20),  # inverted: it is not answered
        box_detection(80, 60, 240, 180, results=[hypothesis("mug", 0.9)]),
    )
)
AMODAL = MaskCrop(100, 80, np.ones((80, 100), bool))
VISIBLE = MaskCrop(100, 80, np.ones((80, 50), bool))
SEEN, HIDDEN = (slice(100, 140), slice(110, 140)), (slice(100, 140), slice(160, 190))


def draw(visible_masks, style="full"):
    ones = np.ones(1, np.float32)
    prediction = Prediction([AMODAL], visible_masks, ones, ones * 0.5)
    answer = build_answer(DETECTIONS, [1], prediction, IMAGE_HW)
    image_rgb = np.full((*IMAGE_HW, 3), 128, np.uint8)
    drawn = draw_answer(image_rgb, answer, style)
    assert (image_rgb == 128).all()
    return drawn


def test_the_visible_part_is_solid_and_the_hidden_part_hatched():
    drawn = draw([VISIBLE])
    assert len(np.unique(drawn[SEEN].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(drawn[HIDDEN].reshape(-1, 3), axis=0)) >= 3  # stripe, edge, ground
    assert (drawn[HIDDEN] == 128).all(axis=2).any()


def test_without_visible_masks_the_whole_object_is_solid():
    drawn = draw(None)
    np.testing.assert_array_equal(drawn[SEEN][0, 0], drawn[HIDDEN][0, 0])


def test_the_full_style_shows_box_and_label():
    full, masks = draw([VISIBLE]), draw([VISIBLE], "masks")
    assert (full[179, 100:220] != 128).any()  # the lower edge of the box
    assert (full[:60] != 128).any()  # the label above it
    assert (masks[:75] == 128).all()
    assert (masks[179] == 128).all()
    np.testing.assert_array_equal(full[HIDDEN], masks[HIDDEN])
