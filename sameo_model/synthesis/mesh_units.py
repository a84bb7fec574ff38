"""In which unit a folder's meshes are: files rarely say, and a person's files agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNITS_M = {"m": 1.0, "mm": 0.001, "cm": 0.01, "inch": 0.0254}
RESCALED = "rescaled"
TOLERANCE = 3.0  # by which a size may lie outside the plausible range and still be believed


def guess_unit(longest: float, size_range_m: tuple[float, float]) -> tuple[str, float]:
    """Return the unit that a lone file is taken to be in and its length in metres.

    The first of metre, millimetre, centimetre and inch that makes the longest side plausible; if
    none does, the object is brought to the geometric middle of the range ("rescaled").

    Args:
        longest: The longest side in the file's unit.
        size_range_m: Plausible longest sides in metres.
    """
    low, high = size_range_m
    for unit, factor in UNITS_M.items():
        if low <= longest * factor <= high:
            return unit, factor
    return RESCALED, float(np.sqrt(low * high)) / longest


def choose_unit(longest: Sequence[float], size_range_m: tuple[float, float]) -> str | None:
    """Return the unit in which most files of a folder have a plausible size.

    Args:
        longest: The longest side of each object in its file's unit.
        size_range_m: Plausible longest sides in metres.

    Returns:
        The first of metre, millimetre, centimetre and inch with the most files; None if no file is
        plausible in any of them.
    """
    low, high = size_range_m
    counts = {
        unit: sum(low <= side * factor <= high for side in longest)
        for unit, factor in UNITS_M.items()
    }
    best = max(counts, key=lambda unit: counts[unit])
    return best if counts[best] else None


def unit_of(
    longest: float,
    size_range_m: tuple[float, float],
    folder_unit: str | None = None,
    *,
    is_given: bool = False,
) -> tuple[str, float, list[str]]:
    """Return an object's unit, its length in metres, and what is odd about it.

    Args:
        longest: The longest side in the file's unit.
        size_range_m: Plausible longest sides in metres.
        folder_unit: Unit of the folder; None guesses from this file alone.
        is_given: Whether the user named it, so that no other is taken.

    Raises:
        ValueError: If the given unit makes a size that no scene holds.
    """
    low, high = size_range_m
    if folder_unit is not None:
        size_m = longest * UNITS_M[folder_unit]
        if low <= size_m <= high:
            return folder_unit, UNITS_M[folder_unit], []
        if low / TOLERANCE <= size_m <= high * TOLERANCE:
            note = f"{_text(size_m)} long, outside the plausible sizes"
            return folder_unit, UNITS_M[folder_unit], [note]
        if is_given:
            raise ValueError(
                f"would be {_text(size_m)} long, which no scene holds; correct --unit or "
                f"--mesh-size, or leave the file out"
            )
    unit, factor = guess_unit(longest, size_range_m)
    if unit == RESCALED:
        return unit, factor, ["size not plausible in any unit: rescaled"]
    if folder_unit is not None:
        return unit, factor, [f"not in {folder_unit} as the other files: taken in {unit}"]
    return unit, factor, ["taken in inch"] if unit == "inch" else []


def _text(size_m: float) -> str:
    return f"{size_m * 100:.3g} cm" if size_m < 1 else f"{size_m:.3g} m"
