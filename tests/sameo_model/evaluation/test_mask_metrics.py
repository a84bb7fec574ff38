import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sameo_model.evaluation.mask_metrics import (
    PromptedImage,
    PromptedImages,
    bin_index,
    evaluate_masks,
    intervals,
    score_masks,
    summarise,
)
from sameo_model.runtime import load_predictor
from tests.bundles import make_tiny_bundle
from tests.sameo_model.evaluation.scenes import filled, make_image, make_instance, two_squares


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """The amodal mask of a box is the box without its four corner pixels (the up-sampled logits
    are not positive there), the visible mask its upper half, the IoU 128 / 255."""
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle"))
    return load_predictor(bundle, "onnxruntime", threads=1)


def test_amodal_prompts_score_a_box_predictor_perfectly(predictor, tmp_path):
    result = evaluate_masks(predictor, [two_squares(tmp_path)], prompts="amodal")

    # Both objects are squares and the predictor fills the box but its corners: 1020 of 1024 and
    # 252 of 256 pixels.
    assert result["num_instances"] == 2
    assert result["num_occluded"] == 1
    assert result["miou_full"] == pytest.approx((1020 / 1024 + 252 / 256) / 2)
    # The lower half has 512 pixels and two of the corners.
    assert result["miou_hidden"] == pytest.approx(510 / 512)
    # The visible mask is the upper half without corners: right for the big square (its lower
    # half is hidden), half of the whole small square.
    assert result["miou_visible"] == pytest.approx((508 / 512 + 124 / 256) / 2)
    assert result["boundary_f"] == pytest.approx(1)
    # All predicted IoU are equal, so a rank correlation does not exist.
    assert result["iou_spearman"] is None


def test_visible_prompts_score_a_box_predictor_like_the_visible_mask(predictor, tmp_path):
    result = evaluate_masks(predictor, [two_squares(tmp_path)], prompts="visible")

    # Big square: the prompt is its upper half, 512 of 1024 pixels, less four corners.
    assert result["miou_full"] == pytest.approx((508 / 1024 + 252 / 256) / 2)
    assert result["miou_full_occluded"] == pytest.approx(508 / 1024)
    assert result["miou_full_unoccluded"] == pytest.approx(252 / 256)
    # Nothing of the hidden half was predicted.
    assert result["miou_hidden"] == 0
    for name in ("visible", "box", "hull"):
        assert result[f"baseline_{name}_miou_full"] == pytest.approx(0.75)
        assert result[f"baseline_{name}_miou_full_occluded"] == pytest.approx(0.5)


def test_bins_hold_each_object_once_by_its_occlusion_rate(predictor, tmp_path):
    result = evaluate_masks(predictor, [two_squares(tmp_path)], prompts="visible")

    # Rates 0.5 and 0: the fourth bin starts at 0.5, the first at 0.
    assert [row["num"] for row in result["bins"]] == [1, 0, 0, 1, 0]
    assert [row["lo"] for row in result["bins"]] == [0, 0.1, 0.3, 0.5, 0.8]
    assert [row["hi"] for row in result["bins"]] == [0.1, 0.3, 0.5, 0.8, 1]
    assert result["bins"][0]["miou_full"] == pytest.approx(252 / 256)
    assert result["bins"][0]["miou_hidden"] is None
    assert result["bins"][3]["miou_full"] == pytest.approx(508 / 1024)
    assert result["bins"][3]["miou_hidden"] == 0
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0.0, 0), (0.0999, 0), (0.1, 1), (0.3, 2), (0.5, 3), (0.8, 4), (0.99, 4), (1.0, 4)],
)
def test_bin_edges_belong_to_the_upper_bin(rate, expected):
    assert bin_index(rate) == expected


def test_hull_baseline_fills_a_hole_that_the_visible_mask_has(predictor, tmp_path):
    # A 20x20 square whose middle 10x10 is hidden: the hull of the ring is the whole square.
    amodal = filled((64, 64), (10, 10, 30, 30))
    visible = amodal & ~filled((64, 64), (15, 15, 25, 25))
    image = make_image(tmp_path, 1, [make_instance(1, amodal, visible)], (64, 64))

    result = evaluate_masks(predictor, [image], prompts="visible")

    assert result["baseline_hull_miou_full"] == pytest.approx(1)
    assert result["baseline_visible_miou_full"] == pytest.approx(300 / 400)


def test_objects_without_a_visible_pixel_have_no_visible_prompt(predictor, tmp_path):
    amodal = filled((64, 64), (8, 8, 24, 24))
    hidden = make_instance(1, amodal, np.zeros_like(amodal))
    image = make_image(tmp_path, 1, [hidden], (64, 64))

    assert evaluate_masks(predictor, [image], prompts="amodal")["num_instances"] == 1
    with pytest.raises(ValueError, match="no object with both a true amodal and a true visible"):
        evaluate_masks(predictor, [image], prompts="visible")


def test_box_noise_repeats_with_the_seed_and_does_not_depend_on_other_images(tmp_path):
    image = two_squares(tmp_path)

    def boxes(seed):
        return PromptedImage.build(image, "amodal", 0.2, seed).boxes_xyxy

    first = boxes(3)
    assert np.array_equal(first, boxes(3))
    assert not np.array_equal(first, boxes(4))
    # Sides of the 32 pixel square move by at most 0.2 * 32 = 6.4 pixels.
    assert np.abs(first[0] - [8, 8, 40, 40]).max() <= 6.4


def test_spearman_orders_predicted_against_true_iou(predictor, tmp_path):
    # The predicted IoU is the image's red mean, the same within an image, so use two images:
    # the brighter one is predicted better, and it is (whole square against hidden half).
    image = two_squares(tmp_path)
    good = replace(image, image_id=1, instances=image.instances[1:])
    bad = replace(image, image_id=2, instances=image.instances[:1], path=tmp_path / "dark.png")
    cv2.imwrite(str(bad.path), np.full((64, 64, 3), 10, np.uint8))

    assert evaluate_masks(predictor, [good, bad])["iou_spearman"] == pytest.approx(1)


def test_each_object_keeps_its_own_scores(predictor, tmp_path):
    (scores,) = score_masks(predictor, PromptedImages([two_squares(tmp_path)], "visible"))

    assert [score.annotation_id for score in scores] == [1, 2]
    assert scores[0].occlusion_rate == pytest.approx(0.5)
    assert scores[0].amodal_area == 32 * 32
    assert scores[0].predicted_iou == pytest.approx(128 / 255, abs=1e-5)
    assert math.isnan(scores[1].iou_hidden)


def test_intervals_hold_the_means_and_resample_whole_images(predictor, tmp_path):
    # Ten copies of the same image: every resample of images has the same mean.
    images = [two_squares(tmp_path)] * 10
    prompted = PromptedImages(images, "visible")
    scores = [
        replace(score, image_id=number)
        for number, rows in enumerate(score_masks(predictor, prompted))
        for score in rows
    ]
    alike = intervals(scores, replicates=50)
    assert alike["miou_full"] == pytest.approx([summarise(scores)["miou_full"]] * 2)

    # All objects of one image: there is nothing to resample. In images of their own there is.
    apart = [replace(score, image_id=number) for number, score in enumerate(scores)]
    low, high = intervals(apart, replicates=200)["miou_full"]
    assert low < summarise(apart)["miou_full"] < high
    assert intervals(scores[1:2], replicates=50)["miou_hidden"] is None


def _visible_alone(image):
    """The same image as a set of plain instance masks knows it."""
    instances = [
        replace(item, amodal_rle=None, amodal_box_xywh=None, occlusion_rate=None)
        for item in image.instances
    ]
    return replace(image, instances=tuple(instances))


def test_without_amodal_truth_the_visible_mask_is_scored_and_nothing_else(predictor, tmp_path):
    image = _visible_alone(two_squares(tmp_path))

    result = evaluate_masks(predictor, [image], prompts="visible")

    # The prompt of the big square is its upper half, 32 x 16; the visible mask is the upper half
    # of that without two corners, and likewise 16 x 8 of the small one, 16 x 16.
    assert result["num_instances"] == 2
    assert result["miou_visible"] == pytest.approx((254 / 512 + 126 / 256) / 2, abs=0.01)
    assert result["num_occluded"] is None
    unknown = [name for name in result if "full" in name or name.startswith("baseline")]
    unknown += ["miou_hidden", "boundary_f", "iou_spearman", "agreement_unoccluded"]
    assert {name: result[name] for name in unknown} == dict.fromkeys(unknown)
    assert [row["num"] for row in result["bins"]] == [0] * 5
    json.dumps(result, allow_nan=False)


def test_sizes_hold_each_object_once_by_the_longer_side_of_its_visible_part(predictor, tmp_path):
    result = evaluate_masks(predictor, [two_squares(tmp_path)], prompts="amodal")

    # 32 x 16 visible pixels: 32 opens the second row; the small square has sides of 16.
    assert [row["num"] for row in result["sizes"]] == [1, 1, 0, 0]
    assert [(row["lo_px"], row["hi_px"]) for row in result["sizes"]] == [
        *((0, 32), (32, 70), (70, 150), (150, None))
    ]
    assert result["sizes"][0]["miou_visible"] == pytest.approx(124 / 256)
    assert result["sizes"][1]["miou_visible"] == pytest.approx(508 / 512)
    assert result["sizes"][1]["boundary_f_visible"] == pytest.approx(1)


def test_agreement_compares_the_predicted_masks_where_nothing_hides(predictor, tmp_path):
    result = evaluate_masks(predictor, [two_squares(tmp_path)], prompts="amodal")

    # Only the small square is whole; its visible mask is half of its amodal mask.
    assert result["agreement_unoccluded"] == pytest.approx(0.5, abs=0.01)
    assert result["miou_visible_unoccluded"] == pytest.approx(124 / 256)


class Listening:
    """Answers as another predictor does, and keeps the clicks that it was given."""

    def __init__(self, predictor):
        self.predictor, self.clicks = predictor, []

    def encode(self, image_rgb):
        return self.predictor.encode(image_rgb)

    def decode(self, embedding, boxes_xyxy, **prompts):
        self.clicks.append(prompts.get("points_xy"))
        return self.predictor.decode(embedding, boxes_xyxy)


def test_clicks_lie_on_the_visible_parts_and_follow_from_the_seed(predictor, tmp_path):
    image = two_squares(tmp_path)
    first, again, other = Listening(predictor), Listening(predictor), Listening(predictor)
    result = evaluate_masks(first, [image], points=3)
    evaluate_masks(again, [image], points=3)
    evaluate_masks(other, [image], points=3, seed=1)
    (clicks,) = first.clicks
    assert clicks.shape == (2, 3, 2)
    for instance, points in zip(image.instances, clicks, strict=True):
        visible = instance.visible_mask()
        assert all(visible[int(y), int(x)] for x, y in points)
    assert np.array_equal(clicks, again.clicks[0])
    assert not np.array_equal(clicks, other.clicks[0])
    silent = Listening(predictor)
    assert evaluate_masks(silent, [image]) == result
    assert silent.clicks == [None]
