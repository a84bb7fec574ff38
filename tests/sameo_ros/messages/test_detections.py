import math
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_model.runtime import MaskCrop, Prediction
from sameo_model.runtime.box_source import BoxPrompt
from sameo_ros.core.answer import Answer
from sameo_ros.messages.detections import (
    detections_to_boxes,
    fill_detections,
    points_to_clicks,
)
from sameo_ros.messages.masks import crop_to_mask, fill_mask_array
from tests.sameo_ros.stand_ins import (
    DETECTION_TYPES,
    MASK_TYPES,
    box_detection,
    detection,
    detections,
    header,
    hypothesis,
)

NAN = float("nan")


def test_centre_and_size_become_corners():
    boxes = detections_to_boxes(detections(detection((50, 40), (20, 10))))
    assert boxes.boxes_xyxy.dtype == np.float32
    np.testing.assert_array_equal(boxes.boxes_xyxy, [[40, 35, 60, 45]])


def test_no_detections_give_no_boxes():
    boxes = detections_to_boxes(detections())
    assert boxes.boxes_xyxy.shape == (0, 4)
    assert len(boxes) == 0


@pytest.mark.parametrize(
    ("theta", "half_w", "half_h"),
    [
        (math.pi / 2, 5, 10),  # a quarter turn swaps width and height
        (math.pi, 10, 5),
        # 45 degrees: both halves are (10 + 5) / sqrt(2)
        (math.pi / 4, 15 / math.sqrt(2), 15 / math.sqrt(2)),
        (-math.pi / 4, 15 / math.sqrt(2), 15 / math.sqrt(2)),
    ],
)
def test_a_rotated_box_becomes_its_hull(theta, half_w, half_h):
    boxes = detections_to_boxes(detections(detection((100, 200), (20, 10), theta)))
    expected = [[100 - half_w, 200 - half_h, 100 + half_w, 200 + half_h]]
    np.testing.assert_allclose(boxes.boxes_xyxy, expected, rtol=1e-5)


@pytest.mark.parametrize("theta", [NAN, math.inf])
def test_an_angle_that_is_no_number_makes_a_box_that_is_none(theta):
    boxes = detections_to_boxes(detections(detection((10, 10), (4, 4), theta)))
    assert np.isnan(boxes.boxes_xyxy[0, 0])


@pytest.mark.parametrize("size_wh", [(-20, 10), (20, -10), (0, 10), (-20, -10)])
def test_turning_does_not_hide_a_wrong_size(size_wh):
    message = detections(detection((100, 100), size_wh, theta=0.5))
    x1, y1, x2, y2 = detections_to_boxes(message).boxes_xyxy[0]
    assert x2 <= x1 or y2 <= y1


def test_a_box_beyond_float32_becomes_infinite_without_a_warning():
    boxes = detections_to_boxes(detections(detection((1e300, 0), (1, 1))))
    assert np.isinf(boxes.boxes_xyxy[0, 0])


@pytest.mark.parametrize(
    ("results", "class_id", "score"),
    [
        ([], "", 1.0),
        ([("mug", 0.25), ("bowl", 0.75)], "bowl", 0.75),
        ([("mug", NAN), ("bowl", 0.25)], "bowl", 0.25),
        ([("mug", NAN)], "mug", 0.0),
        ([("mug", 1.0005)], "mug", 1.0),
        ([("mug", 75.0), ("bowl", 25.0)], "mug", 0.75),
    ],
)
def test_the_best_hypothesis_gives_class_and_score_in_range(results, class_id, score):
    found = [hypothesis(*result) for result in results]
    boxes = detections_to_boxes(detections(detection(results=found)))
    assert boxes.class_ids == [class_id]
    assert boxes.scores.tolist() == [score]


def test_percentages_become_fractions_and_are_said():
    rows = [[("mug", 87.5)], [("mug", 0.5)], [], [("mug", 12.5)]]
    message = detections(*(detection(results=[hypothesis(*one) for one in row]) for row in rows))
    boxes = detections_to_boxes(message)
    # The detection without a hypothesis keeps its 1.
    assert boxes.scores.tolist() == [0.875, np.float32(0.005), 1.0, 0.125]
    assert boxes.has_percent


@pytest.mark.parametrize("score", [-2.0, 255.0, math.inf])
def test_scores_of_no_known_scale_are_unknown(score):
    message = detections(detection(results=[hypothesis("mug", score)]), detection())
    boxes = detections_to_boxes(message)
    assert np.isnan(boxes.scores).tolist() == [True, False]
    assert not boxes.has_percent


def test_replayed_boxes_come_back_as_they_were():
    prompts = [BoxPrompt((1.5, 2, 30, 40), "mug", 0.5), BoxPrompt((0, 0, 5, 5))]
    message = detections()
    fill_detections(message, DETECTION_TYPES, prompts, "photo", header(2.0))
    boxes = detections_to_boxes(message)
    np.testing.assert_array_equal(boxes.boxes_xyxy, [[1.5, 2, 30, 40], [0, 0, 5, 5]])
    assert boxes.class_ids == ["mug", ""]
    assert boxes.scores.tolist() == [0.5, 1.0]
    assert boxes.detection_ids == ["photo#0", "photo#1"]
    assert message.header.stamp.sec == 2


def fill(answer, used):
    message = SimpleNamespace()
    fill_mask_array(message, MASK_TYPES, answer, used)
    return message


def test_masks_say_which_detection_they_answer():
    message = detections(
        box_detection(0, 0, 0, 0),
        box_detection(0, 0, 9, 9, results=[hypothesis("mug", 0.5)], detection_id="track 7"),
    )
    amodal = MaskCrop(3, 4, np.array([[True, True], [False, True]]))
    visible = MaskCrop(3, 4, np.array([[True, True]]))
    prediction = Prediction([amodal], [visible], np.float32([0.75]), np.float32([1 / 3]))
    used = header(5.0)
    filled = fill(Answer((20, 30), detections_to_boxes(message), [1], prediction, [[4]]), used)
    assert filled.header is used
    assert (filled.image_height, filled.image_width) == (20, 30)
    (mask,) = filled.masks
    assert (mask.detection_index, mask.detection_id, mask.class_id) == (1, "track 7", "mug")
    assert mask.score == 0.375  # 0.5 * 0.75, equation 6
    assert mask.occlusion_ratio == pytest.approx(1 / 3)
    assert mask.occluded_by == [4]
    assert (mask.amodal.x, mask.amodal.y) == (3, 4)
    assert (mask.amodal.image.width, mask.amodal.image.height) == (2, 2)
    assert mask.amodal.image.encoding == "mono8"
    assert mask.amodal.image.data.tolist() == [255, 255, 0, 255]
    assert mask.visible.image.data.tolist() == [255, 255]


def test_unknown_visible_masks_are_empty_and_have_no_ratio():
    prediction = Prediction(
        [MaskCrop(0, 0, np.ones((1, 1), bool))], None, np.float32([1]), np.float32([NAN])
    )
    boxes = detections_to_boxes(detections(box_detection(0, 0, 1, 1)))
    (mask,) = fill(Answer((5, 5), boxes, [0], prediction, [[]]), header()).masks
    assert (mask.visible.image.width, mask.visible.image.height) == (0, 0)
    assert math.isnan(mask.occlusion_ratio)


def test_a_mask_message_reads_back_as_the_same_crop():
    mask = np.array([[True, False, True], [False, True, True]])
    prediction = Prediction([MaskCrop(7, 2, mask)], None, np.float32([1]), np.float32([NAN]))
    boxes = detections_to_boxes(detections(box_detection(0, 0, 1, 1)))
    (message,) = fill(Answer((9, 12), boxes, [0], prediction, [[]]), header()).masks
    crop = crop_to_mask(message.amodal)
    assert (crop.x, crop.y) == (7, 2)
    np.testing.assert_array_equal(crop.mask, mask)
    empty = crop_to_mask(message.visible)
    assert empty.mask.shape == (0, 0)


def point(x, y):
    return SimpleNamespace(x=x, y=y)


def test_points_of_a_call_go_to_their_boxes():
    clicks = points_to_clicks([point(3, 4), point(9, 9), point(5, 6)], [2, 0, 2], 3)
    assert clicks.points_xy[2, :2].tolist() == [[3, 4], [5, 6]]
    assert clicks.points_xy[0, 0].tolist() == [9, 9]
    assert (clicks.labels == 1).sum(axis=1).tolist() == [1, 0, 2]
    assert points_to_clicks([], [], 3) is None


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([0], "must name the box of each of the 5 points, got 1"),
        ([0, 1, 2, 1, 0], "point_boxes must be below 2, the number of boxes; got 2"),
        ([1] * 5, "a box may have at most 4 points, but box 1 has more"),
    ],
)
def test_points_that_fit_no_box_are_refused(boxes, message):
    with pytest.raises(ValueError, match=message):
        points_to_clicks([point(1, 1)] * 5, boxes, 2)
