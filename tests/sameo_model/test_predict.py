import json
import os
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sameo_model import predict
from tests.bundles import add_tiny_detector, make_tiny_bundle

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
    assert "2 masks of 1 image written to" in capsys.readouterr().out

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
    assert [result["class"] for result in (first, second)] == ["mug", "box"]
    assert first["file_name"] == second["file_name"] == "scene.png"
    # The boxes have no numbers of images and classes, and none are invented.
    assert not {"image_id", "category_id"} & {*first, *second}


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
        pytest.param('{"x/scene.png": []}', "and x/scene.png, not", id="other folder"),
        pytest.param(
            '[{"box": [1, 1, 9, 9], "score": 300}]', "must all be percentages", id="score"
        ),
        pytest.param("none.json", "none.json does not exist", id="missing file"),
        pytest.param("1,1,9,9;200,1,300,9", "box 1 of image scene.png", id="outside"),
        pytest.param("9,9,1,1", "is inverted", id="inverted"),
        pytest.param("nan,1,9,9", "holds NaN", id="nan"),
        pytest.param("5,5,5,9", "has no area", id="no area"),
        pytest.param("0,0.2,0.6,1", "must be in pixels, not in shares", id="shares"),
    ],
)
def test_bad_boxes_end_with_one_sentence_and_no_files(
    boxes, message, model, image, tmp_path, capsys
):
    assert fails(capsys, tmp_path, run(model, image, boxes, tmp_path / "out"), message)


def test_an_unreadable_image_ends_with_one_sentence(model, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
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
    message = "results carry their names without it, got a.jpg and a.png; rename one of them"
    assert fails(capsys, tmp_path, status, message)


def test_an_output_that_is_a_file_ends_with_one_sentence(model, image, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status = run(model, image, "1,1,90,90", tmp_path / "file")
    assert fails(capsys, tmp_path, status, "file is a file; name another")
    assert (tmp_path / "file").read_text() == ""


def test_the_folder_of_the_images_is_no_output(model, tmp_path, capsys):
    write_image(tmp_path / "a.png")
    status = run(model, tmp_path, '{"a.png": [[1, 1, 90, 90]]}', tmp_path)
    assert fails(capsys, tmp_path, status, "--output must be another folder than that of the")
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.fixture
def folder(tmp_path):
    """Three images of a folder, the second one damaged."""
    images = tmp_path / "cam1"
    images.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        write_image(images / name)
    (images / "b.png").write_bytes((images / "b.png").read_bytes()[:60])
    return images


BOX = [{"box": [1, 1, 90, 90]}]


def test_a_damaged_image_of_a_folder_is_named_and_the_others_are_written(
    model, folder, tmp_path, capsys
):
    boxes = json.dumps({"a.png": BOX, "b.png": BOX, "c.png": BOX})
    assert run(model, folder, boxes, tmp_path / "out") == 1
    assert sorted(os.listdir(tmp_path / "out")) == [
        "a_overlay.png",
        "c_overlay.png",
        "predictions.json",
    ]
    assert [result["file_name"] for result in results_in(tmp_path / "out")] == ["a.png", "c.png"]
    shown = capsys.readouterr()
    assert "2 masks of 2 images written to" in shown.out
    assert "images or boxes left out: 1" in shown.out
    assert "predict: left out: image" in shown.err
    assert "b.png cannot be read" in shown.err


def test_an_unusable_box_of_a_folder_is_named_and_the_others_are_answered(
    model, folder, tmp_path, capsys
):
    boxes = json.dumps(
        {"a.png": [{"box": [9, 9, 1, 1]}, *BOX], "c.png": [{"box": [500, 1, 600, 9]}]}
    )
    assert run(model, folder, boxes, tmp_path / "out") == 1
    (result,) = results_in(tmp_path / "out")
    assert result["prompt_box"] == [1, 1, 90, 90]
    error = capsys.readouterr().err
    assert "box 0 of image a.png (128 x 96 pixels) is inverted" in error
    assert "box 0 of image c.png (128 x 96 pixels) lies outside the image" in error


def test_an_unusable_point_of_a_folder_is_named_and_the_others_are_answered(
    model, folder, tmp_path, capsys
):
    outside = {**BOX[0], "points": [[200, 5]]}
    boxes = json.dumps({"a.png": [outside, *BOX], "c.png": BOX})
    assert run(model, folder, boxes, tmp_path / "out") == 1
    assert [one["file_name"] for one in results_in(tmp_path / "out")] == ["a.png", "c.png"]
    error = capsys.readouterr().err
    assert "box 0 of image a.png (128 x 96 pixels) has a point outside the image: [200" in error


def test_a_point_that_is_not_on_its_box_ends_with_one_sentence(model, tmp_path, capsys):
    image = write_image(tmp_path / "large.png", (480, 640))
    points = ["--points", "300,200;10,10"]
    boxes = "275,126,497,320;275,126,497,320"
    assert run(model, image, boxes, tmp_path / "out", *points) == 1
    assert capsys.readouterr().err == (
        "predict: box 1 of image large.png (640 x 480 pixels) has a point outside it, which may "
        "belong to another box: (10, 10); correct or remove it\n"
    )


@pytest.mark.parametrize("image", [{"image_id": 3}, {"image_id": 3, "file_name": "a.png"}])
def test_annotations_name_images_and_classes_of_results(image, model, folder, tmp_path):
    results = [{**image, "category_id": 7, "bbox": [16, 24, 64, 48], "score": 0.5}]
    coco = {
        "images": [{"id": 3, "file_name": "a.png"}],
        "categories": [{"id": 7, "name": "mug"}],
    }
    boxes = write_json(tmp_path / "results.json", results)
    names = write_json(tmp_path / "names.json", coco)
    assert run(model, folder, boxes, tmp_path / "out", "--annotations", names) == 0
    (result,) = results_in(tmp_path / "out")
    assert (result["file_name"], result["category_id"], result["class"]) == ("a.png", 7, "mug")


def test_results_are_there_before_the_folder_is_done(model, folder, tmp_path, monkeypatch):
    seen = {}
    read = predict.read_image

    def note_what_is_there(path, annotated_hw):
        done = tmp_path / "out" / "predictions.json"
        seen[path.name] = len(json.loads(done.read_text())) if done.exists() else None
        if path.name == "c.png":
            raise KeyboardInterrupt
        return read(path, annotated_hw)

    monkeypatch.setattr(predict, "read_image", note_what_is_there)
    write_image(folder / "b.png")
    with pytest.raises(KeyboardInterrupt):
        run(model, folder, json.dumps({f"{name}.png": BOX for name in "abc"}), tmp_path / "out")
    assert seen["a.png"] is None
    assert seen["b.png"] == 1
    assert [result["file_name"] for result in results_in(tmp_path / "out")] == ["a.png", "b.png"]


def test_boxes_without_image_and_images_without_boxes_are_counted(model, folder, tmp_path, capsys):
    boxes = json.dumps({"a.png": BOX, "missing.png": BOX, "gone.png": []})
    assert run(model, folder, boxes, tmp_path / "out") == 0
    error = capsys.readouterr().err
    assert "note: left out, as they have no boxes: 2 images: b.png, c.png" in error
    assert "note: boxes left out, as their images are not in" in error
    assert "missing.png, gone.png" in error


def test_names_with_backslashes_are_read(model, folder, tmp_path):
    boxes = json.dumps({"cam1\\a.png": BOX, "cam1\\c.png": BOX})
    assert run(model, folder, boxes, tmp_path / "out") == 0
    names = [result["file_name"] for result in results_in(tmp_path / "out")]
    assert names == ["cam1\\a.png", "cam1\\c.png"]


def test_boxes_of_another_folder_are_refused(model, folder, tmp_path, capsys, monkeypatch):
    boxes = json.dumps({"cam2/a.png": BOX})
    status = run(model, folder, boxes, tmp_path / "out")
    assert fails(
        capsys, tmp_path, status, "they name cam2/a.png, not cam1/a.png; check the file names"
    )
    # A relative path hides nothing.
    monkeypatch.chdir(folder)
    status = run(model, ".", boxes, tmp_path / "out")
    assert fails(
        capsys, tmp_path, status, "they name cam2/a.png, not cam1/a.png; check the file names"
    )


def test_percentages_are_taken_as_such_and_said(model, image, tmp_path, caplog):
    boxes = json.dumps([{"box": [16, 24, 80, 72], "score": 50}])
    assert run(model, image, boxes, tmp_path / "out") == 0
    (result,) = results_in(tmp_path / "out")
    assert result["detection_score"] == 0.5
    assert result["score"] == pytest.approx(0.1, abs=1e-4)
    assert "scores up to 50 count as percentages" in caplog.text


def test_crowd_regions_prompt_nothing(model, folder, tmp_path, caplog):
    annotation = {"image_id": 1, "category_id": 5, "bbox": [10, 10, 60, 60]}
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 5, "name": "mug"}],
        "annotations": [annotation, {**annotation, "iscrowd": 1}],
    }
    assert run(model, folder, json.dumps(coco), tmp_path / "out") == 0
    assert len(results_in(tmp_path / "out")) == 1
    assert "left out 1 crowd regions" in caplog.text


def test_an_image_of_another_size_than_annotated_is_left_out(model, folder, tmp_path, capsys):
    coco = {
        "images": [
            {"id": 1, "file_name": "a.png", "height": 96, "width": 128},
            {"id": 3, "file_name": "c.png", "height": 960, "width": 1280},
        ],
        "categories": [{"id": 5, "name": "mug"}],
        "annotations": [
            {"image_id": number, "category_id": 5, "bbox": [10, 10, 60, 60]} for number in (1, 3)
        ],
    }
    assert run(model, folder, json.dumps(coco), tmp_path / "out") == 1
    assert [result["file_name"] for result in results_in(tmp_path / "out")] == ["a.png"]
    assert "c.png" in capsys.readouterr().err


def test_results_of_a_detector_are_boxes(model, folder, tmp_path):
    records = [
        {
            "file_name": "a.png",
            "image_id": 3,
            "category_id": 7,
            "bbox": [16, 24, 64, 48],
            "score": 0.5,
        },
        {
            "file_name": "c.png",
            "image_id": 4,
            "category_id": 7,
            "bbox": [1, 1, 50, 50],
            "score": 0.9,
        },
    ]
    assert run(model, folder, json.dumps(records), tmp_path / "out") == 0
    results = results_in(tmp_path / "out")
    assert results[0]["prompt_box"] == [16, 24, 80, 72]
    assert [(one["file_name"], one["image_id"], one["category_id"]) for one in results] == [
        ("a.png", 3, 7),
        ("c.png", 4, 7),
    ]
    # What predict writes prompts it again, with the detector's boxes and scores.
    again = tmp_path / "again"
    assert run(model, folder, tmp_path / "out" / "predictions.json", again) == 0
    assert results_in(again) == results


def test_corners_in_place_of_width_and_height_are_noted_and_can_be_given(
    model, image, tmp_path, capsys
):
    record = {"file_name": "scene.png", "bbox": [60, 8, 100, 40], "score": 0.5}
    boxes = write_json(tmp_path / "results.json", [record])
    assert run(model, image, boxes, tmp_path / "out") == 0
    # Read as x, y, width, height, the box ends at 60 + 100 of 128 pixels.
    note = (
        "note: box 0 of image scene.png (128 x 96 pixels) reaches far outside the image: "
        "[60.0, 8.0, 160.0, 48.0]; are the boxes of another image size, or x1, y1, x2, y2 "
        "(--box-format xyxy)?"
    )
    assert note in capsys.readouterr().err
    assert run(model, image, boxes, tmp_path / "out", "--box-format", "xyxy") == 0
    assert "note" not in capsys.readouterr().err
    assert results_in(tmp_path / "out")[0]["prompt_box"] == [60, 8, 100, 40]
    write_json(boxes, [{**record, "bbox": [60, 8, 1000, 400]}])
    assert run(model, image, boxes, tmp_path / "out", "--box-format", "xyxy") == 0
    # What was given is not asked for.
    assert capsys.readouterr().err.endswith("are the boxes of another image size?\n")


def test_boxes_of_another_image_size_are_noted(model, image, tmp_path, capsys):
    assert run(model, image, "0,0,130,98;60,8,1000,400", tmp_path / "out") == 0
    captured = capsys.readouterr().err
    assert "box 1 of image scene.png (128 x 96 pixels) reaches far outside the image" in captured
    assert captured.endswith("are the boxes of another image size?\n")


def test_boxes_of_another_image_size_are_noted_once(model, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / "images" / name)
    boxes = {"a.png": [[9, 9, 50, 50]], "b.png": [[9, 9, 900, 50]], "c.png": [[9, 9, 900, 50]]}
    content = {name: [{"box": box} for box in some] for name, some in boxes.items()}
    path = write_json(tmp_path / "boxes.json", content)
    assert run(model, tmp_path / "images", path, tmp_path / "out") == 0
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "note:" in line]
    assert "box 0 of image b.png" in note


def test_files_of_front_ends_are_boxes(model, tmp_path):
    torch = pytest.importorskip("torch")
    images = tmp_path / "images"
    images.mkdir()
    write_image(images / "000007.png")
    record = {"image_id": 7, "category_id": 1, "bbox": [16, 24, 64, 48], "score": 0.5}
    torch.save([{"image_id": 7, "instances": [record]}], tmp_path / "d2.pth")
    boxes = np.array([[16, 24, 80, 72, 0.5]], np.float32)
    (tmp_path / "mm.pkl").write_bytes(pickle.dumps([[np.zeros((0, 5), np.float32), boxes]]))
    coco = {
        "images": [{"id": 7, "file_name": "000007.png"}],
        "categories": [{"id": 3, "name": "mug"}, {"id": 9, "name": "box"}],
    }
    annotations = write_json(tmp_path / "annotations.json", coco)
    for name in ("d2.pth", "mm.pkl"):
        output = tmp_path / name.replace(".", "_")
        assert run(model, images, tmp_path / name, output, "--annotations", annotations) == 0
        (result,) = results_in(output)
        assert result["prompt_box"] == [16, 24, 80, 72]
        assert (result["file_name"], result["image_id"]) == ("000007.png", 7)
        # Classes go by position: the second one is 9.
        assert (result["category_id"], result["class"]) == (9, "box")
    # Without annotations the number in the file's name decides, and the class stays unknown.
    assert run(model, images, tmp_path / "d2.pth", tmp_path / "bare") == 0
    (result,) = results_in(tmp_path / "bare")
    assert not {"category_id", "class"} & set(result)


def test_boxes_by_position_need_the_annotations(model, image, tmp_path, capsys):
    boxes = [[np.array([[1, 1, 9, 9, 0.5]], np.float32)]]
    (tmp_path / "mm.pkl").write_bytes(pickle.dumps(boxes))
    status = run(model, image, tmp_path / "mm.pkl", tmp_path / "out")
    assert fails(capsys, tmp_path, status, "give the annotations of that run")


@pytest.mark.parametrize("name", ["model.safetensors", "last.ckpt"])
def test_a_checkpoint_is_run_in_pytorch(name, image, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    from sameo_model.modeling import build_sameo, save_checkpoint

    checkpoint = tmp_path / name
    network = build_sameo("sameo_lite", image_size=64)
    if name == "last.ckpt":
        torch.save({"model": network.state_dict(), "sameo": {"image_size": 64}}, checkpoint)
    else:
        save_checkpoint(network, checkpoint)
    assert run(checkpoint, image, "16,24,80,72", tmp_path / "out") == 0
    assert len(results_in(tmp_path / "out")) == 1
    status = run(checkpoint, image, "16,24,80,72", tmp_path / "no", "--backend", "openvino")
    assert status == 1
    assert "--backend must be torch for a checkpoint" in capsys.readouterr().err


def test_help_teaches_with_examples():
    command = [sys.executable, "-m", "sameo_model.predict", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 'python -m sameo_model.predict --image photo.png --boxes "40,60' in shown
    assert "(default: sameo_lite)" in " ".join(shown.split())


def test_the_command_does_not_import_torch():
    code = "import sys, sameo_model.predict; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def run_without_boxes(model, image, output, *more):
    arguments = ["--image", image, "--output", output, "--model", model, *more]
    return predict.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    return add_tiny_detector(make_tiny_bundle(tmp_path_factory.mktemp("finder")))


def test_without_boxes_everything_that_is_found_is_drawn(finder, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    bright = np.full((64, 64, 3), 255, np.uint8)
    cv2.imwrite(str(folder / "bright.png"), bright)
    cv2.imwrite(str(folder / "black.png"), 0 * bright)
    assert run_without_boxes(finder, folder, tmp_path / "out") == 0
    assert "2 masks of 2 images" in capsys.readouterr().out
    first, second = results_in(tmp_path / "out")
    assert first["file_name"] == second["file_name"] == "bright.png"
    assert first["prompt_box"] == pytest.approx([8, 8, 32, 40])
    assert first["detection_score"] == pytest.approx(1, abs=1e-3)
    assert (tmp_path / "out" / "black_overlay.png").exists()

    assert run_without_boxes(finder, folder, tmp_path / "few", "--min-score", 0.6) == 0
    assert len(results_in(tmp_path / "few")) == 1


def test_without_boxes_too_images_that_would_share_an_overlay_are_refused(finder, tmp_path, capsys):
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name)
    assert run_without_boxes(finder, tmp_path, tmp_path / "out") == 1
    assert "must differ in more than their suffix" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_boxes_and_detector_nothing_is_drawn(model, image, tmp_path, capsys):
    assert run_without_boxes(model, image, tmp_path / "out") == 1
    assert (
        "--boxes must give the boxes, because model tiny contains no detector"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--points", "3,3"], "--points belongs to boxes of your own"),
        (["--annotations", "a.json"], "--annotations belongs to boxes of your own"),
        (["--prompts", "amodal"], "--prompts belongs to boxes of your own"),
        (
            ["--boxes", "1,1,9,9", "--prompts", "amodal"],
            "--prompts belongs to boxes in the form of amodal COCO, but these are a plain list",
        ),
        (
            ["--boxes", "1,1,9,9", "--box-format", "xyxy"],
            "--box-format belongs to boxes in the form of COCO results, but these are a plain list",
        ),
        (
            ["--boxes", "1,1,9,9", "--annotations", "a.json"],
            "--annotations belongs to boxes in the form of COCO results, but these are a plain",
        ),
        (["--min-score", "2"], "--min-score must lie from 0 to 1, got 2"),
        (["--boxes", "1,1,9,9", "--min-score", "0.5"], "--min-score is for the model's own"),
    ],
)
def test_options_that_do_not_go_with_the_boxes_are_refused(
    finder, image, tmp_path, capsys, more, message
):
    assert run_without_boxes(finder, image, tmp_path / "out", *more) == 1
    assert message in capsys.readouterr().err
