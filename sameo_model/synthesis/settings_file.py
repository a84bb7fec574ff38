"""Settings of a synthesis from a YAML file and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

Settings = TypeVar("Settings")


def load_settings(
    path: Path | None, defaults: Settings, *, options: Sequence[str] = ()
) -> Settings:
    """Replace some fields of a settings dataclass by what a YAML file says.

    Args:
        path: File with the fields' names as keys, nested for nested settings; None changes nothing.
        defaults: Settings to change.
        options: Fields that the command line sets, which the file therefore may not.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not YAML, a key is unknown, or a value of another type.
    """
    if path is None:
        return defaults
    if not path.is_file():
        raise FileNotFoundError(f"settings must lie at {path}, but there is no such file")
    try:
        content = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"settings {path} must be YAML, but are not: {reason}") from error
    for name in options:
        if isinstance(content, Mapping) and name in content:
            raise ValueError(f"{path} may not have {name}: it is an option of the command line")
    return _replace_fields(defaults, {} if content is None else content, str(path))


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


def _replace_fields(defaults: Settings, content: Mapping[str, Any], place: str) -> Settings:
    known = {field.name for field in fields(defaults)}  # type: ignore[arg-type]
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{place} must hold names and values ({', '.join(sorted(known))}), got {content!r}"
        )
    unknown = sorted(str(key) for key in set(content) - known)
    if unknown:
        raise ValueError(
            f"{place} may have the keys {', '.join(sorted(known))}, got {', '.join(unknown)}"
        )
    changes = {}
    for key, value in content.items():
        current = getattr(defaults, key)
        changes[key] = (
            _replace_fields(current, value, f"{place}: {key}")
            if is_dataclass(current)
            else _check_value(current, value, f"{place}: {key}")
        )
    return replace(defaults, **changes)  # type: ignore[type-var]


def _check_value(current: Any, value: Any, place: str) -> Any:
    """Return the value if it is of the default's type; whole numbers pass for fractions."""
    if isinstance(current, float) and type(value) is int:
        return float(value)
    if type(value) is not type(current) or value != value:  # NaN is unlike itself
        raise ValueError(f"{place} must be of type {type(current).__name__}, got {value!r}")
    return value
