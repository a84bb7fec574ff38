"""Find the index of a data set in the cache, or build it there."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sameo_model.data.index import IndexedDataset
from sameo_model.data.index_build import build_index
from sameo_model.data.index_format import FORMAT_VERSION, META_FILE, load_tables
from sameo_model.data.source import Source

_LOGGER = logging.getLogger(__name__)

# Sources of at most this size are read each time, which takes some seconds at most.
UNCACHED_BYTES = 16 << 20


def cache_folder() -> Path:
    """Return where indices are kept: `$SAMEO_CACHE`, or `sameo` in the user's cache folder."""
    if configured := os.environ.get("SAMEO_CACHE"):
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sameo"


def open_index(
    sources: Sequence[Source], *, workers: int = 1, progress: bool = False
) -> IndexedDataset:
    """Open the index of some sources, building it first if it is not there or out of date.

    Small sources are indexed in memory and leave nothing behind, and so are large ones, with a
    warning, where the cache cannot be written. Several processes may ask for the same index at
    once: one builds, the others wait.

    Raises:
        DatasetFormatError: If the files do not have the form that the readers know.
    """
    if _total_size(sources) <= UNCACHED_BYTES:
        return _build_in_memory(sources, workers=1, progress=progress)
    folder = cache_folder() / "index" / f"{sources[0].dataset}-{_fingerprint(sources)}"
    try:
        _keep(sources, folder, workers=workers, progress=progress)
    except OSError as error:
        _LOGGER.warning(
            "the index of %s cannot be kept in %s (%s) and is built for this run alone; make room "
            "there, or name another folder in SAMEO_CACHE",
            sources[0].dataset,
            cache_folder(),
            error,
        )
        return _build_in_memory(sources, workers=workers, progress=progress)
    return IndexedDataset(load_tables(folder))


def _build_in_memory(sources: Sequence[Source], *, workers: int, progress: bool) -> IndexedDataset:
    with tempfile.TemporaryDirectory(prefix="sameo_index.") as temporary:
        build_index(sources, Path(temporary), workers=workers, progress=progress)
        return IndexedDataset(load_tables(Path(temporary), in_memory=True))


def _keep(sources: Sequence[Source], folder: Path, *, workers: int, progress: bool) -> None:
    """Build the index in the cache unless it is there."""
    if not (folder / META_FILE).is_file():
        _check_main_is_guarded()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / META_FILE).is_file():
                _build(sources, folder, workers=workers, progress=progress)


def _check_main_is_guarded() -> None:
    """Refuse in a process that starts: it would wait for the lock of the one that started it.

    Raises:
        RuntimeError: A worker process runs the lines of the user's script again.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "a script that opens a data set must do so under `if __name__ == '__main__':`, since "
            "the processes that read it run the script's other lines again; put your lines there"
        )


def _build(sources: Sequence[Source], folder: Path, *, workers: int, progress: bool) -> None:
    # The lock is held, so whatever lies here was left by a build that was killed.
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        build_index(sources, temporary, workers=workers, progress=progress)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _total_size(sources: Sequence[Source]) -> float:
    """Return the bytes of all source files; a folder of files counts as large."""
    paths = [path for source in sources for path in source.files()]
    return sum(float("inf") if path.is_dir() else path.stat().st_size for path in paths)


def _fingerprint(sources: Sequence[Source]) -> str:
    digest = hashlib.sha256(f"format {FORMAT_VERSION}".encode())
    for source in sources:
        digest.update(f"\n{type(source).__name__} {source.dataset} {source.split}".encode())
        for path in source.files():
            digest.update(f"\n{path.resolve()} {_state(path.stat())}".encode())
            if path.is_dir():
                _add_files(digest, path)
    return digest.hexdigest()[:20]


def _add_files(digest: hashlib._Hash, folder: Path) -> None:
    # A file that is overwritten in place does not change the times of its folder.
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            digest.update(os.fsencode(entry.name) + f" {_state(entry.stat())}".encode())


def _state(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns}"
