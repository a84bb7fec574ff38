"""Read training configurations: YAML files and overrides, every problem reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sameo_model.data.settings import build_settings, read_yaml
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
    values = read_yaml(Path(path))
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
    config = build_settings(TrainConfig, values, source)
    if problems := find_problems(config):
        raise ValueError(f"{source} cannot be used: " + "; ".join(problems))
    return config


def _parse_value(override: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the value in {override!r} must be YAML, {reason}") from error


def _set_nested(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for depth, key in enumerate(keys[:-1]):
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ValueError(
                f"{'.'.join(keys[: depth + 1])} holds no keys, so {'.'.join(keys)} cannot be set"
            )
    values[keys[-1]] = value
