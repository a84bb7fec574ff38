import pytest

from sameo_model.evaluation.uoais import ObjectMasks, average, score_image
from sameo_model.runtime.types import MaskCrop
from tests.sameo_model.evaluation.scenes import filled

HW = (480, 640)


def _masks(amodal, visible=None):
    crop = MaskCrop.from_mask(filled(HW, amodal))
    return ObjectMasks(crop, MaskCrop.from_mask(filled(HW, visible or amodal)))


def test_perfect_objects_score_one_in_every_region():
    objects = [_masks((10, 10, 50, 50), (10, 10, 50, 30)), _masks((100, 100, 140, 140))]

    scores = score_image(objects, objects[::-1], HW)

    assert set(scores) == {"amodal", "visible", "hidden"}
    for region in scores.values():
        assert all(getattr(region, name) == pytest.approx(1) for name in region.__slots__)


def test_overlap_counts_pixels_of_all_objects_together():
    # Truth: 40x40 = 1600 and 20x20 = 400 pixels. Predicted: the upper half of the first (800),
    # and a 10x10 stray. Shared 800: precision 800/900, recall 800/2000.
    truth = [_masks((10, 10, 50, 50)), _masks((100, 100, 120, 120))]
    predicted = [_masks((10, 10, 50, 30)), _masks((300, 300, 310, 310))]

    amodal = score_image(predicted, truth, HW)["amodal"]

    assert amodal.overlap_precision == pytest.approx(800 / 900)
    assert amodal.overlap_recall == pytest.approx(800 / 2000)
    # Harmonic mean of 8/9 and 2/5: 2 * (16/45) / (58/45) = 32/58.
    assert amodal.overlap_f == pytest.approx(32 / 58)
    # The pair's F is 2 * 800 / 2400 = 0.67, below 0.75.
    assert amodal.good_share == 0


def test_boundaries_of_objects_that_nothing_matches_count_as_missed():
    truth = [_masks((10, 10, 50, 50)), _masks((100, 100, 140, 140))]
    predicted = truth[:1]

    amodal = score_image(predicted, truth, HW)["amodal"]

    assert amodal.boundary_precision == pytest.approx(1)
    assert amodal.boundary_recall == pytest.approx(0.5)
    assert amodal.good_share == pytest.approx(0.5)


def test_hidden_parts_are_matched_by_themselves():
    # Hidden: rows 30 to 50 of the first object. Predicted hidden: rows 40 to 50, half of it.
    truth = [_masks((10, 10, 50, 50), (10, 10, 50, 30))]
    predicted = [_masks((10, 10, 50, 50), (10, 10, 50, 40))]

    hidden = score_image(predicted, truth, HW)["hidden"]

    assert hidden.overlap_precision == pytest.approx(1)
    assert hidden.overlap_recall == pytest.approx(0.5)


def test_nothing_hidden_on_either_side_is_not_scored():
    objects = [_masks((10, 10, 50, 50))]

    assert set(score_image(objects, objects, HW)) == {"amodal", "visible"}


def test_unknown_visible_masks_leave_the_amodal_scores():
    truth = [_masks((10, 10, 50, 50))]
    predicted = [ObjectMasks(truth[0].amodal, None)]

    assert set(score_image(predicted, truth, HW)) == {"amodal"}


@pytest.mark.parametrize(
    ("num_predicted", "num_true", "precision", "recall"), [(0, 1, 1, 0), (1, 0, 0, 1)]
)
def test_one_side_empty(num_predicted, num_true, precision, recall):
    thing = [_masks((10, 10, 50, 50))]
    amodal = score_image(thing * num_predicted, thing * num_true, HW)["amodal"]

    assert (amodal.overlap_precision, amodal.overlap_recall) == (precision, recall)
    assert amodal.overlap_f == 0


def test_each_image_counts_once():
    good = [_masks((10, 10, 50, 50))]
    many = [_masks((100 * n, 100, 100 * n + 50, 150)) for n in range(5)]
    images = [score_image(good, good, HW), score_image([], many, HW)]

    # Recall 1 in the first image and 0 in the second, whatever their numbers of objects.
    assert average(images)["amodal"]["overlap_recall"] == pytest.approx(0.5)
    assert "hidden" not in average(images)
