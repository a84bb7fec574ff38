"""The command line `train`: errors are one sentence, and leave no run folder behind."""

import pytest

from sameo_model.train import main


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "stepz: 3\ntrian: []",
            "unknown key stepz, did you mean steps?; unknown key trian, did you",
        ),
        ("train: [{root: GONE}]", "amodal_coco must lie in GONE, but there is no such folder"),
        ("- a list", "must hold keys with values, got ['a list']"),
        ("steps: {", "must be YAML"),
    ],
    ids=["unknown keys", "missing root", "no mapping", "no YAML"],
)
def test_what_cannot_be_used_is_told_in_one_sentence(tmp_path, capsys, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text.replace("GONE", str(tmp_path / "gone")))
    assert main(["--config", str(path), f"output={tmp_path / 'run'}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message.replace("GONE", str(tmp_path / "gone")) in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("below", ["", "/run"])
def test_an_output_that_is_a_file_is_named_before_data_are_read(tmp_path, capsys, below):
    path = tmp_path / "run.yaml"
    path.write_text("train: [{root: gone}]")
    assert main(["--config", str(path), f"output={path}{below}"]) == 1
    message = f"error: output must be a folder, but {path} is a file; name another\n"
    assert capsys.readouterr().err == message


def test_an_image_in_place_of_a_configuration_is_named(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\x89PNG")
    assert main(["--config", str(path)]) == 1
    error = capsys.readouterr().err
    assert "run.yaml must be YAML, unacceptable character" in error
    assert error.count("\n") == 1


def test_an_override_below_a_plain_value_is_refused(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text("steps: 3")
    assert main(["--config", str(path), "steps.more=1"]) == 1
    assert "steps holds no keys, so steps.more cannot be set" in capsys.readouterr().err
