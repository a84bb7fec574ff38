import contextlib
import io
import logging
from pathlib import Path

import numpy as np
import pytest

from sameo_model.data.rle import encode_mask
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.average_precision import RECALLS, MatchTable
from sameo_model.evaluation.buckets import BUCKETS
from sameo_model.evaluation.detections import Detection
from sameo_model.evaluation.matching import MatchSettings, match_images
from tests.sameo_model.evaluation.random_sets import (
    IMAGE_HW,
    coco_documents,
    random_set,
    run_pycocotools,
)
from tests.sameo_model.evaluation.scenes import filled, make_instance


def _scores(images, detections, bucket=0, **settings):
    matches, _ = match_images(images, detections, MatchSettings(**settings))
    return MatchTable(matches, [image.image_id for image in images], bucket).scores()


def _image(*boxes_xyxy, image_id=1, categories=None, first_annotation=1):
    categories = categories or [1] * len(boxes_xyxy)
    masks = [filled(IMAGE_HW, box) for box in boxes_xyxy]
    instances = tuple(
        make_instance(first_annotation + n, mask, mask, category_id=category)
        for n, (mask, category) in enumerate(zip(masks, categories, strict=True))
    )
    return AmodalImage(image_id, Path(), IMAGE_HW, instances, "drawn")


def _detection(box_xyxy, score, image_id=1, category_id=1):
    mask = encode_mask(filled(IMAGE_HW, box_xyxy))
    return Detection(image_id, category_id, score, box_xyxy, mask)


@pytest.mark.parametrize("class_specific", [False, True], ids=["agnostic", "specific"])
def test_ap_and_ar_equal_pycocotools_run_by_hand_on_200_random_sets(class_specific):
    num_compared = 0
    for seed in range(200):
        images, detections = random_set(seed)
        truth, results = coco_documents(images, detections)
        if not results or not truth["annotations"]:
            continue  # pycocotools cannot load an empty result list
        stats = run_pycocotools(truth, results, class_specific=class_specific)
        ours = _scores(images, detections, class_specific=class_specific)
        expected = stats[[0, 1, 2, 8]]
        actual = [ours["ap"], ours["ap50"], ours["ap75"], ours["ar"]]
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9, err_msg=f"seed {seed}")
        num_compared += 1
    assert num_compared > 190


def test_ap_equals_faster_coco_eval_on_random_sets():
    faster = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    logging.getLogger("faster_coco_eval").setLevel(logging.ERROR)
    for seed in range(60):
        images, detections = random_set(seed)
        truth, results = coco_documents(images, detections)
        if not results or not truth["annotations"]:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            coco = faster.COCO(truth)
            evaluator = faster.COCOeval_faster(coco, coco.loadRes(results), "segm")
            evaluator.params.useCats = 0
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
        ours = _scores(images, detections)
        # Its recalls are computed in C++ with the same double precision.
        assert ours["ap"] == pytest.approx(evaluator.stats[0], abs=1e-9), f"seed {seed}"
        assert ours["ar"] == pytest.approx(evaluator.stats[8], abs=1e-9), f"seed {seed}"


def test_one_hit_and_one_miss_give_hand_derived_numbers():
    # Two truths. The best detection is exact for the first; the next best is far from both.
    image = _image((0, 0, 10, 10), (20, 20, 30, 30))
    detections = {1: [_detection((0, 0, 10, 10), 0.9), _detection((40, 0, 50, 10), 0.8)]}

    ours = _scores([image], detections)

    # Recall reaches 1/2 with precision 1: of the recall levels 0, .01, ..., 1.00 the 51 up to .50
    # get precision 1, the rest 0, at every IoU threshold: AP = 51/101. Recall ends at 1/2.
    assert ours["ap"] == pytest.approx(51 / 101)
    assert ours["ap50"] == pytest.approx(51 / 101)
    assert ours["ar"] == pytest.approx(0.5)


def test_a_loose_mask_counts_up_to_its_iou():
    # 10x10 truth, 10x8 detection inside it: IoU 0.8 hits .50 to .80, seven of ten thresholds.
    image = _image((0, 0, 10, 10))
    ours = _scores([image], {1: [_detection((0, 0, 10, 8), 0.5)]})

    assert ours["ap"] == pytest.approx(0.7)
    assert (ours["ap50"], ours["ap75"]) == (pytest.approx(1), pytest.approx(1))
    assert ours["ar"] == pytest.approx(0.7)


def test_a_false_positive_ranked_first_halves_precision():
    # Order: miss (0.9), hit (0.8). Precision 0/1, then 1/2 at recall 1: 101 levels at 1/2.
    image = _image((0, 0, 10, 10))
    detections = {1: [_detection((30, 30, 40, 40), 0.9), _detection((0, 0, 10, 10), 0.8)]}

    assert _scores([image], detections)["ap"] == pytest.approx(0.5)


def test_annotation_number_zero_is_matched_like_any_other():
    # pycocotools alone takes a match with annotation 0 for a false positive.
    image = _image((0, 0, 10, 10), first_annotation=0)

    assert _scores([image], {1: [_detection((0, 0, 10, 10), 0.9)]})["ap"] == pytest.approx(1)


def test_swapped_labels_cost_nothing_unless_classes_count():
    image = _image((0, 0, 10, 10), (20, 20, 30, 30), categories=[1, 2])
    swapped = {
        1: [
            _detection((0, 0, 10, 10), 0.9, category_id=2),
            _detection((20, 20, 30, 30), 0.8, category_id=1),
        ]
    }

    assert _scores([image], swapped)["ap"] == pytest.approx(1)
    assert _scores([image], swapped, class_specific=True)["ap"] == pytest.approx(0)


def test_a_category_that_the_truth_lacks_still_competes_without_classes():
    # pycocotools alone drops detections of categories that its categories list lacks.
    image = _image((0, 0, 10, 10))
    ours = _scores([image], {1: [_detection((0, 0, 10, 10), 0.9, category_id=99)]})

    assert ours["ap"] == pytest.approx(1)


def test_the_limit_of_detections_counts_all_classes_of_an_image_together():
    # 2 classes, 100 exact detections: with a limit of 10 recall is 10/100 pooled, but 20/100 by
    # class (ten of each class's fifty).
    boxes = [(6 * (n % 10), 4 * (n // 10), 6 * (n % 10) + 5, 4 * (n // 10) + 3) for n in range(100)]
    image = _image(*boxes, categories=[1 + n % 2 for n in range(100)])
    found = {1: [_detection(b, 0.9, category_id=1 + n % 2) for n, b in enumerate(boxes)]}

    assert _scores([image], found, max_detections=10)["ar"] == pytest.approx(0.1)
    assert _scores([image], found, max_detections=10, class_specific=True)["ar"] == pytest.approx(
        0.2
    )
    # A limit that is not COCO's 100 works too (its own summary prints -1 there).
    assert _scores([image], found, max_detections=300)["ap"] == pytest.approx(1)


def test_a_second_detection_of_another_class_is_a_false_positive():
    # Precision at full recall is 1/1 for the first hit; the duplicate comes after and costs
    # nothing at recall 1. Ranked before a second truth it does: hit, duplicate, hit: the second
    # truth is found with precision 2/3: (51 + 50 * 2/3) / 101.
    image = _image((0, 0, 10, 10), (20, 20, 30, 30))
    rows = [
        _detection((0, 0, 10, 10), 0.9, category_id=1),
        _detection((0, 0, 10, 10), 0.8, category_id=2),
        _detection((20, 20, 30, 30), 0.7, category_id=1),
    ]

    assert _scores([image], {1: rows})["ap"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_no_detections_score_zero_and_no_truths_score_nothing():
    assert _scores([_image((0, 0, 10, 10))], {})["ap"] == 0
    assert np.isnan(_scores([_image()], {1: [_detection((0, 0, 9, 9), 0.5)]})["ap"])


def test_size_buckets_use_the_masks_own_area_whatever_the_box_says():
    # The mask has 5 * 5 = 25 pixels (small), its record's box 20 * 20 = 400: were the box to
    # rule, nothing would change here, but at 40 * 40 = 1600 the unmatched one would be "medium".
    image = _image((0, 0, 5, 5), (10, 0, 50, 40))
    stray = Detection(1, 1, 0.95, (0, 0, 40, 40), encode_mask(filled(IMAGE_HW, (55, 40, 60, 45))))
    rows = {1: [stray, _detection((10, 0, 50, 40), 0.9)]}

    # Medium holds the one 1600 pixel truth; the small stray does not count there: AP 1.
    assert _scores([image], rows, bucket=2, buckets=BUCKETS["coco"])["ap"] == pytest.approx(1)
    # Small holds the 25 pixel truth, which nothing found.
    assert _scores([image], rows, bucket=1, buckets=BUCKETS["coco"])["ap"] == 0


def test_aisformer_buckets_hold_truths_by_their_visible_share():
    # Visible shares: 1.0, 0.8, 0.5. Only the two occluded ones are found.
    masks = [filled(IMAGE_HW, (x, 0, x + 10, 10)) for x in (0, 20, 40)]
    hidden = [0, 2, 5]
    instances = tuple(
        make_instance(n + 1, mask, mask & ~filled(IMAGE_HW, (0, 0, 64, hidden[n])))
        for n, mask in enumerate(masks)
    )
    image = AmodalImage(1, Path(), IMAGE_HW, instances, "drawn")
    rows = {1: [_detection((20, 0, 30, 10), 0.9), _detection((40, 0, 50, 10), 0.8)]}

    def ar(bucket):
        return _scores([image], rows, bucket=bucket, buckets=BUCKETS["aisformer"])["ar"]

    assert ar(0) == pytest.approx(2 / 3)  # all
    assert ar(1) == pytest.approx(1)  # <= .85: shares .8 and .5
    assert ar(2) == pytest.approx(1)  # <= .75: share .5
    assert ar(3) == pytest.approx(1)  # <= .60: share .5


def test_image_weights_equal_repeating_the_images():
    images, detections = random_set(3, num_images=4)
    matches, _ = match_images(images, detections, MatchSettings())
    ids = [image.image_id for image in images]
    weighted = MatchTable(matches, ids).scores(np.array([2.0, 0.0, 1.0, 1.0]))

    copies, copied = [], {}
    for number, index in enumerate([0, 0, 2, 3]):
        source = images[index]
        copies.append(AmodalImage(number, Path(), IMAGE_HW, source.instances, "copy"))
        copied[number] = [
            Detection(number, d.category_id, d.score, d.box_xyxy, d.mask_rle)
            for d in detections[source.image_id]
        ]
    repeated = _scores(copies, copied)
    # Ties between copies are ordered differently, hence not to the last digit.
    assert weighted["ar"] == pytest.approx(repeated["ar"])
    assert weighted["ap"] == pytest.approx(repeated["ap"], abs=0.02)


def test_precision_curve_agrees_with_ap():
    images, detections = random_set(11)
    matches, _ = match_images(images, detections, MatchSettings())
    table = MatchTable(matches, [image.image_id for image in images])

    curve = table.precision_curve(0.5)
    assert len(curve) == len(RECALLS)
    assert curve.mean() == pytest.approx(table.scores()["ap50"])
    assert (np.diff(curve) <= 1e-12).all()


def test_each_truth_knows_what_found_it():
    image = _image((0, 0, 10, 10), (20, 20, 30, 30))
    rows = {1: [_detection((40, 0, 50, 10), 0.9), _detection((0, 0, 10, 8), 0.6)]}

    _, truths = match_images([image], rows, MatchSettings())

    assert [(t.annotation_id, t.detection) for t in truths] == [(1, 1), (2, -1)]
    assert truths[0].iou == pytest.approx(0.8)
    assert truths[0].score == pytest.approx(0.6)
    assert truths[1].iou == 0
