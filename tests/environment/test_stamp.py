"""Steps are repeated when, and only when, their inputs changed or their last run failed."""

from environment.setup.stamp import Stamp, hash_files


def test_hash_depends_on_content_name_and_extra_text(tmp_path):
    (tmp_path / "a").write_text("one")
    before = hash_files([tmp_path], "3.11")
    assert hash_files([tmp_path], "3.11") == before
    assert hash_files([tmp_path], "3.12") != before
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = hash_files([tmp_path], "3.11")
    assert renamed != before
    (tmp_path / "b").write_text("two")
    assert hash_files([tmp_path], "3.11") not in {before, renamed}


def test_hash_of_a_folder_sees_new_files_but_no_byte_code(tmp_path):
    (tmp_path / "a.py").write_text("one")
    before = hash_files([tmp_path])
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("compiled")
    assert hash_files([tmp_path]) == before
    (tmp_path / "c.py").write_text("")
    assert hash_files([tmp_path]) != before


def test_finished_step_is_remembered_for_its_inputs_alone(tmp_path):
    path = tmp_path / "stamp.json"
    Stamp(path).finish("packages", "key-1")
    assert Stamp(path).is_done("packages", "key-1")
    assert not Stamp(path).is_done("packages", "key-2")
    assert not Stamp(path).is_done("messages", "key-1")


def test_interrupted_step_counts_as_not_done(tmp_path):
    path = tmp_path / "stamp.json"
    stamp = Stamp(path)
    stamp.finish("packages", "key")
    stamp.begin("packages")
    assert not Stamp(path).is_done("packages", "key")


def test_unreadable_record_counts_as_empty(tmp_path):
    path = tmp_path / "stamp.json"
    path.write_text('{"packages": "ke')
    assert not Stamp(path).is_done("packages", "ke")
