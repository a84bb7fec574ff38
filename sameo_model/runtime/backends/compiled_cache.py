"""Compiled models of CPU backends on disk, each in a folder whose name follows from its key.

They lie beside the engines of TensorRT and, like these, are good only for what their key says.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sameo_model.runtime.backends.engine_cache import default_cache_dir
from sameo_model.runtime.bundle import Bundle
from sameo_model.runtime.files import write_whole

_LOGGER = logging.getLogger(__name__)

KEEP = 8
KEY_NAME = "key.json"
LOCK_NAME = "compiled.lock"
MIN_FREE_BYTES = 256 << 20


@dataclass(frozen=True)
class CompiledKey:
    """Everything that compiled graphs depend on.

    Attributes:
        bundle_sha256: SHA-256 over the names and checksums of the bundle's files.
        library: Such as `openvino`.
        version: Full version of it.
        processor: Model and extensions of the processor.
        precision: Precision of the computation.
        settings: Other settings, such as threads.
    """

    bundle_sha256: str
    library: str
    version: str
    processor: str
    precision: str
    settings: str

    @property
    def folder_name(self) -> str:
        """Name of the folder in a cache."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.library}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def bundle_digest(bundle: Bundle) -> str:
    """Return the SHA-256 over the names and checksums of a bundle's files, in hexadecimal."""
    return hashlib.sha256(json.dumps(bundle.info.files, sort_keys=True).encode()).hexdigest()


def describe_processor() -> str:
    """Return model and extensions of this processor; empty where Linux does not tell."""
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
        lines = [line for line in first.splitlines() if line.startswith(("model name", "flags"))]
        return " ".join(" ".join(line.split()) for line in lines)
    return ""


@contextmanager
def open_folder(key: CompiledKey, cache_dir: Path | None) -> Iterator[Path | None]:
    """Yield the folder of a key, made if need be, while no other process is in it.

    Args:
        key: What the compiled graphs depend on.
        cache_dir: Folder of the cache; None is that of this user's engines.

    Yields:
        The folder; None, with a warning in the log, where none can be written.
    """
    root = cache_dir or default_cache_dir()
    folder = root / key.folder_name
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
            if free < MIN_FREE_BYTES:
                raise OSError(f"{free >> 20} MiB are free, {MIN_FREE_BYTES >> 20} MiB are needed")
            lock = stack.enter_context(open(folder / LOCK_NAME, "a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            _LOGGER.warning("compiled models are not kept in %s: %s", root, error.strerror or error)
            yield None
            return
        if not (folder / KEY_NAME).exists():
            with suppress(OSError):
                write_whole(folder / KEY_NAME, json.dumps(asdict(key), indent=2) + "\n")
                _prune(folder, key.library)
        with suppress(OSError):
            os.utime(folder)
        yield folder


def _prune(newest: Path, library: str) -> None:
    """Delete the least recently used folders beyond `KEEP`."""
    others = [p for p in newest.parent.glob(f"{library}-*") if p.is_dir() and p != newest]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEEP - 1 :]:
        _LOGGER.info("deleting the old compiled models %s", path)
        shutil.rmtree(path, ignore_errors=True)
