"""Compiled models are found by their key alone, and do without where nothing can be kept."""

import dataclasses
import errno
import fcntl
import json
import logging
import os

import numpy as np
import pytest

from sameo_model.runtime.backends import compiled_cache
from sameo_model.runtime.backends.base import BackendOptions, build_backend
from sameo_model.runtime.backends.compiled_cache import CompiledKey, bundle_digest, open_folder
from sameo_model.runtime.bundle import load_bundle
from tests.bundles import make_tiny_bundle

KEY = CompiledKey("00ff", "openvino", "2026.4", "some processor", "f32", "2 threads")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(CompiledKey)])
def test_every_part_of_the_key_changes_the_folder(field):
    assert dataclasses.replace(KEY, **{field: "other"}).folder_name != KEY.folder_name


def test_the_digest_follows_the_files_of_the_bundle(tmp_path):
    bundle = load_bundle(make_tiny_bundle(tmp_path))
    info = dataclasses.replace(bundle.info, files={**bundle.info.files, "mask_decoder.onnx": "0"})
    assert bundle_digest(dataclasses.replace(bundle, info=info)) != bundle_digest(bundle)


def test_a_folder_says_what_it_is_for(tmp_path):
    with open_folder(KEY, tmp_path) as folder:
        assert folder == tmp_path / KEY.folder_name
    assert json.loads((folder / "key.json").read_text()) == dataclasses.asdict(KEY)


def test_a_cache_that_cannot_be_written_is_gone_without(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    with (
        caplog.at_level(logging.WARNING),
        open_folder(KEY, tmp_path / "file") as folder,
    ):
        assert folder is None
    assert "compiled models are not kept in" in caplog.text


def test_a_file_system_without_locks_is_gone_without(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), open_folder(KEY, tmp_path) as folder:
        assert folder is None
    assert "No locks available" in caplog.text


def test_folders_that_were_not_used_for_longest_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled_cache, "KEEP", 2)
    keys = [dataclasses.replace(KEY, version=str(number)) for number in range(3)]
    for age, key in enumerate(keys[:2]):
        with open_folder(key, tmp_path) as folder:
            pass
        os.utime(folder, (age, age))
    with open_folder(keys[2], tmp_path):
        pass
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {keys[1].folder_name, keys[2].folder_name}


def test_a_damaged_compiled_model_is_compiled_again(tmp_path):
    pytest.importorskip("openvino")
    bundle = load_bundle(make_tiny_bundle(tmp_path / "bundle"))
    options = BackendOptions(precision="f32", cache_dir=tmp_path / "cache")
    image = np.full((64, 64, 3), 51, np.uint8)
    expected = build_backend("openvino", bundle, options).encode(image)
    blobs = list((tmp_path / "cache").glob("*/*.blob"))
    assert len(blobs) == 3
    for blob in blobs:
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:100])
    found = build_backend("openvino", bundle, options).encode(image)
    np.testing.assert_array_equal(found, expected)
