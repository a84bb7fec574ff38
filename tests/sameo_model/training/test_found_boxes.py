"""Prompts that a detector finds: matching, and samples that use them."""

from dataclasses import replace

import numpy as np
import pytest

from sameo_model.runtime import load_predictor
from sameo_model.training.config import SampleOptions
from sameo_model.training.config_loading import config_from_dict
from sameo_model.training.found_boxes import MIN_SCORE, PromptFinder, match_found
from sameo_model.training.sample_plan import Draw
from sameo_model.training.samples import TrainingSamples
from tests.bundles import make_tiny_bundle
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import make_sources

PLAIN = SampleOptions(boxes_per_image=4, augment=False, prompt="visible")


def test_each_object_gets_the_best_box_that_fits_it_once():
    true = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]], np.float32)
    good, rival, other, far = [0, 0, 10, 9], [0, 0, 10, 10], [21, 0, 30, 10], [50, 50, 90, 90]
    matched = match_found(np.array([good, rival, other, far], np.float32), true)
    np.testing.assert_array_equal(matched[:2], [good, other])
    assert np.isnan(matched[2]).all()


def test_without_found_boxes_no_object_has_one():
    assert np.isnan(match_found(np.zeros((0, 4), np.float32), np.ones((3, 4), np.float32))).all()


def test_found_boxes_take_the_place_of_true_ones(tmp_path):
    images = write_drawn_scenes(tmp_path / "data", 1)
    sources = make_sources(images)
    draw = Draw((7,), 0, 0, (0, 1))
    boxes = {}
    for share in (0.0, 1.0):
        options = replace(PLAIN, found_boxes=share)
        (view,) = TrainingSamples(sources, options, image_size=64, seed=0)[draw]["views"]
        boxes[share] = view["boxes_xyxy"].numpy()
    with load_predictor(backend="openvino", precision="f32", threads=1) as predictor:
        found = predictor.detect(images[0].load_rgb(), min_score=MIN_SCORE).boxes_xyxy
    # The input has 64 x 64 pixels for 128 x 96 of the image.
    expected = match_found(found * np.array([0.5, 64 / 96] * 2, np.float32), boxes[0.0])
    is_found = ~np.isnan(expected[:, 0])
    assert is_found.any()
    np.testing.assert_allclose(boxes[1.0][is_found], expected[is_found], rtol=1e-5)
    np.testing.assert_array_equal(boxes[1.0][~is_found], boxes[0.0][~is_found])
    assert np.abs(boxes[1.0] - boxes[0.0]).max() > 0.1


def test_a_model_without_a_detector_is_refused(tmp_path):
    bundle = make_tiny_bundle(tmp_path)
    with pytest.raises(ValueError, match=r"samples.found_boxes needs a detector, but model .* con"):
        PromptFinder(str(bundle))


def test_cached_embeddings_leave_nothing_for_a_detector_to_see():
    values = {
        "train": [{"root": "data"}],
        "preset": "efficient_sam_vitt",
        "embedding_cache": "cache",
        "samples": {"augment": False, "found_boxes": 0.5},
    }
    with pytest.raises(ValueError, match=r"embedding_cache needs samples.found_boxes=0"):
        config_from_dict(values)
