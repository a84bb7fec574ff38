"""Curves of runs: read one after the other, drawn with scores where there are any."""

import json

import cv2
import numpy as np
import pytest

from sameo_model.training.curves import COLOURS, PANEL_HW, draw_curves, main, read_curves


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
    picture = draw_curves(curves, starts)
    assert picture.shape == (*PANEL_HW, 3)
    # The first colour is that of the total loss; no other loss was logged.
    assert (picture == COLOURS[0]).all(-1).any()
    assert not (picture == COLOURS[1]).all(-1).any()
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 3, "val/miou_full": 0.9}) + "\n")
    picture = draw_curves(*read_curves([run]))
    assert picture.shape == (2 * PANEL_HW[0], PANEL_HW[1], 3)
    rows, columns = np.nonzero((picture[PANEL_HW[0] :] == COLOURS[0]).all(-1))
    # The dot lies at the last step, and at 0.9 of the way up from row 260 to row 30: row 53.
    dot = columns < 715
    assert rows[dot].mean() == pytest.approx(53, abs=1)
    assert columns[dot].mean() == pytest.approx(710, abs=1)


def test_the_command_writes_a_picture_or_says_what_is_missing(tmp_path, capsys):
    run = _write_run(tmp_path / "run", [{"step": 1, "train/total": 0.5}])
    path = tmp_path / "curves.png"
    assert main([str(run), "--output", str(path)]) == 0
    assert cv2.imread(str(path)).shape == (*PANEL_HW, 3)
    assert main([str(tmp_path / "gone"), "--output", str(path)]) == 1
    assert "gone must hold metrics.jsonl, got none" in capsys.readouterr().err
    empty = _write_run(tmp_path / "empty", [])
    assert main([str(empty), "--output", str(path)]) == 1
    assert "the log must hold losses or scores, got none" in capsys.readouterr().err
    for wrong in (tmp_path / "no" / "folder.png", tmp_path / "folder.abc"):
        assert main([str(run), "--output", str(wrong)]) == 1
        assert f"{wrong.name} cannot be written; name a .png" in capsys.readouterr().err


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
