"""The speed table: who takes turns, what the figures mean, and that all of it runs."""

import json
import subprocess

import pytest

from benchmarks import previous_release, speed
from benchmarks.contestants import contestant_names, load_scene, scatter_boxes
from benchmarks.measure import BASELINE, Measurement, alternate, comparison_table, markdown_table
from benchmarks.previous_release import write_previous_release
from benchmarks.speed import main
from sameo_model.modeling import CheckpointMismatchError, load_checkpoint
from sameo_model.runtime import load_predictor
from sameo_model.runtime.bundle import find_bundle, load_bundle


def test_contestants_take_turns_and_the_first_round_does_not_count():
    order = []
    rows = alternate(
        "case",
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        budget_s=0,
        min_rounds=3,
    )
    assert "".join(order) == "abababab"
    assert [(row.contestant, row.num_samples) for row in rows] == [("a", 3), ("b", 3)]


def test_a_row_holds_median_and_spread():
    # Of 0 to 10 the median is 5, a tenth lies below 1, a tenth above 9.
    row = Measurement.from_samples("case", "a", "ms", [10, 0, 1, 2, 9, 3, 8, 4, 7, 5, 6])
    assert (row.median, row.low, row.high, row.num_samples) == (5, 1, 9, 11)


def test_ratio_says_how_many_times_faster_than_the_reference_style():
    rows = [
        Measurement("case", BASELINE, "ms", 300, 290, 310, 3),
        Measurement("case", "ours", "ms", 50, 49, 51, 3),
    ]
    assert markdown_table(rows)[-1] == "| case | ours | 50 | 49 to 51 | ms | 3 | 6.00 |"


def test_comparison_marks_changes_within_the_spread():
    before = [Measurement("x", "a", "ms", 10, 9, 11, 3), Measurement("y", "a", "ms", 10, 9, 11, 3)]
    now = [Measurement("x", "a", "ms", 5, 4, 6, 3), Measurement("y", "a", "ms", 12, 10.5, 13, 3)]
    assert comparison_table(before, [*now, Measurement("new", "a", "ms", 1, 1, 1, 3)])[2:] == [
        "| x | a | 10 | 5 | ms | 0.50 |  |",
        "| y | a | 10 | 12 | ms | 1.20 | spreads overlap |",
    ]


def test_boxes_of_about_100_pixels_lie_in_the_image():
    boxes = scatter_boxes(50)
    sides = boxes[:, 2:] - boxes[:, :2]
    assert boxes.shape == (50, 4)
    assert 89 < sides.min() < sides.max() < 111
    assert boxes.min() >= 0
    assert (boxes[:, 2:] <= (640, 480)).all()


@pytest.fixture(scope="module")
def previous(tmp_path_factory):
    try:
        return write_previous_release(tmp_path_factory.mktemp("speed") / "previous")
    except RuntimeError as error:
        pytest.skip(str(error))


def test_the_release_before_still_runs_and_is_not_fetched_twice(previous, monkeypatch):
    info = load_bundle(previous).info
    assert (info.name, info.framing, info.image_size) == ("sameo_lite", {"kind": "image"}, 512)
    monkeypatch.setattr(subprocess, "run", None)  # a call of it would be a TypeError
    assert write_previous_release(previous) == previous
    with load_predictor(previous, "onnxruntime") as predictor:
        prediction = predictor.decode(predictor.encode(load_scene()), scatter_boxes(2))
    assert all(mask.area > 0 for mask in prediction.amodal_masks)
    with pytest.raises(CheckpointMismatchError, match=r"version 0\.1, which had another network"):
        load_checkpoint(previous)


def test_without_the_history_there_is_no_release_before(tmp_path, monkeypatch):
    monkeypatch.setattr(previous_release, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match=r"of version 0\.1 must be in the history of .*; clone"):
        write_previous_release(tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_quick_run_writes_every_contestant_and_compares(previous, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "_previous_release", lambda: previous)
    sections = ["models", "post-processing", "processes"]
    assert main(["--quick", "--output", str(tmp_path), "--sections", *sections]) == 0
    content = json.loads((tmp_path / "speed.json").read_text())
    found = {(row["case"], row["contestant"]) for row in content["rows"]}
    names = contestant_names(find_bundle())
    assert {"PyTorch", "ONNX Runtime", "OpenVINO"} <= set(names)
    assert BASELINE not in names  # the reference has no network for windows
    players = {*names, "OpenVINO, version 0.1"}
    predict = "sameo_lite 256: predict, amodal and visible masks of"
    assert {(f"{predict} {n}", name) for n in ("1 box", "10 boxes") for name in players} <= found
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in content["rows"])
    for model in ("sameo_lite 256", "sameo_lite 512"):
        (memory,) = [row for row in content["rows"] if row["case"] == f"{model}: peak memory"]
        assert memory["median"] > 50  # MiB: Python, NumPy and OpenCV alone take more
    assert {"cpu", "cores", "threads", "precision", "libraries"} <= set(content["settings"])
    assert (tmp_path / "speed.md").read_text() in capsys.readouterr().out

    path = str(tmp_path / "speed.json")
    assert main(["--compare", path, "--new", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(content["rows"])
    assert all(" 1.00 | spreads overlap |" in line for line in lines[2:])
