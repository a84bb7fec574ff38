"""Settings of a synthesis from a YAML file and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from sameo_model.data.settings import build_settings, read_yaml

Settings = TypeVar("Settings")


def load_settings(
    path: Path | None, defaults: Settings, *, options: Sequence[str] = ()
) -> Settings:
    """Replace some fields of a settings dataclass by what a YAML file says.

    Args:
        path: File with the fields' names as keys, nested for nested settings; None changes nothing.
        options: Fields that the command line sets, which the file therefore may not.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not YAML, a key is unknown, or a value of another type.
    """
    if path is None:
        return defaults
    content = read_yaml(path)
    for name in options:
        if name in content:
            raise ValueError(f"{path} may not have {name}: it is an option of the command line")
    return build_settings(type(defaults), _merge(asdict(defaults), content), str(path))  # type: ignore[call-overload]


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width in pixels from what `--image-size` got, such as "640x480".

    Raises:
        ValueError: If it is no width and height of at least 64 pixels.
    """
    try:
        width, height = (int(side) for side in text.split("x"))
    except ValueError as error:
        raise ValueError(f"--image-size must look like 640x480, got '{text}'") from error
    if not (64 <= width <= 8192 and 64 <= height <= 8192):
        raise ValueError(f"--image-size must have sides of 64 to 8192 pixels, got {text}")
    return height, width


def _merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with changes; a key without a group of that name stays as it is."""
    merged = dict(values)
    for key, value in changes.items():
        is_group = isinstance(value, dict) and isinstance(values.get(key), dict)
        merged[key] = _merge(values[key], value) if is_group else value
    return merged
