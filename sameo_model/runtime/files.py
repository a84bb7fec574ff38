"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: str | Path, data: bytes | str) -> None:
    """Write a file under a temporary name beside it and rename it into place.

    Args:
        path: The file to make or to replace; its folder must exist.
        data: Its content; text is written as UTF-8.
    """
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
    number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
