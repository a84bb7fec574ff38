"""Outputs of the evaluation are looked at before it reads or predicts anything."""

import json
import shutil

import pytest

from sameo_model import evaluate
from tests.sameo_model.evaluation.scenes import two_squares, write_set


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The two squares, and their visible masks as detections, in the working folder."""
    annotations = json.loads(write_set(tmp_path, [two_squares(tmp_path)]).read_text())
    detections = [
        {
            "image_id": record["image_id"],
            "category_id": record["category_id"],
            "score": 0.9,
            "segmentation": record["visible_mask"],
        }
        for record in annotations["annotations"]
    ]
    (tmp_path / "r.json").write_text(json.dumps(detections))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def detections(*more, path="r.json", annotations="annotations.json"):
    data = ("--annotations", annotations, "--images", "images", "--detections", path)
    return evaluate.main(["detections", *data, "--model", "none", "--replicates", "0", *more])


def masks(*more):
    data = ("--annotations", "annotations.json", "--images", "images", "--prompts", "visible")
    return evaluate.main(["masks", *data, *more])


def assert_refused(folder, capsys, run, message):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run() == 2
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert not [line for line in error if "reading" in line]
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_input_is_not_replaced(folder, capsys):
    shutil.copy("annotations.json", "x.instances.csv")
    shutil.copy("r.json", "coco_instances_amodal_results.json")
    shutil.copy("r.json", "coco_instances_visible_results.json")
    (folder / "report").mkdir()
    shutil.copy("r.json", "report/result.json")
    for run in (
        lambda: masks("--json", "annotations.json"),
        lambda: detections("--json", str(folder / "r.json")),
        lambda: detections("--json", "x.json", annotations="x.instances.csv"),
        lambda: detections(
            *("--json", "coco_instances_visible_results.json"),
            path="coco_instances_amodal_results.json",
        ),
        lambda: detections("--report", "report", path="report/result.json"),
    ):
        assert_refused(folder, capsys, run, "must leave the input ")


def test_the_result_may_lie_in_the_reports_folder(folder, capsys):
    assert detections("--report", "out", "--json", "out/result.json") == 0
    assert json.loads((folder / "out" / "result.json").read_text())["headline"] == "front_end"
    assert_refused(
        *(folder, capsys, lambda: detections("--report", "out", "--json", "out/rows.csv")),
        "--report must leave what --json writes as it is",
    )


def test_an_image_is_not_replaced(folder, capsys):
    assert masks("--json", "images/000007.png") == 2
    assert "--json must leave the images as they are" in capsys.readouterr().err


def test_results_that_are_compared_stay(folder, capsys):
    assert detections("--json", "a.json") == 0
    for output in ("a.json", "a.matches.npz", "a.instances.csv"):
        compared = ["compare", "a.json", "a.json", "--replicates", "1", "--json", output]
        assert_refused(folder, capsys, lambda words=compared: evaluate.main(words), "must leave")
    averaged = ["average", "a.json", "--json", "a.json"]
    assert_refused(folder, capsys, lambda: evaluate.main(averaged), "must leave the input")


def test_places_that_cannot_be_written_are_named(folder, capsys):
    (folder / "file").write_text("")
    for run, message in (
        (lambda: masks("--json", "images"), "--json must name a file, but images is a folder"),
        (lambda: masks("--json", "file/a.json"), "--json must lie in a folder, but file is a file"),
        (lambda: detections("--report", "file"), "--report must lie in a folder, but file is"),
        (lambda: masks("--predictions", "file"), "--predictions must lie in a folder, but file"),
        (lambda: detections("--report", "r", "--objects", "abc"), "got 'abc'"),
    ):
        assert_refused(folder, capsys, run, message)


def test_a_figure_that_cannot_be_drawn_is_refused_before_scoring(folder, capsys):
    for more in (["--objects", "77"], ["--objects", "1", "--columns", "sameo"]):
        capsys.readouterr()
        assert detections("--report", "report", *more) == 2
        error = capsys.readouterr().err
        assert "must be" in error.splitlines()[-1]
        assert "score:" not in error
