from dataclasses import replace

import numpy as np
import pytest

from sameo_model.data.rle import encode_mask
from sameo_model.evaluation import row_scores
from sameo_model.evaluation.buckets import BUCKETS
from sameo_model.evaluation.detection_results import METRICS, calibration, summarise_rows
from sameo_model.evaluation.detections import Detection
from sameo_model.evaluation.matching import MatchSettings
from sameo_model.evaluation.result_files import read_matches, write_matches
from sameo_model.evaluation.row_scores import score_rows
from sameo_model.evaluation.rows import SAMEO, SAMEO_PLAIN, Row
from tests.sameo_model.evaluation.random_sets import random_set
from tests.sameo_model.evaluation.scenes import filled, two_squares


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


def test_objects_are_grouped_by_occlusion_and_missed_ones_count_zero(tmp_path):
    image = two_squares(tmp_path)
    # The small whole square is found with IoU 240/256; nothing lies near the half hidden one.
    box = (44, 44, 60, 59)
    found = Detection(7, 1, 0.9, box, encode_mask(filled((64, 64), box)))
    rows = [Row(SAMEO, {7: [found]}, False)]
    result = summarise_rows([image], _score([image], rows), SAMEO, BUCKETS["none"], replicates=0)

    bins = result["rows"][0]["iou_by_occlusion"]
    assert [entry["num"] for entry in bins] == [1, 0, 0, 1, 0]
    assert (bins[0]["recall50"], bins[0]["mean_iou"]) == (1, pytest.approx(240 / 256))
    assert (bins[3]["recall50"], bins[3]["mean_iou"]) == (0, 0)
    assert bins[1]["mean_iou"] is None


def test_uoais_measures_leave_out_low_scores_of_the_front_end(tmp_path):
    image = two_squares(tmp_path)
    boxes = [(8, 8, 40, 40), (44, 44, 60, 60), (0, 50, 8, 60)]
    # The stray's own score is low; that of the refined row is not what counts.
    plain = [
        Detection(7, 1, score, box, encode_mask(filled((64, 64), box)))
        for box, score in zip(boxes, (0.9, 0.8, 0.2), strict=True)
    ]
    refined = [replace(item, score=0.5) for item in plain]
    rows = [Row(SAMEO_PLAIN, {7: plain}, False), Row(SAMEO, {7: refined}, False)]

    for scores in _score([image], rows).values():
        assert scores.uoais[0]["amodal"].overlap_precision == pytest.approx(1)
        assert set(scores.uoais[0]) == {"amodal"}
