"""Which steps were done from which inputs, so that a second run does only what changed."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path


def hash_files(paths: Iterable[Path], *extra: str) -> str:
    """Return the SHA-256 of the names and contents of files, and of some more text.

    Args:
        paths: Files, and folders that stand for every file below them.
        extra: Text that the result depends on as well.
    """
    digest = hashlib.sha256()
    for text in extra:
        digest.update(f"{text}\0".encode())
    for path in sorted(_files_below(paths)):
        digest.update(f"{path.name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files_below(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += [p for p in path.rglob("*") if p.is_file() and p.suffix != ".pyc"]
        else:
            files.append(path)
    return files


class Stamp:
    """The record of finished steps, kept in the environment's folder."""

    def __init__(self, path: Path) -> None:
        """Name the record's file and read it."""
        self._path = path
        self.read()

    def read(self) -> None:
        """Read what is on the disk; a missing or unreadable record counts as empty."""
        try:
            self._done: dict[str, str] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            self._done = {}

    def is_done(self, step: str, key: str) -> bool:
        """Tell whether a step was finished with just these inputs."""
        return self._done.get(step) == key

    def begin(self, step: str) -> None:
        """Forget a step before it starts, so that an interrupted run repeats it."""
        if self._done.pop(step, None) is not None:
            self._write()

    def finish(self, step: str, key: str) -> None:
        """Note that a step was finished with these inputs."""
        self._done[step] = key
        self._write()

    def _write(self) -> None:
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._done, indent=2) + "\n")
        os.replace(temporary, self._path)
