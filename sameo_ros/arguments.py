"""Types of command line arguments."""

from __future__ import annotations

import argparse
import math


def count(text: str) -> int:
    """Parse a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text}")
    return int(text)


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    value = not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def not_negative(text: str) -> float:
    """Parse a finite number that is not below 0."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number, got {text}") from error
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"must not be below 0 or infinite, got {text}")
    return value
