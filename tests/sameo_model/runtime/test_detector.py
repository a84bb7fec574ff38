"""A bundle with a detector finds things by itself; one without says so."""

import json

import numpy as np
import pytest

from sameo_model.runtime import load_predictor
from sameo_model.runtime.bundle import load_bundle
from tests.bundles import add_tiny_detector, make_tiny_bundle, make_tiny_window_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return add_tiny_detector(make_tiny_window_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def predictor(request, folder):
    return load_predictor(folder, backend=request.param)


def grey(height, width, level=255):
    return np.full((height, width, 3), level, np.uint8)


def test_boxes_are_scaled_to_the_image_and_duplicates_are_gone(predictor):
    # The detector's square of 64 x 64 shows an image of 128 x 320.
    found = predictor.detect(grey(128, 320))
    np.testing.assert_allclose(found.boxes_xyxy, [[40, 16, 160, 80], [200, 80, 320, 128]])
    np.testing.assert_allclose(found.amodal_boxes_xyxy, [[40, 16, 160, 96], [200, 80, 320, 128]])
    np.testing.assert_allclose(found.scores, [1.0, 0.5], atol=1e-3)
    assert found.boxes_xyxy.dtype == found.scores.dtype == np.float32
    assert predictor.has_detector


def test_duplicates_have_a_say_in_where_a_box_lies(tmp_path):
    # The second box lies a pixel to the right of the first, with an IoU of 23 / 25.
    boxes = ((8, 8, 32, 40), (9, 8, 33, 40))
    folder = add_tiny_detector(make_tiny_window_bundle(tmp_path), boxes, (1.0, 0.9))
    with load_predictor(folder, "onnxruntime") as predictor:
        found = predictor.detect(grey(64, 64))
    vote = 0.9 * (23 / 25) ** 2
    x = 8 + vote / (1 + vote)
    np.testing.assert_allclose(found.boxes_xyxy, [[x, 8, x + 24, 40]], rtol=1e-5)
    np.testing.assert_allclose(found.amodal_boxes_xyxy, [[x, 8, x + 24, 48]], rtol=1e-5)


def test_fewer_boxes_come_with_a_higher_score_or_a_smaller_number(predictor):
    image = grey(64, 64)
    assert len(predictor.detect(image, min_score=0.6)) == 1
    assert len(predictor.detect(image, min_score=0.05)) == 3
    assert len(predictor.detect(image, max_boxes=1)) == 1
    assert len(predictor.detect(image, max_boxes=0)) == 0
    # At the bundle's own 0.25 a darker image shows the brightest object alone.
    assert len(predictor.detect(grey(64, 64, 102))) == 1


def test_an_empty_image_has_no_objects(predictor):
    found = predictor.detect(grey(64, 64, 0))
    assert found.boxes_xyxy.shape == found.amodal_boxes_xyxy.shape == (0, 4)
    objects = predictor.segment_all(grey(64, 64, 0))
    assert len(objects.detections) == len(objects.prediction) == 0


@pytest.mark.parametrize("image_hw", [(1, 1), (6000, 8000)])
def test_images_of_any_size_are_searched(predictor, image_hw):
    found = predictor.detect(grey(*image_hw))
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy[:, 2:] <= image_hw[::-1]).all()
    assert len(found) == 2


def test_masks_of_all_found_objects_come_in_the_order_of_the_boxes(predictor):
    objects = predictor.segment_all(grey(128, 128))
    assert len(objects.detections) == len(objects.prediction) == 2
    # The tiny model draws the box as the whole object and its upper half as the visible part.
    for box, mask in zip(
        objects.detections.boxes_xyxy, objects.prediction.amodal_masks, strict=True
    ):
        np.testing.assert_allclose(mask.box_xyxy, box, atol=2)


def test_two_hundred_objects_are_found_and_drawn(tmp_path):
    corners = [(4 * column, 4 * row) for row in range(14) for column in range(15)][:200]
    boxes = [(x, y, x + 4, y + 4) for x, y in corners]
    folder = make_tiny_window_bundle(tmp_path / "bundle")
    predictor = load_predictor(add_tiny_detector(folder, boxes, [0.9] * 200), "onnxruntime")
    image = grey(640, 640)
    assert len(predictor.detect(image)) == 100
    objects = predictor.segment_all(image, max_boxes=200)
    assert len(objects.detections) == len(objects.prediction.amodal_masks) == 200
    assert all(mask.area for mask in objects.prediction.amodal_masks)


def test_options_out_of_range_are_refused(predictor):
    for options in ({"max_boxes": -1}, {"min_score": 1.5}, {"min_score": float("nan")}):
        with pytest.raises(ValueError, match="max_boxes of at least 0 and min_score from 0 to 1"):
            predictor.detect(grey(8, 8), **options)
    with pytest.raises(ValueError, match="image_rgb must be a uint8 array"):
        predictor.detect(np.zeros((8, 8), np.uint8))


def test_the_least_score_of_a_bundle_may_be_a_whole_number(tmp_path):
    folder = add_tiny_detector(make_tiny_bundle(tmp_path))
    content = json.loads((folder / "model.json").read_text())
    content["detector"]["min_score"] = 0
    (folder / "model.json").write_text(json.dumps(content))
    assert load_bundle(folder).info.detector["min_score"] == 0


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_bundle_without_detector_loads_and_says_what_is_missing(tmp_path, backend):
    predictor = load_predictor(make_tiny_bundle(tmp_path / "bundle"), backend=backend)
    assert not predictor.has_detector
    message = "detect needs a detector, but this bundle has none"
    with pytest.raises(ValueError, match=message):
        predictor.detect(grey(8, 8))
    with pytest.raises(ValueError, match=message):
        predictor.backend.find_boxes(grey(64, 64))
