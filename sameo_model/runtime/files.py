"""Write files atomically."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any


def write_whole(path: str | Path, data: bytes | str) -> None:
    """Write a file under a temporary name beside it and rename it into place.

    Args:
        path: The file to make or to replace; its folder must exist.
        data: Its content; text is written as UTF-8.
    """
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
    # A part of the name (at most 240 bytes), as the whole one may be as long as the disk takes.
    temporary = path.with_name(f".{path.name[:60]}.{os.urandom(4).hex()}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Write JSON whole or not at all, and the folder where it is missing.

    Args:
        indent: Spaces of each level, for files that people read; None writes one line.

    Raises:
        ValueError: If a number is NaN or infinite, which JSON does not know.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    separators = (",", ":") if indent is None else None
    text = json.dumps(content, indent=indent, separators=separators, allow_nan=False)
    write_whole(path, text + "\n")


def nearest_existing(path: Path) -> Path:
    """Return a path, or the first one above it that exists."""
    return next(one for one in (path, *path.parents) if one.exists())


def check_no_file_in_the_way(folder: Path, name: str) -> None:
    """Refuse a folder for results that cannot be made, as it or one above it is a file.

    Args:
        name: What the user calls the folder.

    Raises:
        ValueError: If that is so.
    """
    path = nearest_existing(folder)
    if not path.is_dir():
        raise ValueError(f"{name} must be a folder, but {path} is a file; name another")


def check_output_folder(output: Path, images: Path) -> None:
    """Refuse to write results into the folder of the images.

    Raises:
        ValueError: If both are one folder.
    """
    if output.resolve() == images.resolve():
        raise ValueError(
            f"--output must be another folder than that of the images, got {output} for both; "
            "results there would replace images or be read as such the next time"
        )


class ResultsFile:
    """A JSON list that grows on disk while its records come; the file is whole at any time.

    It is written anew with each addition, less often where that would take more than a twentieth
    of the time, and on the way out, after an error too. Use it as a context manager.
    """

    def __init__(self, path: Path) -> None:
        """Take the place of the file, which appears with the first addition."""
        self.path = path
        self._texts: list[str] = []
        self._has_news = False
        self._next_write_s = 0.0

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what is not on disk yet; without an error the file is there in any case."""
        if self._has_news or error_type is None:
            self._write()

    def add(self, records: Sequence[Any]) -> None:
        """Append records, which may be none."""
        self._texts += [json.dumps(record) for record in records]
        self._has_news = True
        if time.monotonic() >= self._next_write_s:
            self._write()

    def _write(self) -> None:
        started_s = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, "[" + ",\n".join(self._texts) + "]\n")
        ended_s = time.monotonic()
        self._has_news = False
        self._next_write_s = ended_s + 20 * (ended_s - started_s)
