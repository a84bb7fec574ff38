"""Outputs are looked at before a command works."""

from __future__ import annotations

import pytest

from sameo_model import datasets
from tests.sameo_model.data import fabricate as fab


@pytest.fixture
def folder(tmp_path, monkeypatch):
    fab.amodal_coco(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_input_is_not_replaced(folder, capsys):
    (folder / "link.json").symlink_to("annotations.json")
    for command in (
        ["convert", "--output", "annotations.json"],
        ["convert", "--output", "link.json"],
        ["check", "--json", "images/../annotations.json"],
        ["stats", "--json", "annotations.json"],
        ["show", "--output", "images/42.png"],
    ):
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert datasets.main([command[0], "amodal_coco", ".", *command[1:]]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(f"datasets: {command[1]} must leave the ")
        assert error.endswith(f", got {command[2]}; give another name")
        assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_outputs_are_two_files(folder, capsys):
    arguments = ["convert", "amodal_coco", ".", "--output", "new.json", "--json", "./new.json"]
    assert datasets.main(arguments) == 1
    assert "--json must leave what --output writes as it is" in capsys.readouterr().err


def test_folders_that_are_read_take_no_output(tmp_path, capsys):
    fab.dyce(tmp_path)
    output = tmp_path / "amodal" / "sheet.png"
    assert datasets.main(["show", "dyce", str(tmp_path), "--output", str(output)]) == 1
    assert "--output must leave the input" in capsys.readouterr().err
    assert not output.exists()


def test_an_earlier_output_is_replaced(folder):
    for _ in range(2):
        assert datasets.main(["show", "amodal_coco", ".", "--output", "images/sheet.png"]) == 0


def test_places_that_cannot_be_written_are_named_before_reading(folder, capsys):
    (folder / "file").write_text("")
    for path, message in (
        ("images", "--json must name a file, but images is a folder; add a file name"),
        ("file/deep/a.json", "--json must lie in a folder, but file is a file; give another"),
    ):
        assert datasets.main(["check", "amodal_coco", ".", "--json", path]) == 1
        (error,) = capsys.readouterr().err.splitlines()
        assert error == f"datasets: {message}"
