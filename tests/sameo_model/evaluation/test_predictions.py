import json

import numpy as np
import pytest

from sameo_model.evaluation.predictions import (
    Clock,
    PredictionStore,
    fingerprint_run,
    predict_images,
)
from sameo_model.evaluation.torch_predictor import wrap_model
from sameo_model.modeling import build_sameo
from sameo_model.runtime import load_predictor
from tests.bundles import make_tiny_bundle
from tests.sameo_model.evaluation.scenes import make_image


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load_predictor(make_tiny_bundle(tmp_path_factory.mktemp("b")), "onnxruntime", threads=1)


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setattr("sameo_model.evaluation.predictions.SHARD_IMAGES", 2)
    return [make_image(tmp_path, number, [], (64, 64)) for number in range(1, 6)]


def _boxes(images):
    boxes = {image.image_id: np.array([[8, 8, 40, 40]], np.float32) for image in images}
    boxes[3] = np.zeros((0, 4), np.float32)
    return boxes


def _answers(rows):
    return [
        [(item.amodal.box_xyxy, item.visible.box_xyxy, item.predicted_iou) for item in objects]
        for _, objects in rows
    ]


def test_images_come_in_order_with_one_answer_per_box(predictor, images):
    rows = list(predict_images(predictor, images, _boxes(images)))

    assert [image.image_id for image, _ in rows] == [1, 2, 3, 4, 5]
    assert [len(objects) for _, objects in rows] == [1, 1, 0, 1, 1]
    assert rows[0][1][0].amodal.box_xyxy == (8, 8, 40, 40)


def test_a_run_that_was_cut_off_goes_on_from_its_shards(predictor, images, tmp_path):
    boxes = _boxes(images)
    whole = _answers(predict_images(predictor, images, boxes))
    store = PredictionStore(tmp_path / "kept", "run")
    cut_off = predict_images(predictor, images, boxes, store=store)
    for _ in range(3):
        next(cut_off)
    cut_off.close()

    clock = Clock()
    store = PredictionStore(tmp_path / "kept", "run")
    again = _answers(predict_images(predictor, images, boxes, store=store, clock=clock))

    # The first shard, of two images, was complete; the other three are predicted anew.
    assert clock.num_predicted == 3
    assert again == whole


def test_a_complete_run_needs_no_model(predictor, images, tmp_path):
    store = PredictionStore(tmp_path / "kept", "run")
    whole = _answers(predict_images(predictor, images, _boxes(images), store=store))
    for image in images:
        image.path.unlink()

    clock = Clock()
    again = predict_images(None, images, _boxes(images), store=store, clock=clock)
    assert _answers(again) == whole
    assert clock.num_predicted == 0


def test_shards_of_another_run_are_refused(images, tmp_path):
    PredictionStore(tmp_path / "kept", fingerprint_run("one", images, _boxes(images)))

    with pytest.raises(ValueError, match="holds predictions of another model"):
        PredictionStore(tmp_path / "kept", fingerprint_run("two", images, _boxes(images)))
    moved = {**_boxes(images), 1: np.array([[9, 8, 40, 40]], np.float32)}
    with pytest.raises(ValueError, match="holds predictions of another model"):
        PredictionStore(tmp_path / "kept", fingerprint_run("one", images, moved))


def test_shards_are_json_that_names_its_images(predictor, images, tmp_path):
    store = PredictionStore(tmp_path / "kept", "run")
    list(predict_images(predictor, images, _boxes(images), store=store))

    shard = json.loads((tmp_path / "kept" / "shard_00001.json").read_text())
    assert [entry["image_id"] for entry in shard["images"]] == [3, 4]


def test_a_batch_of_images_answers_as_single_images_do(images):
    model = wrap_model(build_sameo("sameo_lite", image_size=64))
    single = list(predict_images(model, images, _boxes(images)))
    batched = list(predict_images(model, images, _boxes(images), batch_size=2))

    for (_, one), (_, other) in zip(single, batched, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.predicted_iou == pytest.approx(b.predicted_iou, abs=1e-5)
            # Random weights put many logits near 0, where rounding decides.
            full_a, full_b = a.amodal.to_image((64, 64)), b.amodal.to_image((64, 64))
            assert (full_a != full_b).mean() < 0.01
