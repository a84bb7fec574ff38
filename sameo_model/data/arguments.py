"""Numbers and names of files on command lines."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path


def whole_number(smallest: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `smallest` on, for argparse."""

    def read(text: str) -> int:
        if not text.lstrip("-").isdigit() or int(text) < smallest:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {smallest}, got {text!r}"
            )
        return int(text)

    return read


def share(text: str) -> float:
    """Read a number from 0 to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie from 0 to 1, got {text!r}")
    return value


def file_name(*suffixes: str) -> Callable[[str], Path]:
    """Return a reader of file names that end in one of some suffixes, for argparse."""

    def read(text: str) -> Path:
        if Path(text).suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"must end in {' or '.join(suffixes)}, got {text!r}")
        return Path(text)

    return read
