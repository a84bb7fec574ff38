import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sameo_model.data.rle import encode_mask
from sameo_model.evaluation.detections import Detection, group_by_image, suppress_duplicates
from sameo_model.evaluation.instance_scores import PredictedObject
from sameo_model.evaluation.rows import model_rows, true_visible_row
from sameo_model.runtime.types import MaskCrop
from tests.sameo_model.evaluation.scenes import filled, two_squares

HW = (64, 64)


def _detection(box, score=0.5, category_id=1):
    return Detection(7, category_id, score, box, encode_mask(filled(HW, box)))


def test_perfect_visible_masks_follow_the_boxes_that_overlap_most(tmp_path):
    image = two_squares(tmp_path)
    # Around the visible upper half of the big square, around the small one, and far from both.
    boxes = [(8, 9, 40, 24), (44, 44, 60, 58), (0, 56, 6, 62)]
    row = true_visible_row([image], {7: [_detection(box) for box in boxes]}, "visible")

    decoded = [coco_mask.decode(item.mask_rle) for item in row.detections[7]]
    assert np.array_equal(decoded[0], filled(HW, (8, 8, 40, 24)))
    assert np.array_equal(decoded[1], filled(HW, (44, 44, 60, 60)))
    assert not decoded[2].any()
    assert [item.box_xyxy for item in row.detections[7]] == boxes


def test_amodal_boxes_are_compared_with_amodal_boxes(tmp_path):
    image = two_squares(tmp_path)
    # Below the visible half of the big square, but inside its amodal box.
    rows = {7: [_detection((10, 26, 38, 40))]}

    visible = true_visible_row([image], rows, "visible").detections[7][0]
    amodal = true_visible_row([image], rows, "amodal").detections[7][0]

    assert coco_mask.area(visible.mask_rle) == 0
    assert coco_mask.area(amodal.mask_rle) == 32 * 16


def test_scores_are_multiplied_by_the_predicted_iou_in_one_row_only(tmp_path):
    image = two_squares(tmp_path)
    amodal = MaskCrop.from_mask(filled(HW, (8, 8, 40, 40)))
    visible = MaskCrop.from_mask(filled(HW, (8, 8, 40, 24)))
    answers = {7: [PredictedObject(amodal, visible, 0.5)]}

    rows = {
        row.name: row.detections[7][0]
        for row in model_rows([image], {7: [_detection((8, 8, 40, 24), 0.8)]}, answers)
    }

    assert rows["sameo"].score == pytest.approx(0.4)
    assert rows["sameo_no_rescore"].score == pytest.approx(0.8)
    assert rows["visible_decoder"].score == pytest.approx(0.8)
    assert coco_mask.area(rows["sameo"].mask_rle) == 1024
    assert coco_mask.area(rows["sameo"].visible_rle) == 512
    assert coco_mask.area(rows["visible_decoder"].mask_rle) == 512


def test_a_model_without_visible_decoder_has_no_visible_row(tmp_path):
    image = two_squares(tmp_path)
    answers = {7: [PredictedObject(MaskCrop.empty(), None, 0.5)]}

    rows = model_rows([image], {7: [_detection((8, 8, 40, 24))]}, answers)

    assert [row.name for row in rows] == ["sameo_no_rescore", "sameo"]


def test_suppression_keeps_the_best_of_overlapping_boxes_of_any_class():
    # IoU of the first two: 10x10 against 10x8 inside it: 0.8. The third is apart.
    best = _detection((0, 0, 10, 10), 0.9, category_id=1)
    other = _detection((0, 0, 10, 8), 0.8, category_id=2)
    apart = _detection((30, 30, 40, 40), 0.1)

    assert suppress_duplicates([other, apart, best], 0.7) == [best, apart]
    assert suppress_duplicates([other, apart, best], 0.8) == [best, other, apart]
    assert suppress_duplicates([], 0.5) == []


def test_grouping_keeps_the_order():
    rows = [_detection((0, 0, 5, 5), s) for s in (0.1, 0.9, 0.5)]
    assert [item.score for item in group_by_image(rows)[7]] == [0.1, 0.9, 0.5]
