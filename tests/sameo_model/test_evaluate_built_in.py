"""`evaluate detections --detections builtin` scores the detector of a bundle."""

import json

import numpy as np
import pytest

from sameo_model import evaluate
from tests.bundles import add_tiny_detector, make_tiny_bundle
from tests.sameo_model.evaluation.scenes import filled, make_image, make_instance, write_set

HW = (64, 64)


@pytest.fixture
def arguments(tmp_path):
    """An image as the tiny detector takes it, with its first object and one that it misses."""
    found = make_instance(1, filled(HW, (8, 8, 32, 48)), filled(HW, (8, 8, 32, 40)))
    missed = make_instance(2, filled(HW, (0, 50, 10, 60)), filled(HW, (0, 50, 10, 60)))
    annotations = write_set(tmp_path, [make_image(tmp_path, 7, [found, missed], HW)])
    return [
        *("detections", "--annotations", str(annotations), "--images", str(tmp_path / "images")),
        *("--detections", "builtin", "--backend", "onnxruntime", "--replicates", "0"),
        *("--json", str(tmp_path / "scores.json")),
    ]


@pytest.fixture
def bundle(tmp_path):
    return add_tiny_detector(make_tiny_bundle(tmp_path / "bundle"))


def test_boxes_are_scored_as_visible_and_whole_ones_and_so_are_the_masks(
    arguments, bundle, tmp_path, capsys
):
    assert evaluate.main([*arguments, "--model", str(bundle)]) == 0
    result = json.loads((tmp_path / "scores.json").read_text())
    # One of two objects is found, by the box with the best score: precision 1 up to recall 0.5,
    # which is 51 of the 101 recalls.
    for kind in ("visible", "amodal"):
        assert result["boxes"][kind]["ap50"] == pytest.approx(51 / 101)
        assert result["boxes"][kind]["recall50"] == pytest.approx(0.5)
    assert {row["name"] for row in result["rows"]} >= {"sameo", "true_visible"}
    assert "AR30" in capsys.readouterr().out


def test_visible_masks_alone_are_enough_for_boxes(arguments, bundle, tmp_path, capsys):
    assert evaluate.main([*arguments, "--model", str(bundle), "--dataset", "coco_instances"]) == 0
    result = json.loads((tmp_path / "scores.json").read_text())
    assert set(result["boxes"]) == {"visible"}
    assert result["num_truths"] == 2
    assert "boxes alone are scored" in capsys.readouterr().out


def test_boxes_below_the_threshold_are_not_scored(arguments, bundle, tmp_path):
    more = ["--model", str(bundle), "--score-threshold", "0.99"]
    for dataset in ("amodal_coco", "coco_instances"):
        assert evaluate.main([*arguments, *more, "--dataset", dataset]) == 0
        result = json.loads((tmp_path / "scores.json").read_text())
        assert result["boxes"]["visible"]["recall50"] == 0


@pytest.mark.parametrize("dataset", ["amodal_coco", "coco_instances"])
def test_a_report_draws_found_boxes_on_images_that_the_seed_chooses(
    arguments, bundle, tmp_path, dataset
):
    more = ["--model", str(bundle), "--dataset", dataset, "--report", str(tmp_path / "report")]
    assert evaluate.main([*arguments, *more, "--seed", "3"]) == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert "1 image chosen at random (seed 3)" in page
    assert "image 7 (000007.png): 1 right, 0 false, 1 missed" in page
    assert (tmp_path / "report" / "result.json").is_file()


@pytest.mark.parametrize(
    "more", [("--buckets", "coco"), ("--objects", "1", "--report", "out"), ("--predictions", "out")]
)
def test_what_needs_whole_shapes_is_refused_without_them(arguments, bundle, more, capsys):
    assert (
        evaluate.main([*arguments, "--model", str(bundle), "--dataset", "coco_instances", *more])
        == 2
    )
    assert f"{more[0]} needs whole shapes" in capsys.readouterr().err


def test_what_the_detector_cannot_do_is_refused(arguments, bundle, tmp_path, capsys):
    plain = make_tiny_bundle(tmp_path / "plain")
    assert evaluate.main([*arguments, "--model", str(plain)]) == 2
    assert "detect needs a detector" in capsys.readouterr().err
    with_classes = [*arguments, "--model", str(bundle)]
    without_model = [word for word in arguments if word not in ("--backend", "onnxruntime")]
    for words in (
        [*without_model, "--model", "none"],
        [*with_classes, "--class-specific"],
        [*with_classes, "--class-names", "a"],
    ):
        assert evaluate.main(words) == 2
        assert "--detections builtin needs a --model" in capsys.readouterr().err
    assert not (tmp_path / "scores.json").exists()


def test_boxes_of_a_file_have_no_scores_of_their_own(arguments, bundle, tmp_path):
    (tmp_path / "found.json").write_text(
        json.dumps([{"image_id": 7, "category_id": 1, "bbox": [8, 8, 24, 32], "score": 0.5}])
    )
    arguments[arguments.index("builtin")] = str(tmp_path / "found.json")
    assert evaluate.main([*arguments, "--model", str(bundle)]) == 0
    result = json.loads((tmp_path / "scores.json").read_text())
    assert result["boxes"] is None
    assert np.isfinite(result["rows"][0]["ap"])
