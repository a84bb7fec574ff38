import numpy as np
import pytest

from sameo_model.data.rle import encode_mask
from sameo_model.evaluation.detections import Detection
from sameo_model.evaluation.report.gallery import GAP, Case, choose_cases, draw_case, figure
from sameo_model.evaluation.row_scores import RowScores
from tests.sameo_model.evaluation.scenes import filled, make_image, make_instance

HW = (64, 80)


def _scene(folder, ious, occluded=True):
    """One image for each IoU, with one object and a detection that is said to have that IoU."""
    images, scores, detections = [], RowScores(), {}
    for number, iou in enumerate(ious, start=1):
        whole = filled(HW, (10, 10, 50, 50))
        visible = whole & filled(HW, (0, 0, 80, 30)) if occluded else whole
        images.append(make_image(folder, number, [make_instance(number, whole, visible)], HW))
        box = (10, 10, 50, 40)
        mask = encode_mask(filled(HW, box))
        detections[number] = [Detection(number, 1, 0.5, box, mask)]
        scores.nearest[number, number] = (iou, 0) if iou else (0.0, -1)
    return images, scores, detections


def test_the_worst_median_and_best_objects_are_chosen_once_each(tmp_path):
    ious = [n / 20 for n in range(20)]
    cases = choose_cases(*_scene(tmp_path, ious[::-1]))

    # 20 objects of IoU 0 to 0.95: the lowest four, the middle four (8 to 11), the highest four.
    assert [case.iou for case in cases["worst"]] == ious[:4]
    assert [case.iou for case in cases["median"]] == ious[8:12]
    assert [case.iou for case in cases["best"]] == ious[:15:-1]
    assert cases["worst"][0].detection is None


@pytest.mark.parametrize(("num", "sizes"), [(0, (0, 0, 0)), (1, (1, 0, 0)), (3, (1, 1, 1))])
def test_few_objects_are_not_shown_twice(tmp_path, num, sizes):
    cases = choose_cases(*_scene(tmp_path, [0.5] * num))

    assert tuple(len(group) for group in cases.values()) == sizes
    shown = [case.instance.annotation_id for group in cases.values() for case in group]
    assert len(set(shown)) == len(shown)


def test_occluded_objects_come_before_whole_ones_where_there_are_enough(tmp_path):
    occluded = _scene(tmp_path, [0.5] * 12)
    whole = _scene(tmp_path, [0.1] * 30, occluded=False)
    images, scores, detections = whole
    images = [*occluded[0], *images[12:]]
    scores.nearest |= occluded[1].nearest

    cases = choose_cases(images, scores, detections)
    assert {case.iou for group in cases.values() for case in group} == {0.5}


def test_a_case_shows_the_photograph_and_marks_truth_and_prediction(tmp_path):
    (case,) = choose_cases(*_scene(tmp_path, [0.75]))["worst"]
    drawn = draw_case(case)
    width = (drawn.shape[1] - 2 * GAP) // 3
    panels = [drawn[:, n * (width + GAP) : n * (width + GAP) + width] for n in range(3)]

    assert np.unique(panels[0]).tolist() == [128]
    painted = [(panel != panels[0]).any(axis=2) for panel in panels[1:]]
    # The prediction is three quarters of the truth's height, and ends above it.
    rows = [np.flatnonzero(mask.any(axis=1)) for mask in painted]
    assert rows[0][-1] > rows[1][-1] + 10
    assert abs(rows[0][0] - rows[1][0]) <= 2


def test_an_object_that_nothing_touches_is_shown_without_prediction(tmp_path):
    (case,) = choose_cases(*_scene(tmp_path, [0.0]))["worst"]
    drawn = draw_case(case)

    assert np.unique(drawn[:, -40:]).tolist() == [128]
    assert "no detection" in figure(case)


def test_a_mask_without_pixels_is_drawn_as_nothing_in_a_window_away_from_the_corner(tmp_path):
    whole = filled(HW, (20, 20, 50, 50))
    image = make_image(tmp_path, 1, [make_instance(1, whole, whole)], HW)
    mask, nothing = encode_mask(whole), encode_mask(filled(HW))
    found = Detection(1, 1, 0.5, (20, 20, 50, 50), mask, nothing)

    drawn = draw_case(Case(image, image.instances[0], found, 1.0))
    assert (drawn[:, -40:] != 128).any()
