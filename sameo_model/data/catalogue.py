"""What is known about each data set: terms, layout, Table 1 and rules of quality control."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from sameo_model.data.filters import Rule, rule_from_config

_PACKAGE = Path(__file__).resolve().parents[1]
# Beside the package in the sources, inside it when installed.
_CONFIG = _PACKAGE / "config" if (_PACKAGE / "config").is_dir() else _PACKAGE.parent / "config"
CONFIG_DIR = _CONFIG / "data"


@dataclass(frozen=True)
class Table1Row:
    """A row of the paper's Table 1; `poi` and `mean_ror` are shares in [0, 1]."""

    num_instances: int
    num_images: int
    poi: float
    mean_ror: float


@dataclass(frozen=True)
class DatasetCard:
    """One file of `config/data`."""

    name: str  # name in the registry, the file's name
    title: str  # name in the literature
    paper: str
    type: str  # "real", "synthetic" or "any"
    modalities: tuple[str, ...]  # "visible", "amodal" or both
    licence: str
    obtain: str
    layout: str  # expected files and folders, one line each
    # parts that can be asked for; empty if there are none or they depend on the copy
    splits: tuple[str, ...]
    quality_control: tuple[Rule, ...]  # rules of paper section 3.2, applied in this order
    table_1: Table1Row | None = None  # the paper's row, None for sets that it does not list


def load_card(name: str, config_dir: Path = CONFIG_DIR) -> DatasetCard:
    """Read the card of a data set.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If keys are missing or unknown, or a rule is wrong.
    """
    path = config_dir / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"data set {name} must be described in {path}, but there is no such file; name another "
            f"folder of descriptions"
        )
    content: dict[str, Any] = yaml.safe_load(path.read_bytes())
    known = {field.name for field in fields(DatasetCard)} - {"name"}
    needed = {field.name for field in fields(DatasetCard) if field.default is MISSING} - {"name"}
    if not needed <= set(content) <= known:
        raise ValueError(
            f"{path} must have the keys {', '.join(sorted(needed))} and may have "
            f"{', '.join(sorted(known - needed))}, got {', '.join(sorted(content))}"
        )
    row = content.get("table_1")
    content |= {
        "modalities": tuple(content["modalities"]),
        "splits": tuple(content["splits"]),
        "quality_control": tuple(rule_from_config(entry) for entry in content["quality_control"]),
        "table_1": Table1Row(**row) if row else None,
    }
    return DatasetCard(name=name, **content)
