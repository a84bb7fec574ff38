"""Found boxes over images: which images, and which colours."""

import numpy as np

from sameo_model.evaluation.box_metrics import judge_boxes
from sameo_model.evaluation.report.found_boxes import (
    FALSE,
    MISSED,
    RIGHT,
    choose_images,
    draw_found_boxes,
)
from tests.sameo_model.evaluation.test_box_metrics import make_image


def test_the_seed_chooses_ten_images():
    images = [make_image(image_id=number) for number in range(30)]
    chosen = [image.image_id for image in choose_images(images, 0)]
    assert len(set(chosen)) == 10
    assert chosen == sorted(chosen)
    assert chosen == [image.image_id for image in choose_images(images, 0)]
    assert chosen != [image.image_id for image in choose_images(images, 1)]
    assert len(choose_images(images[:3], 0)) == 3


def test_right_false_and_missed_boxes_have_their_colours():
    image = make_image((10, 10, 20, 20), (50, 10, 20, 20))
    boxes = np.array([[10, 10, 30, 30], [50, 60, 70, 80]], np.float32)
    verdicts = judge_boxes(image, boxes, np.array([0.9, 0.8]))
    drawn = draw_found_boxes(np.full((100, 100, 3), 100, np.uint8), boxes, verdicts)
    assert drawn.shape == (640, 640, 3)
    scale = 6.4
    for x, y, colour in ((10, 20, RIGHT), (60, 60, FALSE), (50, 20, MISSED)):
        assert tuple(drawn[round(y * scale), round(x * scale)]) == colour
