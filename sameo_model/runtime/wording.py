"""Numbers in sentences for people."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return "1 image", "2 images", "1,000 images"; the noun's plural must end in s."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
