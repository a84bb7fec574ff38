"""The file that was probably meant where an image is missing."""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from pathlib import Path


def hint_of_similar_name(path: Path) -> str:
    """Say that a file differs from a missing one in case or Unicode form alone; "" if none does."""
    name = _names_in(path.parent).get(_key(path.name))
    return f"{name} is there, in another case or Unicode form; rename it" if name else ""


@lru_cache(maxsize=16)
def _names_in(folder: Path) -> dict[str, str]:
    try:
        return {_key(name): name for name in os.listdir(folder)}
    except OSError:
        return {}


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
