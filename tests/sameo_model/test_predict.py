import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sameo_model import predict
from tests.bundles import make_tiny_bundle

LIST = [
    {"box": [16, 24, 80, 72], "class": "mug", "score": 0.5},
    {"box": [60, 8, 100, 40], "class": "box"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def image(tmp_path):
    # Grey 51 of 255: the tiny model predicts an IoU of 0.2.
    return write_image(tmp_path / "scene.png")


def write_image(path, image_hw=(96, 128)):
    cv2.imwrite(str(path), np.full((*image_hw, 3), 51, np.uint8))
    return path


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path


def run(model, image, boxes, output, *more):
    arguments = ["--image", image, "--boxes", boxes, "--output", output, "--model", model, *more]
    return predict.main([str(argument) for argument in arguments])


def results_in(output):
    return json.loads((output / "predictions.json").read_text())


def test_one_image_gives_an_overlay_and_coco_results(model, image, tmp_path, capsys):
    output = tmp_path / "deep" / "out"
    assert run(model, image, write_json(tmp_path / "b.json", LIST), output) == 0
    assert sorted(os.listdir(output)) == ["predictions.json", "scene_overlay.png"]
    assert cv2.imread(str(output / "scene_overlay.png")).shape == (96, 128, 3)
    assert "2 masks of 1 images" in capsys.readouterr().out

    first, second = results_in(output)
    assert first["bbox"] == [16, 24, 64, 48]
    # Amodal and visible: the box and its upper half, 64 x 24; up-sampling may round corners.
    amodal = coco_mask.decode(first["segmentation"])
    visible = coco_mask.decode(first["visible_mask"])
    assert amodal.shape == (96, 128)
    assert amodal.sum() == pytest.approx(64 * 48, rel=0.02)
    assert visible.sum() == pytest.approx(64 * 24, rel=0.02)
    assert visible[24:48, 20:76].all()
    assert first["occlusion_ratio"] == pytest.approx(0.5, abs=0.01)
    # The score is the product of the detection's 0.5 and the predicted IoU 0.2.
    assert first["score"] == pytest.approx(0.1, abs=1e-4)
    assert second["score"] == pytest.approx(0.2, abs=1e-4)
    # Classes are numbered in alphabetical order: box, mug.
    assert [result["category_id"] for result in (first, second)] == [2, 1]
    assert first["image_id"] == second["image_id"] == 1


def test_the_overlay_shows_what_was_predicted(model, image, tmp_path):
    run(model, image, "16,24,80,72", tmp_path / "out")
    before = cv2.imread(str(image)).astype(int)
    after = cv2.imread(str(tmp_path / "out" / "scene_overlay.png")).astype(int)
    changed = np.abs(after - before).max(axis=2) > 10
    assert changed[30:40, 30:60].all()
    assert not changed[80:, 90:].any()


def test_no_boxes_give_empty_results(model, image, tmp_path):
    assert run(model, image, "", tmp_path / "out") == 0
    assert results_in(tmp_path / "out") == []


def test_a_model_without_visible_decoder_leaves_visible_masks_out(image, tmp_path):
    model = make_tiny_bundle(tmp_path / "tiny", visible=False)
    assert run(model, image, "16,24,80,72", tmp_path / "out") == 0
    (result,) = results_in(tmp_path / "out")
    assert "visible_mask" not in result
    assert result["occlusion_ratio"] is None


def test_a_folder_is_predicted_with_the_numbers_of_its_coco_file(model, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.png", "b.jpg", "not_annotated.png"):
        write_image(images / name)
    (images / "notes.txt").write_text("no image")
    coco = {
        "images": [{"id": 31, "file_name": "b.jpg"}, {"id": 12, "file_name": "a.png"}],
        "categories": [{"id": 5, "name": "mug"}],
        "annotations": [
            {
                "image_id": image_id,
                "category_id": 5,
                "bbox": [10, 10, 60, 60],
                "visible_bbox": [10, 10, 30, 60],
            }
            for image_id in (12, 31)
        ],
    }
    boxes = write_json(tmp_path / "annotations.json", coco)
    assert run(model, images, boxes, tmp_path / "visible") == 0
    assert sorted(os.listdir(tmp_path / "visible")) == [
        "a_overlay.png",
        "b_overlay.png",
        "predictions.json",
    ]
    results = results_in(tmp_path / "visible")
    assert [(result["image_id"], result["file_name"]) for result in results] == [
        (12, "a.png"),
        (31, "b.jpg"),
    ]
    assert [result["category_id"] for result in results] == [5, 5]
    assert results[0]["bbox"] == [10, 10, 30, 60]
    assert run(model, images, boxes, tmp_path / "amodal", "--prompts", "amodal") == 0
    assert results_in(tmp_path / "amodal")[0]["bbox"] == [10, 10, 60, 60]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_each_backend_can_be_asked_for(backend, model, image, tmp_path):
    assert run(model, image, "16,24,80,72", tmp_path / "out", "--backend", backend) == 0
    assert results_in(tmp_path / "out")[0]["bbox"] == [16, 24, 64, 48]


def fails(capsys, tmp_path, status, message):
    """Whether a run failed with one sentence and left nothing behind."""
    error = capsys.readouterr().err
    assert status == 1
    assert error.startswith("predict: ")
    assert error.count("\n") == 1
    assert message in error
    assert "Traceback" not in error
    return not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        pytest.param("1,2,3", "must have 4 numbers", id="three numbers"),
        pytest.param('[{"class": "mug"}]', "has no key 'box'", id="missing key"),
        pytest.param('{"other.png": []}', "scene.png is not in the boxes file", id="other image"),
        pytest.param("none.json", "none.json does not exist", id="missing file"),
        pytest.param("1,1,9,9;200,1,300,9", "box 1 of image scene.png", id="outside"),
        pytest.param("9,9,1,1", "is inverted", id="inverted"),
        pytest.param("nan,1,9,9", "holds NaN", id="nan"),
        pytest.param("5,5,5,9", "has no area", id="no area"),
    ],
)
def test_bad_boxes_end_with_one_sentence_and_no_files(
    boxes, message, model, image, tmp_path, capsys
):
    assert fails(capsys, tmp_path, run(model, image, boxes, tmp_path / "out"), message)


def test_an_unreadable_image_ends_with_one_sentence(model, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    status = run(model, broken, "1,1,9,9", tmp_path / "out")
    assert fails(capsys, tmp_path, status, "broken.png cannot be read")


def test_a_missing_image_ends_with_one_sentence(model, tmp_path, capsys):
    status = run(model, tmp_path / "none.png", "1,1,9,9", tmp_path / "out")
    assert fails(capsys, tmp_path, status, "none.png does not exist")


def test_a_missing_model_ends_with_one_sentence(image, tmp_path, capsys):
    status = run("no_such_model", image, "1,1,9,9", tmp_path / "out")
    assert fails(capsys, tmp_path, status, "model 'no_such_model' is neither")


def test_an_unknown_backend_ends_with_one_sentence(model, image, tmp_path, capsys):
    status = run(model, image, "1,1,9,9", tmp_path / "out", "--backend", "cuda")
    assert fails(capsys, tmp_path, status, "backend must be one of auto, tensorrt")


def test_a_number_of_threads_that_means_nothing_is_refused(model, image, tmp_path, capsys):
    status = run(model, image, "1,1,9,9", tmp_path / "out", "--threads", "0")
    assert fails(capsys, tmp_path, status, "threads must be at least 1, got 0")


def test_a_corrupted_model_ends_with_one_sentence(image, tmp_path, capsys):
    model = make_tiny_bundle(tmp_path / "tiny")
    (model / "mask_decoder.onnx").write_bytes(b"")
    status = run(model, image, "1,1,9,9", tmp_path / "out")
    assert fails(capsys, tmp_path, status, "mask_decoder.onnx is corrupted")


def test_a_folder_with_boxes_for_no_particular_image_is_refused(model, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name)
    status = run(model, tmp_path, "1,1,9,9", tmp_path / "out")
    assert fails(capsys, tmp_path, status, "must name their images")


def test_a_folder_without_images_is_refused(model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status = run(model, tmp_path / "empty", "1,1,9,9", tmp_path / "out")
    assert fails(capsys, tmp_path, status, "holds no image")


def test_images_that_would_share_an_overlay_are_refused(model, tmp_path, capsys):
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name)
    boxes = '{"a.png": [], "a.jpg": []}'
    status = run(model, tmp_path, boxes, tmp_path / "out")
    assert fails(capsys, tmp_path, status, "must differ in more than their suffix")


def test_an_output_that_is_a_file_ends_with_one_sentence(model, image, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status = run(model, image, "1,1,90,90", tmp_path / "file")
    assert fails(capsys, tmp_path, status, "file is a file; name another")
    assert (tmp_path / "file").read_text() == ""


def test_a_failure_late_in_a_folder_leaves_whole_files_only(model, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    write_image(images / "a.png")
    (images / "b.png").write_bytes(b"no picture")
    boxes = '{"a.png": [{"box": [1, 1, 90, 90]}], "b.png": []}'
    assert run(model, images, boxes, tmp_path / "out") == 1
    assert os.listdir(tmp_path / "out") == ["a_overlay.png"]
    assert cv2.imread(str(tmp_path / "out" / "a_overlay.png")) is not None


def test_help_teaches_with_examples():
    command = [sys.executable, "-m", "sameo_model.predict", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 'python -m sameo_model.predict --image photo.png --boxes "40,60' in shown
    assert "(default: sameo_lite)" in shown


def test_the_command_does_not_import_torch():
    code = "import sys, sameo_model.predict; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
