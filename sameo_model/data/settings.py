"""Build dataclasses of settings from plain values; every problem is named at once."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml

Settings = TypeVar("Settings")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys with values; an empty file has none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not YAML, or holds something else than keys.
    """
    if not path.is_file():
        raise FileNotFoundError(f"settings must lie at {path}, but are not there; see config/")
    try:
        values = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be YAML, {' '.join(str(error).split())}") from error
    if not isinstance(values, dict | None):
        raise ValueError(f"{path} must hold keys with values, got {values!r}")
    return values or {}


def build_settings(kind: type[Settings], values: dict[str, Any], source: str) -> Settings:
    """Build a dataclass from nested plain values; the inverse of `dataclasses.asdict`.

    Args:
        kind: A dataclass of numbers, texts, lists of these, and further dataclasses.
        values: Values by field. Whole numbers pass for fractions.

    Raises:
        ValueError: If keys are unknown or missing, or values ill-typed or refused by the class.
    """
    problems: list[str] = []
    settings = _build(kind, kind, values, "", problems)
    if problems:
        raise ValueError(f"{source} cannot be used: " + "; ".join(problems))
    return typing.cast(Settings, settings)


def _build(root: type, kind: type, values: Any, prefix: str, problems: list[str]) -> Any:
    if not isinstance(values, dict):
        problems.append(f"{prefix.rstrip('.')} must hold keys, got {values!r}")
        return None
    hints = typing.get_type_hints(kind)
    known, num_before = {}, len(problems)
    for key, value in values.items():
        if key in hints:
            known[key] = _convert(root, hints[key], value, f"{prefix}{key}", problems)
        else:
            near = _nearest_name(str(key), root, kind, prefix)
            hint = f", did you mean {near}?" if near else f"; known: {', '.join(hints)}"
            problems.append(f"unknown key {prefix}{key}{hint}")
    problems += [
        f"{prefix}{field.name} is missing"
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING and field.name not in known
    ]
    if len(problems) > num_before:
        return None
    try:
        return kind(**known)
    except ValueError as error:
        problems.append(f"{prefix}{error}")
        return None


def _nearest_name(key: str, root: type, kind: type, prefix: str) -> str | None:
    """Return the same key of another group, else the most similar one of this or any group."""
    everywhere = {
        name: f"{group}.{name}"
        for group, hint in typing.get_type_hints(root).items()
        if dataclasses.is_dataclass(hint)
        for name in typing.get_type_hints(hint)
    }
    everywhere |= {name: name for name in typing.get_type_hints(root)}
    here = {name: f"{prefix}{name}" for name in typing.get_type_hints(kind)}
    for names, cutoff in ((everywhere, 1.0), (here, 0.6), (everywhere, 0.6)):
        found = difflib.get_close_matches(key, names, n=1, cutoff=cutoff)
        if found:
            return names[found[0]]
    return None


def _convert(root: type, hint: Any, value: Any, key: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(root, typing.cast(type, hint), value, f"{key}.", problems)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            problems.append(f"{key} must be one of {', '.join(get_args(hint))}, got {value!r}")
        return value
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if not isinstance(value, (list, tuple)):
            problems.append(f"{key} must be a list, got {value!r}")
            return ()
        if Ellipsis not in get_args(hint) and len(value) != len(get_args(hint)):
            problems.append(f"{key} must be a list of {len(get_args(hint))}, got {value!r}")
            return ()
        return tuple(_convert(root, item, v, f"{key}[{i}]", problems) for i, v in enumerate(value))
    allowed = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in allowed and isinstance(value, str):
        value = _float_or_same(value)  # YAML reads 1e-4 as text
    if float in allowed and type(value) is int:
        value = float(value)
    if type(value) not in allowed or value != value:  # NaN is unlike itself
        names = " or ".join(kind.__name__ for kind in allowed)
        problems.append(f"{key} must be {names}, got {value!r}")
    return value


def _float_or_same(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
