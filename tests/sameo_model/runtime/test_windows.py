"""The predictor on windows: a tiny model draws the box itself, its visible mask the upper half."""

import numpy as np
import pytest

from sameo_model.runtime import load_predictor
from sameo_model.runtime.bundle import load_bundle
from tests.bundles import make_tiny_bundle, make_tiny_window_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_window_bundle(tmp_path_factory.mktemp("windows"))


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def predictor(folder, request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    with load_predictor(folder, request.param, precision="f32") as loaded:
        yield loaded


def make_image(height=120, width=200):
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :, 0] = 255
    return image


BOXES = [[20, 10, 60, 50], [100, 40, 180, 110], [0, 0, 200, 120], [150, 100, 160, 104]]


def test_masks_lie_where_the_boxes_are(predictor):
    prediction = predictor.decode(predictor.encode(make_image()), BOXES)
    for box, amodal, visible in zip(
        BOXES, prediction.amodal_masks, prediction.visible_masks, strict=True
    ):
        # The window of 2 x the box's longer side has 64 model pixels; logits cover 4 of these.
        logit_px = 2 * max(box[2] - box[0], box[3] - box[1]) / 16
        np.testing.assert_allclose(amodal.box_xyxy, box, atol=logit_px / 2 + 1)
        middle = (box[1] + box[3]) / 2
        np.testing.assert_allclose(visible.box_xyxy[3], middle, atol=logit_px / 2 + 1)


def test_each_box_sees_its_own_window(predictor):
    # Windows in the black half, in the red half, and over both.
    boxes = [[20, 40, 40, 60], [140, 40, 160, 60], [80, 40, 120, 80]]
    prediction = predictor.decode(predictor.encode(make_image()), boxes)
    np.testing.assert_allclose(prediction.predicted_iou, [0, 1, 0.5], atol=0.02)


def test_many_boxes_are_run_in_chunks_and_equal_each_alone(predictor):
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 100, (300, 2))
    boxes = np.hstack((corners, corners + generator.uniform(1, 90, (300, 2))))
    embedding = predictor.encode(make_image())
    together = predictor.decode(embedding, boxes)
    assert len(together) == 300
    for row in (0, 15, 16, 299):
        alone = predictor.decode(embedding, boxes[row : row + 1])
        assert alone.amodal_masks[0].box_xyxy == together.amodal_masks[row].box_xyxy
        np.testing.assert_array_equal(alone.amodal_masks[0].mask, together.amodal_masks[row].mask)


def test_boxes_that_cannot_be_used_keep_their_rows(predictor):
    boxes = [[np.nan, 0, 5, 5], [20, 10, 60, 50], [9, 9, 5, 5], [500, 0, 600, 50], [3, 3, 3, 9]]
    prediction = predictor.decode(predictor.encode(make_image()), boxes)
    assert [mask.area > 0 for mask in prediction.amodal_masks] == [False, True] + [False] * 3
    assert len(predictor.decode(predictor.encode(make_image()), [])) == 0


@pytest.mark.parametrize(
    ("image_hw", "boxes"),
    [
        ((1, 1), [[0, 0, 1, 1]]),
        (
            (600, 800),
            [[-50, -50, 900, 700], [0, 0, 3, 3], [797, 597, 800, 600], [400, 300, 401, 301]],
        ),
    ],
    ids=["one_pixel", "corners"],
)
def test_boxes_at_corners_and_larger_than_the_image_stay_inside_it(predictor, image_hw, boxes):
    prediction = predictor.decode(predictor.encode(make_image(*image_hw)), boxes)
    for mask in prediction.amodal_masks:
        x1, y1, x2, y2 = mask.box_xyxy
        assert 0 <= x1 < x2 <= image_hw[1]
        assert 0 <= y1 < y2 <= image_hw[0]


def test_images_that_are_read_only_or_not_contiguous_give_the_same_masks(predictor):
    image = make_image()
    image.flags.writeable = False
    mirrored = np.ascontiguousarray(image[:, ::-1])[:, ::-1]
    first = predictor.decode(predictor.encode(image), BOXES)
    second = predictor.decode(predictor.encode(mirrored), BOXES)
    np.testing.assert_array_equal(first.predicted_iou, second.predicted_iou)
    with pytest.raises(ValueError, match="image_rgb must be a uint8 array"):
        predictor.encode(image.astype(np.float32))


def test_without_visible_masks_there_is_no_occlusion_ratio(predictor):
    prediction = predictor.decode(predictor.encode(make_image()), BOXES, visible=False)
    assert prediction.visible_masks is None
    assert np.isnan(prediction.occlusion_ratio).all()


def test_encode_keeps_the_image_alone(predictor):
    image = make_image()
    assert not predictor.encodes_image
    assert predictor.encode(image).handle is image


def test_a_model_for_whole_images_can_be_run_on_windows(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    folder = make_tiny_bundle(tmp_path / "tiny")
    image, box = make_image(1200, 2000), [[100, 100, 140, 132]]
    found = {}
    for framing in ("image", "window"):
        with load_predictor(folder, "onnxruntime", framing=framing) as predictor:
            assert predictor.encodes_image == (framing == "image")
            found[framing] = predictor.decode(predictor.encode(image), box)
    # Of the whole image a logit covers 125 pixels, of the window 5.
    errors = {
        framing: np.abs(np.subtract(prediction.amodal_masks[0].box_xyxy, box[0])).max()
        for framing, prediction in found.items()
    }
    assert errors["window"] <= 4 < errors["image"]
    assert found["window"].visible_masks[0].area > 0


def test_a_model_for_windows_can_be_shown_the_whole_image(folder):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    with load_predictor(folder, "onnxruntime", framing="image") as predictor:
        prediction = predictor.decode(predictor.encode(make_image()), [[0, 0, 100, 120]] * 3)
    # Half of the whole image is red.
    np.testing.assert_allclose(prediction.predicted_iou, 0.5, atol=0.02)
    np.testing.assert_allclose(prediction.amodal_masks[0].box_xyxy, [0, 0, 100, 120], atol=8)


def test_an_unknown_framing_is_one_sentence(folder, tmp_path):
    with pytest.raises(ValueError, match="framing kind must be 'image' or 'window', got 'circle'"):
        load_predictor(folder, "onnxruntime", framing="circle")
    copy = make_tiny_window_bundle(tmp_path / "copy")
    text = (copy / "model.json").read_text().replace('"window"', '"spiral"')
    (copy / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model.json breaks its format: framing kind must be"):
        load_bundle(copy)


def test_a_bundle_from_before_there_were_windows_has_image_framing(tmp_path):
    folder = make_tiny_bundle(tmp_path / "old")
    import json

    info = json.loads((folder / "model.json").read_text())
    del info["framing"]
    (folder / "model.json").write_text(json.dumps(info))
    assert not load_bundle(folder).framing.is_window
