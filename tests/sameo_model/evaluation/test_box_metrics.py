"""AP and AR of boxes: worked examples."""

from pathlib import Path

import numpy as np
import pytest

from sameo_model.data.rle import encode_mask
from sameo_model.data.types import AmodalImage, AmodalInstance, CrowdRegion
from sameo_model.evaluation.box_metrics import judge_boxes, score_boxes


def make_image(*boxes_xywh, image_id=1, amodal=(), crowds=()):
    whole = amodal or boxes_xywh
    instances = tuple(
        AmodalInstance(number, "", None, None, box, visible, None)
        for number, (visible, box) in enumerate(zip(boxes_xywh, whole, strict=True), start=1)
    )
    return AmodalImage(image_id, Path("none"), (100, 100), instances, "drawn", (), crowds)


def score(images, found, kind="visible"):
    boxes = {number: np.array(rows, np.float32)[:, :4] for number, rows in found.items()}
    values = {number: np.array(rows, np.float32)[:, 4] for number, rows in found.items()}
    return score_boxes(images, boxes, values, kind)


def test_true_boxes_score_one():
    image = make_image((10, 10, 20, 20), (50, 50, 30, 10))
    result = score([image], {1: [[10, 10, 30, 30, 0.9], [50, 50, 80, 60, 0.8]]})
    assert result == pytest.approx(dict.fromkeys(result, 1.0))


def test_a_better_scored_false_box_halves_the_precision():
    image = make_image((10, 10, 20, 20))
    result = score([image], {1: [[60, 60, 90, 90, 0.9], [10, 10, 30, 30, 0.8]]})
    assert result["ap50"] == pytest.approx(0.5)
    assert result["recall50"] == result["ar10"] == pytest.approx(1)


def test_recall_counts_the_best_boxes_alone():
    image = make_image((10, 10, 20, 20))
    false = [[60, 60, 90, 90, 0.9]] * 10
    result = score([image], {1: [*false, [10, 10, 30, 30, 0.8]]})
    assert (result["ar10"], result["ar30"]) == (0, 1)


def test_boxes_on_crowds_are_neither_right_nor_wrong():
    region = np.zeros((100, 100), bool)
    region[60:90, 60:90] = True
    image = make_image((10, 10, 20, 20), crowds=(CrowdRegion(9, "", encode_mask(region)),))
    result = score([image], {1: [[60, 60, 90, 90, 0.9], [10, 10, 30, 30, 0.8]]})
    assert result["ap50"] == pytest.approx(1)


def test_whole_boxes_are_scored_against_whole_ones_where_they_are_known():
    image = make_image((10, 10, 20, 20), (60, 60, 20, 20), amodal=((10, 10, 50, 20), None))
    whole = {1: [[60, 60, 80, 80, 0.9], [10, 10, 60, 30, 0.8]]}
    assert score([image], whole, "amodal")["ap50"] == pytest.approx(1)
    assert score([image], whole, "visible")["recall50"] == pytest.approx(0.5)


def test_no_boxes_at_all_find_nothing():
    result = score([make_image((10, 10, 20, 20))], {1: np.zeros((0, 5))})
    assert set(result.values()) == {0.0}


def test_each_box_is_right_false_or_ignored_and_each_object_found_or_missed():
    region = np.zeros((100, 100), bool)
    region[60:90, 60:90] = True
    crowds = (CrowdRegion(9, "", encode_mask(region)),)
    image = make_image((10, 10, 20, 20), (50, 10, 20, 20), crowds=crowds)
    boxes = [[60, 60, 90, 90], [12, 10, 30, 30], [10, 10, 30, 30], [0, 80, 20, 99]]
    verdicts = judge_boxes(image, np.array(boxes, np.float32), np.array([0.9, 0.3, 0.8, 0.7]))
    # The second box is as good, but a better scored one has its object.
    assert verdicts.is_right.tolist() == [False, False, True, False]
    assert verdicts.is_ignored.tolist() == [True, False, False, False]
    assert verdicts.is_false.tolist() == [False, True, False, True]
    assert verdicts.is_found.tolist() == [True, False]
    assert verdicts.true_xyxy.tolist() == [[10, 10, 30, 30], [50, 10, 70, 30]]


def test_boxes_of_an_image_without_objects_are_false():
    verdicts = judge_boxes(make_image(), np.array([[0, 0, 9, 9]], np.float32), np.array([0.5]))
    assert verdicts.is_right.tolist() == [False]
    assert verdicts.is_found.tolist() == []
    nothing = judge_boxes(make_image((1, 1, 5, 5)), np.zeros((0, 4), np.float32), np.zeros(0))
    assert nothing.is_found.tolist() == [False]
