import json

import pytest

from sameo_model import evaluate


def write(path, ap, **settings):
    row = {"name": "sameo", "label": "SAMEO", "ap": ap, "ap50": 0.8, "ap75": None, "ar": 0.6}
    paper = [
        {"front_end": "RTMDet", "training_prompt": None, "scores": {"ap": 0.5}},
        {"front_end": None, "training_prompt": "random", "scores": {"ap": 0.542}},
    ]
    common = {"command": "detections", "annotations": "a.json", "front_end": "", "boxes": "amodal"}
    content = {"rows": [row], "paper": paper, "settings": {**common, **settings}}
    path.write_text(json.dumps(content))
    return str(path)


def test_each_front_end_counts_once(tmp_path, capsys):
    first = write(tmp_path / "a.json", 0.5, front_end="AISFormer")
    second = write(tmp_path / "b.json", 0.6, boxes="visible")
    output = tmp_path / "mean.json"
    assert evaluate.main(["average", first, second, "--json", str(output)]) == 0
    result = json.loads(output.read_text())
    (row,) = result["rows"]
    assert (row["ap"], row["ap50"], row["ap75"]) == (pytest.approx(0.55), 0.8, None)
    shown = capsys.readouterr().out
    assert "SAMEO, AISFormer (amodal)" in shown
    assert "SAMEO, b (visible)" in shown
    assert "SAMEO, mean                           | 55.0" in shown
    assert "paper, table 5: SAMEO, random prompts | 54.2" in shown


def test_results_of_other_data_or_rules_are_refused(tmp_path, capsys):
    first = write(tmp_path / "a.json", 0.5)
    second = write(tmp_path / "b.json", 0.6, annotations="other.json")
    assert evaluate.main(["average", first, second]) == 2
    assert "must have the same annotations" in capsys.readouterr().err


def test_other_files_are_refused(tmp_path, capsys):
    path = tmp_path / "masks.json"
    path.write_text('{"settings": {"command": "masks"}}')
    assert evaluate.main(["average", str(path)]) == 2
    assert "must be a result of `detections --json`" in capsys.readouterr().err
    assert evaluate.main(["average", str(tmp_path / "none.json")]) == 2
    assert "does not exist" in capsys.readouterr().err
