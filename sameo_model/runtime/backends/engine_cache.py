"""Engines on disk: found by key, written whole, built once at a time, pruned when old.

An engine is good for one model, one TensorRT version and one GPU. Each engine file therefore has
a description beside it, `<name>.engine.json`, and is used only if that agrees in every point.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sameo_model.runtime.files import write_whole

_LOGGER = logging.getLogger(__name__)

FORMAT = 1
KEEP = 16
# An engine is about as large as its weights in float32; half of these were stored as float16.
MIN_FREE_BYTES = 256 << 20
LOCK_NAME = "build.lock"
LOCK_REPORT_S = 10.0
LOCK_POLL_S = 0.2


@dataclass(frozen=True)
class EngineKey:
    """Everything that an engine depends on.

    Attributes:
        graph: Name of the graph, such as `mask_decoder`.
        onnx_sha256: SHA-256 over the graph and its weights.
        flavour: `tensorrt` or `tensorrt-rtx`.
        version: Full version of it.
        gpu: Name of the GPU; for TensorRT for RTX, whose engines serve every GPU of a compute
            capability, `any`.
        compute_capability: Such as `8.6`.
        precision: Precision of the typed graph.
        shape_profile: Such as `boxes 1/8/64`.
        settings: Other settings of the build.
    """

    graph: str
    onnx_sha256: str
    flavour: str
    version: str
    gpu: str
    compute_capability: str
    precision: str
    shape_profile: str
    settings: str

    @property
    def digest(self) -> str:
        """SHA-256 of the key in hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """Name of the engine's file in a cache."""
        return f"{self.graph}-{self.digest[:16]}.engine"


class EngineCache:
    """A folder of engines."""

    def __init__(self, folder: str | Path, *, keep: int = KEEP) -> None:
        """Name the folder; it is made when the first engine is stored.

        Args:
            folder: The folder.
            keep: How many engines to keep; the least recently used beyond that are deleted.
        """
        self.folder = Path(folder)
        self.keep = keep

    def load(self, key: EngineKey) -> bytes | None:
        """Return the engine of a key, or None if there is none that may be used."""
        data, reasons = self._read(key)
        for reason in reasons:
            _LOGGER.warning("%s; it is not used", reason)
        return data

    def status(self, key: EngineKey) -> str:
        """Describe whether there is an engine for a key, and if not, why not."""
        data, reasons = self._read(key)
        if data is not None:
            return f"ready ({len(data) / 1e6:.0f} MB)"
        return "; ".join(reasons) or "not built yet"

    def last_build_s(self, graph: str) -> float | None:
        """Return how long the newest engine of a graph took to build, seconds, if any is here."""
        times = []
        for path in self.folder.glob(f"{graph}*.engine.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                times.append((path.stat().st_mtime, float(_read_json(path)["build_s"])))
        return max(times)[1] if times else None

    def load_or_build(self, key: EngineKey, build: Callable[[], bytes]) -> tuple[bytes, bool]:
        """Return the engine of a key, building and storing it if need be.

        While one process builds, others wait and then take its engine.

        Args:
            key: What the engine depends on.
            build: Makes the engine.

        Returns:
            The engine, and whether it was built just now.

        Raises:
            RuntimeError: If the engine cannot be stored; the message says why.
        """
        if (data := self.load(key)) is not None:
            return data, False
        with self._lock():
            if (data := self.load(key)) is not None:
                return data, False
            with self._writing():
                self._remove_leftovers()
                self._check_room()
            started = time.monotonic()
            data = build()
            with self._writing():
                self._store(key, data, time.monotonic() - started)
                self._prune(key)
        return data, True

    def store(self, key: EngineKey, data: bytes, build_s: float, name: str) -> None:
        """Write an engine under a name of one's own, for a folder that is handed on.

        Args:
            key: What the engine depends on.
            data: The engine.
            build_s: How long the build took, seconds.
            name: File name without its ending; `load` finds the name of the key's graph.
        """
        with self._writing():
            self._store(key, data, build_s, f"{name}.engine")

    def forget(self, key: EngineKey) -> None:
        """Delete the engine of a key, because it failed its check."""
        _delete(self.folder / key.file_name)

    def _read(self, key: EngineKey) -> tuple[bytes | None, list[str]]:
        reasons = []
        for name in (key.file_name, f"{key.graph}.engine"):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                data = _read_checked(path, key)
            except (OSError, ValueError) as error:
                reasons.append(str(error))
                continue
            with suppress(OSError):
                os.utime(path)
            return data, reasons
        return None, reasons

    def _store(self, key: EngineKey, data: bytes, build_s: float, name: str | None = None) -> None:
        path = self.folder / (name or key.file_name)
        description = {
            "format": FORMAT,
            "key": asdict(key),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "build_s": round(build_s, 1),
        }
        # The description comes last: an engine without one does not count.
        _description(path).unlink(missing_ok=True)
        write_whole(path, data)
        write_whole(_description(path), json.dumps(description, indent=2) + "\n")

    def _prune(self, newest: EngineKey) -> None:
        paths = [p for p in self.folder.glob("*-*.engine") if p.name != newest.file_name]
        paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in paths[max(self.keep - 1, 0) :]:
            _LOGGER.info("deleting the old engine %s", path)
            _delete(path)

    def _remove_leftovers(self) -> None:
        """Delete the files of killed builds; the caller holds the lock, so no build is running."""
        for path in self.folder.glob(".*.engine.*"):
            path.unlink(missing_ok=True)
        for path in self.folder.glob("*-*.engine"):
            if not _description(path).exists():
                path.unlink(missing_ok=True)

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < MIN_FREE_BYTES:
            raise OSError(
                f"{free >> 20} MiB are free, {MIN_FREE_BYTES >> 20} MiB are needed for engines"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise RuntimeError(
                f"engine cache {self.folder} must be a folder with room that can be written to, "
                f"but: {error.strerror or error}; free space there or choose another cache_dir"
            ) from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the folder's lock, which the kernel frees when a process dies, however it dies."""
        with self._writing():
            file = open(self.folder / LOCK_NAME, "a")  # noqa: SIM115 - closed below
        with file:
            waited = 0.0
            while not _try_lock(file.fileno()):
                if waited % LOCK_REPORT_S < LOCK_POLL_S:
                    _LOGGER.info(
                        "another process builds an engine in %s; waited %.0f s", self.folder, waited
                    )
                time.sleep(LOCK_POLL_S)
                waited += LOCK_POLL_S
            yield


def default_cache_dir() -> Path:
    """Return the folder for engines of this user, `~/.cache/sameo/engines` unless XDG differs."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "sameo" / "engines"


def _try_lock(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_checked(path: Path, wanted: EngineKey) -> bytes:
    """Return an engine that is whole and has the wanted key; say what is wrong with any other."""
    if not _description(path).exists():
        raise ValueError(f"engine {path} has no description beside it, so that its origin is open")
    description = _read_json(_description(path))
    found = _key_of(description, path)
    if differences := _differences(found, wanted):
        raise ValueError(f"engine {path} was built for {differences}")
    data = path.read_bytes()
    if len(data) != description.get("bytes"):
        raise ValueError(
            f"engine {path} is truncated: it has {len(data)} of {description.get('bytes')} bytes"
        )
    if hashlib.sha256(data).hexdigest() != description.get("sha256"):
        raise ValueError(f"engine {path} is damaged: its SHA-256 is not the one of its build")
    return data


def _differences(found: EngineKey, wanted: EngineKey) -> str:
    return ", ".join(
        f"{field.name} {getattr(found, field.name)} instead of {getattr(wanted, field.name)}"
        for field in fields(EngineKey)
        if getattr(found, field.name) != getattr(wanted, field.name)
    )


def _key_of(description: dict[str, Any], path: Path) -> EngineKey:
    try:
        if description["format"] != FORMAT:
            raise KeyError("format")
        return EngineKey(**description["key"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"description of engine {path} has another format") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"description {path} is damaged ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"description {path} is damaged: it holds no JSON object")
    return content


def _description(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _delete(path: Path) -> None:
    _description(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
