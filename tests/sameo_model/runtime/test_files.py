import os

import pytest

from sameo_model.runtime.files import write_whole


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "first")
    write_whole(path, b"second")
    assert path.read_text() == "second"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_name_may_be_as_long_as_the_disk_takes(tmp_path):
    name = 63 * "🎲"  # 252 bytes
    write_whole(tmp_path / name, "")
    assert os.listdir(tmp_path) == [name]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_whole(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    write_whole(tmp_path / "whole", "")
    assert (tmp_path / "whole").stat().st_mode == plain.stat().st_mode


def test_the_umask_stays_alone_as_all_threads_share_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("changed the umask"))
    write_whole(tmp_path / "whole", "")
