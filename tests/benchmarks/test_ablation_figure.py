"""Over-prediction is what a mask of a front object covers of the objects behind it."""

import numpy as np
import pytest

from benchmarks.ablation_figure import (
    PANEL_HEIGHT,
    draw_over_prediction,
    find_front_objects,
    measure_over_prediction,
)
from sameo_model.runtime.types import MaskCrop, Prediction
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes

# The bar of an image is 15 columns wide and 79 rows high (columns 63 to 77, rows 11 to 89 of the
# first one) and hides part of a disc.
BAR_PIXELS = 15 * 79


class FixedPredictor:
    """Answers every box with its area, `margin` pixels wider on either side."""

    def __init__(self, margin):
        self.margin = margin

    def encode(self, image_rgb):
        return image_rgb.shape[:2]

    def decode(self, embedding, boxes_xyxy, *, visible):
        assert not visible
        crops = []
        for x1, y1, x2, y2 in boxes_xyxy.astype(int).tolist():
            x1, x2 = max(0, x1 - self.margin), min(embedding[1], x2 + self.margin)
            crops.append(MaskCrop(x1, y1, np.ones((y2 - y1, x2 - x1), bool)))
        return Prediction(crops, None, np.ones(len(crops), np.float32), np.ones(len(crops)))


@pytest.fixture
def images(tmp_path):
    return list(write_drawn_scenes(tmp_path / "scenes"))


def test_only_the_bar_is_a_front_object_and_the_disc_is_behind_it(images):
    (item,) = find_front_objects(images[0])
    assert item.mask.sum() == BAR_PIXELS
    assert item.box_xyxy.tolist() == [63, 11, 78, 90]
    (disc,) = (i for i in images[0].instances if i.occlusion_rate > 0)
    assert (item.behind == disc.visible_mask()).all()


def test_over_prediction_counts_what_is_drawn_on_objects_behind_alone(images):
    assert measure_over_prediction(images, FixedPredictor(0)) == 0
    # Two columns of the disc on the bar's left and two on its right, of radius 30 around (50, 48).
    columns = np.array([61, 62, 78, 79]) - 50
    heights = [sum((y - 48) ** 2 + x**2 < 900 for y in range(11, 90)) for x in columns]
    share = measure_over_prediction(images[:1], FixedPredictor(2))
    assert share == pytest.approx(sum(heights) / BAR_PIXELS)


def test_without_front_objects_there_is_nothing_to_measure_or_draw():
    assert np.isnan(measure_over_prediction([], FixedPredictor(0)))
    with pytest.raises(ValueError, match="must show an object in front of another one, got none"):
        draw_over_prediction([], FixedPredictor(2), FixedPredictor(0))


def test_the_picture_shows_truth_and_both_networks(images):
    picture = draw_over_prediction(images, FixedPredictor(4), FixedPredictor(0))
    assert picture.shape[0] == PANEL_HEIGHT
    truth, wide, right = np.split(picture, 3, axis=1)
    assert np.array_equal(truth, right)
    assert not np.array_equal(truth, wide)
