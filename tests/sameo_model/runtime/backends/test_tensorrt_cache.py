"""The engine cache: what is found, refused, written, locked and pruned."""

import json
import logging
import os
import resource
import signal
import tempfile
import time
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest

from sameo_model.runtime.backends.engine_cache import EngineCache, EngineKey, default_cache_dir

KEY = EngineKey(
    graph="mask_decoder",
    onnx_sha256="ab" * 32,
    flavour="tensorrt-rtx",
    version="1.7.1",
    gpu="any",
    compute_capability="8.6",
    precision="mixed",
    shape_profile="boxes 1/8/64",
    settings="workspace 1024 MiB",
)
ENGINE = bytes(range(256)) * 8


def fail():
    raise AssertionError("built again")


def fork(work) -> int:
    """Run work in a child process, which never returns into pytest; return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def test_an_engine_is_built_once_and_then_found(tmp_path):
    cache = EngineCache(tmp_path / "new" / "cache")
    assert cache.load(KEY) is None
    assert cache.status(KEY) == "not built yet"
    assert cache.load_or_build(KEY, lambda: ENGINE) == (ENGINE, True)
    assert cache.load_or_build(KEY, fail) == (ENGINE, False)
    assert cache.status(KEY) == "ready (0 MB)"
    assert cache.last_build_s("mask_decoder") == pytest.approx(0, abs=0.5)
    assert cache.last_build_s("image_encoder") is None


@pytest.mark.parametrize("field", [field.name for field in fields(EngineKey)])
def test_every_part_of_the_key_counts(tmp_path, field):
    cache = EngineCache(tmp_path)
    cache.load_or_build(KEY, lambda: ENGINE)
    other = replace(KEY, **{field: "another"})
    assert other.digest != KEY.digest
    assert cache.load(other) is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("flavour", "tensorrt", "flavour tensorrt instead of tensorrt-rtx"),
        ("version", "1.6.0", "version 1.6.0 instead of 1.7.1"),
        ("compute_capability", "12.0", "compute_capability 12.0 instead of 8.6"),
        ("onnx_sha256", "cd" * 32, "onnx_sha256 cdcdcd"),
    ],
)
def test_an_engine_for_something_else_is_refused_in_words(tmp_path, caplog, field, value, message):
    cache = EngineCache(tmp_path)
    cache.store(replace(KEY, **{field: value}), ENGINE, 1.0, "mask_decoder")
    assert cache.load(KEY) is None
    assert message in caplog.text
    assert message in cache.status(KEY)
    assert cache.load_or_build(KEY, lambda: b"fresh") == (b"fresh", True)


def engine_path(cache: EngineCache) -> Path:
    return cache.folder / KEY.file_name


def description_path(cache: EngineCache) -> Path:
    return cache.folder / f"{KEY.file_name}.json"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: engine_path(c).write_bytes(ENGINE[:100]), "it has 100 of 2048 bytes"),
        (lambda c: engine_path(c).write_bytes(b"x" * 2048), "its SHA-256 is not the one"),
        (lambda c: description_path(c).unlink(), "has no description beside it"),
        (lambda c: description_path(c).write_text("{"), "is damaged"),
        (lambda c: description_path(c).write_text("[]"), "it holds no JSON object"),
        (lambda c: description_path(c).write_text('{"format": 0}'), "has another format"),
    ],
    ids=["truncated", "changed", "no description", "cut description", "list", "old format"],
)
def test_a_spoilt_engine_is_named_and_built_again(tmp_path, caplog, spoil, message):
    cache = EngineCache(tmp_path)
    cache.load_or_build(KEY, lambda: ENGINE)
    spoil(cache)
    assert cache.load(KEY) is None
    assert message in caplog.text
    assert cache.load_or_build(KEY, lambda: b"fresh") == (b"fresh", True)
    assert cache.load(KEY) == b"fresh"


def test_the_least_recently_used_engines_are_pruned(tmp_path):
    cache = EngineCache(tmp_path, keep=2)
    keys = [replace(KEY, onnx_sha256=f"{index}") for index in range(3)]
    for age, key in zip((300, 200), keys[:2], strict=True):
        cache.load_or_build(key, lambda: ENGINE)
        os.utime(cache.folder / key.file_name, (time.time() - age,) * 2)
    cache.load(keys[0])  # used just now: the second is the oldest
    cache.load_or_build(keys[2], lambda: ENGINE)
    assert [cache.load(key) is not None for key in keys] == [True, False, True]
    # Each engine and its description, and the lock.
    assert len(list(tmp_path.iterdir())) == 5


def test_a_failed_build_leaves_nothing_and_frees_the_lock(tmp_path):
    cache = EngineCache(tmp_path)

    def build():
        raise RuntimeError("no tactic")

    with pytest.raises(RuntimeError, match="no tactic"):
        cache.load_or_build(KEY, build)
    assert [path.name for path in tmp_path.iterdir()] == ["build.lock"]
    assert cache.load_or_build(KEY, lambda: ENGINE)[1]


def test_an_error_of_the_build_is_not_blamed_on_the_folder(tmp_path):
    def build():
        raise FileNotFoundError("graph gone")

    with pytest.raises(FileNotFoundError, match="graph gone"):
        EngineCache(tmp_path).load_or_build(KEY, build)


def test_a_killed_build_leaves_no_lock_and_no_half_file(tmp_path):
    cache = EngineCache(tmp_path)
    reader, writer = os.pipe()

    def build():
        # What a build that dies while it writes leaves behind.
        (tmp_path / f".{KEY.file_name}.x7").write_bytes(b"half")
        engine_path(cache).write_bytes(b"without description")
        os.write(writer, b"!")
        time.sleep(60)

    pid = fork(lambda: cache.load_or_build(KEY, build))
    os.read(reader, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    started = time.monotonic()
    assert cache.load(KEY) is None
    assert cache.load_or_build(KEY, lambda: ENGINE) == (ENGINE, True)
    assert time.monotonic() - started < 10
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {KEY.file_name, f"{KEY.file_name}.json", "build.lock"}


def test_two_builds_at_once_are_one(tmp_path, caplog):
    cache = EngineCache(tmp_path)
    reader, writer = os.pipe()

    def build():
        os.write(writer, b"!")
        time.sleep(0.6)
        return ENGINE

    pid = fork(lambda: cache.load_or_build(KEY, build))
    os.read(reader, 1)
    with caplog.at_level(logging.INFO):
        assert cache.load_or_build(KEY, fail) == (ENGINE, False)
    assert "another process builds an engine" in caplog.text
    assert os.waitpid(pid, 0)[1] == 0


@contextmanager
def as_nobody():
    """Let file permissions count even where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_cache_serves_and_refuses_to_build():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        cache = EngineCache(folder)
        cache.load_or_build(KEY, lambda: ENGINE)
        os.chmod(cache.folder / "build.lock", 0o444)
        os.chmod(folder, 0o555)
        try:
            with as_nobody():
                assert cache.load_or_build(KEY, fail) == (ENGINE, False)
                with pytest.raises(
                    RuntimeError, match=r"can be written to, but: Permission denied"
                ):
                    cache.load_or_build(replace(KEY, version="2"), fail)
        finally:
            os.chmod(folder, 0o755)


def test_a_cache_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="Not a directory; free space there or choose another"):
        EngineCache(tmp_path / "file" / "cache").load_or_build(KEY, fail)


def test_a_folder_that_fills_up_leaves_no_half_engine(tmp_path):
    cache = EngineCache(tmp_path)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RuntimeError, match=r"with room .*, but: File too large"):
            cache.load_or_build(KEY, lambda: ENGINE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["build.lock"]


def test_a_full_folder_is_refused_before_the_long_build(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 5 << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(RuntimeError, match="5 MiB are free, 256 MiB are needed"):
        EngineCache(tmp_path).load_or_build(KEY, fail)


def test_a_forgotten_engine_is_gone(tmp_path):
    cache = EngineCache(tmp_path)
    cache.load_or_build(KEY, lambda: ENGINE)
    cache.forget(KEY)
    assert cache.status(KEY) == "not built yet"


def test_the_description_can_be_read_by_people(tmp_path):
    cache = EngineCache(tmp_path)
    cache.load_or_build(KEY, lambda: ENGINE)
    content = json.loads(description_path(cache).read_text())
    assert content["key"]["compute_capability"] == "8.6"
    assert content["bytes"] == 2048


def test_the_default_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "sameo" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == Path.home() / ".cache" / "sameo" / "engines"
