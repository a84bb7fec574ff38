import numpy as np
import pytest

from sameo_model.evaluation import row_scores
from sameo_model.evaluation.buckets import BUCKETS
from sameo_model.evaluation.detection_files import read_matches, write_matches
from sameo_model.evaluation.detection_results import METRICS, calibration, summarise_rows
from sameo_model.evaluation.matching import MatchSettings
from sameo_model.evaluation.row_scores import score_rows
from sameo_model.evaluation.rows import SAMEO, SAMEO_PLAIN, Row
from tests.sameo_model.evaluation.random_sets import random_set


def _rows(num_images=40):
    images, detections = random_set(5, num_images=num_images)
    return images, [Row(SAMEO_PLAIN, detections, False), Row(SAMEO, detections, False)]


def _score(images, rows, **more):
    return score_rows(images, rows, MatchSettings(), uoais_from_score=0.3, **more)


def test_several_processes_find_what_one_finds(monkeypatch):
    images, rows = _rows()
    alone = _score(images, rows)
    monkeypatch.setattr(row_scores, "MIN_PARALLEL_IMAGES", 1)
    together = _score(images, rows, workers=2)

    for name in alone:
        assert together[name].truths == alone[name].truths
        assert together[name].nearest == alone[name].nearest
        assert together[name].uoais == alone[name].uoais
        assert len(together[name].matches) == len(alone[name].matches)


def test_rows_with_the_same_masks_have_the_same_mask_scores():
    images, rows = _rows()
    scores = _score(images, rows)

    assert scores[SAMEO].uoais == scores[SAMEO_PLAIN].uoais
    assert len(scores[SAMEO].nearest) == len(scores[SAMEO].truths)


def test_averages_have_intervals_around_them_and_differences_of_nothing_are_zero():
    images, rows = _rows()
    result = summarise_rows(images, _score(images, rows), SAMEO, BUCKETS["none"], replicates=100)

    for row in result["rows"]:
        for metric in METRICS:
            low, high = row["ci"][metric]
            assert low < high
            assert low - 0.05 <= row[metric] <= high + 0.05
    (entry,) = result["differences"]
    assert (entry["row"], entry["against"]) == (SAMEO, SAMEO_PLAIN)
    assert entry["ap"]["difference"] == 0
    assert entry["ap"]["p_value"] == 1


def test_matches_survive_their_file(tmp_path):
    images, rows = _rows(6)
    matches = _score(images, rows)[SAMEO].matches
    write_matches(tmp_path / "m.npz", matches)
    again = read_matches(tmp_path / "m.npz")

    assert len(again) == len(matches)
    for one, other in zip(matches, again, strict=True):
        assert (one.image_id, one.category_id, one.num_truths) == (
            other.image_id,
            other.category_id,
            other.num_truths,
        )
        for name in ("scores", "matched", "ignored"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_damaged_matches_are_refused(tmp_path):
    path = tmp_path / "m.npz"
    path.write_bytes(b"PK\x03\x04 not a zip")

    with pytest.raises(ValueError, match="must be a whole file of matches"):
        read_matches(path)


def test_calibration_groups_detections_by_predicted_iou():
    result = calibration([0.05, 0.95, 0.91, 1.0], np.array([0.2, 0.9, 0.7, 0.8]))

    first, last = result["bins"][0], result["bins"][9]
    assert (first["num"], first["predicted"], first["true"]) == (1, 0.05, 0.2)
    assert last["num"] == 3
    assert last["predicted"] == pytest.approx(0.9533, abs=1e-4)
    assert last["true"] == pytest.approx(0.8)
    # |0.05 - 0.2| + |0.95 - 0.9| + |0.91 - 0.7| + |1 - 0.8| = 0.61, over four.
    assert result["mean_absolute_error"] == pytest.approx(0.61 / 4)
    # Ranks 1, 3, 2, 4 against 1, 4, 2, 3: 1 - 6 * (1 + 1) / (4 * 15).
    assert result["iou_spearman"] == pytest.approx(0.8)
    assert calibration([], np.zeros(0))["iou_spearman"] is None
