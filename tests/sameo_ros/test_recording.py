import json
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_model.runtime import MaskCrop, Prediction
from sameo_model.runtime.masks import rle_to_mask
from sameo_ros.core.answer import Answer
from sameo_ros.messages.detections import detections_to_boxes
from sameo_ros.messages.masks import fill_mask_array
from sameo_ros.recording import draw_panels, format_table, masks_to_json
from tests.sameo_ros.stand_ins import MASK_TYPES, box_detection, detections, header, hypothesis

IMAGE_HW = 240, 360
AMODAL = MaskCrop(60, 30, np.ones((120, 180), bool))
VISIBLE = MaskCrop(60, 30, np.ones((120, 90), bool))
BOXES = detections(
    box_detection(300, 30, 240, 150),  # inverted: it has no mask
    box_detection(60, 30, 240, 150, results=[hypothesis("mug", 0.5)], detection_id="photo#1"),
)


def answer_message(ratio=0.5):
    prediction = Prediction([AMODAL], [VISIBLE], np.float32([0.75]), np.float32([ratio]))
    message = SimpleNamespace(model="tiny")
    answer = Answer(IMAGE_HW, detections_to_boxes(BOXES), [1], prediction, [[0]])
    fill_mask_array(message, MASK_TYPES, answer, header(2.5, "optical"))
    return message


def test_the_json_holds_every_field_and_masks_as_rle():
    record = json.loads(json.dumps(masks_to_json(answer_message(), "photo", 12.34)))
    assert record["image"] == "photo"
    assert record["latency_ms"] == 12.3
    assert record["header"]["stamp"] == {"sec": 2, "nanosec": 500_000_000}
    assert record["header"]["frame_id"] == "optical"
    assert (record["image_height"], record["image_width"], record["model"]) == (240, 360, "tiny")
    (mask,) = record["masks"]
    assert mask["detection_index"] == 1
    assert mask["class_id"] == "mug"
    assert mask["score"] == 0.375
    assert mask["occluded_by"] == [0]
    crop = {key: mask["amodal"][key] for key in ("x", "y", "width", "height")}
    assert crop == {"x": 60, "y": 30, "width": 180, "height": 120}
    for key, expected in (("amodal", AMODAL), ("visible", VISIBLE)):
        np.testing.assert_array_equal(
            rle_to_mask(mask[key]["segmentation"]), expected.to_image(IMAGE_HW)
        )


def test_an_unknown_ratio_becomes_null():
    (mask,) = masks_to_json(answer_message(np.nan), "photo", 0.0)["masks"]
    assert mask["occlusion_ratio"] is None


def test_three_panels_show_image_visible_and_hidden_part():
    image_rgb = np.full((*IMAGE_HW, 3), 128, np.uint8)
    panels = draw_panels(image_rgb, BOXES, answer_message())
    assert panels.shape == (240 + 18, 3 * 360, 3)  # a title strip of 18 pixels
    original, visible, amodal = np.split(panels[18:], 3, axis=1)
    seen, hidden = (slice(80, 140), slice(70, 140)), (slice(80, 140), slice(160, 230))
    assert (original[seen] == 128).all()
    assert (original[hidden] == 128).all()
    assert (visible[seen] != 128).any()
    assert (visible[hidden] == 128).all()
    assert (amodal[hidden] != 128).any()


def test_an_answer_without_masks_still_has_three_panels():
    message = SimpleNamespace(masks=[])
    assert draw_panels(np.zeros((40, 60, 3), np.uint8), detections(), message).shape[1] == 180


@pytest.mark.parametrize(("ratio", "text"), [(0.5, "0.50"), (np.nan, "unknown")])
@pytest.mark.parametrize(
    ("latency_ms", "latency"), [(12.3, ["12", "ms"]), (None, ["unknown"])], ids=["known", "unknown"]
)
def test_the_table_has_a_line_per_object(ratio, text, latency_ms, latency):
    lines = format_table([masks_to_json(answer_message(ratio), "photo", latency_ms)]).splitlines()
    assert lines[0].split("  ")[0] == "object"
    assert lines[2].split() == ["photo#1", "mug", "0.75", text, *latency]
    assert len(lines) == 3
