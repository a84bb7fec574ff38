"""Write JSON files that are complete or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sameo_model.runtime.files import write_whole


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Write JSON so that the file is complete or absent.

    Args:
        indent: Spaces of each level, for files that people read; None writes one line.
    """
    separators = (",", ":") if indent is None else None
    write_whole(path, json.dumps(content, indent=indent, separators=separators) + "\n")
