"""Numbers on command lines."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole_number(smallest: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `smallest` on, for argparse."""

    def read(text: str) -> int:
        if not text.lstrip("-").isdigit() or int(text) < smallest:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {smallest}, got {text!r}"
            )
        return int(text)

    return read
