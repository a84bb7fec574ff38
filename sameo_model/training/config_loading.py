"""Read training configurations: YAML files and overrides, every problem reported at once."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from sameo_model.training.config import TrainConfig, find_problems


def load_config(path: str | Path, overrides: list[str] | None = None) -> TrainConfig:
    """Read a training configuration.

    Args:
        path: YAML file whose keys are the fields of `TrainConfig`.
        overrides: `key=value` pairs, nested keys with dots (`optimiser.lr=3e-4`), values in YAML.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If keys are unknown or values ill-typed; every problem is named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}; see config/train for examples")
    try:
        values = yaml.safe_load(path.read_bytes()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be YAML, {_in_one_line(error)}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold keys with values, got {type(values).__name__}")
    for override in overrides or []:
        key, sign, value = override.partition("=")
        if not sign:
            raise ValueError(f"an override must look like key=value, got {override!r}")
        _set_nested(values, key.strip().split("."), _parse_value(override, value))
    return config_from_dict(values, source=str(path))


def config_from_dict(values: dict[str, Any], source: str = "the configuration") -> TrainConfig:
    """Build a `TrainConfig` from nested plain values; the inverse of `dataclasses.asdict`.

    Raises:
        ValueError: If keys are unknown or values ill-typed; every problem is named.
    """
    problems: list[str] = []
    config = _build(TrainConfig, values, "", problems)
    if not problems:
        problems += find_problems(config)
    if problems:
        raise ValueError(f"{source} cannot be used: " + "; ".join(problems))
    return typing.cast(TrainConfig, config)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _parse_value(override: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(
            f"the value in {override!r} must be YAML, {_in_one_line(error)}"
        ) from error


def _set_nested(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for depth, key in enumerate(keys[:-1]):
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ValueError(
                f"{'.'.join(keys[: depth + 1])} holds no keys, so {'.'.join(keys)} cannot be set"
            )
    values[keys[-1]] = value


def _build(kind: type, values: Any, prefix: str, problems: list[str]) -> Any:
    if not isinstance(values, dict):
        problems.append(f"{prefix.rstrip('.') or 'the file'} must hold keys, got {values!r}")
        return None
    hints = typing.get_type_hints(kind)
    known = {}
    for key, value in values.items():
        if key in hints:
            known[key] = _convert(hints[key], value, f"{prefix}{key}", problems)
        else:
            near = _nearest_name(str(key), kind, prefix)
            hint = f", did you mean {near}?" if near else f"; known: {', '.join(hints)}"
            problems.append(f"unknown key {prefix}{key}{hint}")
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is f.default_factory is dataclasses.MISSING and f.name not in known
    ]
    problems += [f"{prefix}{name} is missing" for name in missing]
    return None if missing else kind(**known)


def _nearest_name(key: str, kind: type, prefix: str) -> str | None:
    """Return the same key of another group, else the most similar one of this or any group."""
    everywhere = {
        name: f"{group}.{name}"
        for group, hint in typing.get_type_hints(TrainConfig).items()
        if dataclasses.is_dataclass(hint)
        for name in typing.get_type_hints(hint)
    }
    everywhere |= {name: name for name in typing.get_type_hints(TrainConfig)}
    here = {name: f"{prefix}{name}" for name in typing.get_type_hints(kind)}
    for names, cutoff in ((everywhere, 1.0), (here, 0.6), (everywhere, 0.6)):
        found = difflib.get_close_matches(key, names, n=1, cutoff=cutoff)
        if found:
            return names[found[0]]
    return None


def _convert(hint: Any, value: Any, key: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, f"{key}.", problems)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            problems.append(f"{key} must be one of {', '.join(get_args(hint))}, got {value!r}")
        return value
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if not isinstance(value, (list, tuple)):
            problems.append(f"{key} must be a list, got {value!r}")
            return ()
        return tuple(_convert(item, v, f"{key}[{i}]", problems) for i, v in enumerate(value))
    allowed = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in allowed and isinstance(value, str):
        value = _float_or_same(value)  # YAML reads 1e-4 as text
    if float in allowed and type(value) is int:
        value = float(value)
    if type(value) not in allowed:
        names = " or ".join(kind.__name__ for kind in allowed)
        problems.append(f"{key} must be {names}, got {value!r}")
    return value


def _float_or_same(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
