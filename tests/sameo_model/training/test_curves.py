"""Curves of runs: read one after the other, drawn with scores where there are any."""

import json

import cv2
import pytest

from sameo_model.training.curves import draw_curves, main, read_curves


def _write_run(folder, entries):
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    return folder


def test_steps_of_a_later_run_count_on_from_the_one_before(tmp_path):
    first = _write_run(tmp_path / "first", [{"step": 20, "train/total": 0.5}])
    entries = [{"step": 10, "train/total": 0.4}, {"step": 10, "val/miou_full": 0.8}]
    second = _write_run(tmp_path / "second", entries)
    curves, starts = read_curves([first, second])
    assert starts == [0, 20]
    assert curves["train/total"].steps.tolist() == [20, 30]
    assert curves["train/total"].values.tolist() == [0.5, 0.4]
    assert curves["val/miou_full"].steps.tolist() == [30]


def test_losses_are_drawn_and_scores_below_where_there_are_any(tmp_path):
    losses = [{"step": step, "train/total": 1 / step} for step in (1, 2, 3)]
    run = _write_run(tmp_path / "run", losses)
    curves, starts = read_curves([run])
    (axes,) = draw_curves(curves, starts).axes
    # No other loss was logged.
    assert [line.get_label() for line in axes.lines] == ["total 0.611"]
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 3, "val/miou_full": 0.9}) + "\n")
    losses, scores = draw_curves(*read_curves([run])).axes
    assert losses.get_title() == "training loss by optimiser step"
    assert scores.lines[0].get_xydata().tolist() == [[3, 0.9]]
    assert scores.get_ylim() == (0, 1)


def test_a_line_marks_where_another_run_starts(tmp_path):
    entries = [{"step": 20, "train/total": 0.5}]
    runs = [_write_run(tmp_path / name, entries) for name in ("first", "second")]
    (axes,) = draw_curves(*read_curves(runs)).axes
    curve, mark = axes.lines
    assert curve.get_xdata().tolist() == [20, 40]
    assert list(mark.get_xdata()) == [20, 20]


def test_the_command_writes_a_chart_or_says_what_is_missing(tmp_path, capsys):
    run = _write_run(tmp_path / "run", [{"step": 1, "train/total": 0.5}])
    path = tmp_path / "curves.png"
    assert main([str(run), "--output", str(path)]) == 0
    assert cv2.imread(str(path)).shape == (300, 900, 3)
    assert main([str(tmp_path / "gone"), "--output", str(path)]) == 1
    assert "gone must hold metrics.jsonl, got none" in capsys.readouterr().err
    empty = _write_run(tmp_path / "empty", [])
    assert main([str(empty), "--output", str(path)]) == 1
    assert "the log must hold losses or scores, got none" in capsys.readouterr().err
    for wrong, message in (("no/folder.png", "No such file"), ("folder.abc", "'abc' is not")):
        assert main([str(run), "--output", str(tmp_path / wrong)]) == 1
        assert message in capsys.readouterr().err


def test_half_a_line_at_the_end_of_a_log_does_not_count(tmp_path):
    run = _write_run(tmp_path / "run", [{"step": 1, "train/total": 0.5}])
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "train/to')
    curves, _ = read_curves([run])
    assert curves["train/total"].steps.tolist() == [1]


@pytest.mark.parametrize("line", ["no JSON", "[1]", "{}", '{"step": 1, "train/total": "low"}'])
def test_a_line_that_no_run_wrote_is_named(tmp_path, line):
    run = _write_run(tmp_path / "run", [])
    (run / "metrics.jsonl").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"lines of .*metrics.jsonl must be JSON objects .*, got"):
        read_curves([run])
