"""Time stamps as whole nanoseconds."""

from __future__ import annotations

from typing import Any

NANOSECONDS = 1_000_000_000


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time as whole nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)
