"""Quality control (paper section 3.2): named rules that leave instances out, and their report."""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from sameo_model.data.index import IndexedDataset
from sameo_model.data.index_format import InstanceFlag


class Rule(ABC):
    """A condition that instances must meet to stay; `name` is its name in configurations."""

    name: ClassVar[str]

    @abstractmethod
    def keep(self, dataset: IndexedDataset) -> np.ndarray:
        """Return bool (R,), True for rows of the instance table that meet the condition."""


@dataclass(frozen=True)
class MinVisibleShare(Rule):
    """The visible part is at least `value` of the whole object."""

    value: float
    name: ClassVar[str] = "min_visible_share"

    def keep(self, dataset: IndexedDataset) -> np.ndarray:
        """Compare areas; where one of them is unknown the instance stays."""
        table = dataset.instance_table
        return ~(_divide(table["visible_area"], table["amodal_area"], dataset) < self.value)


@dataclass(frozen=True)
class MaxOcclusionRate(Rule):
    """At most `value` of the object is hidden; against composites stacked beyond recognition."""

    value: float
    name: ClassVar[str] = "max_occlusion_rate"

    def keep(self, dataset: IndexedDataset) -> np.ndarray:
        """Compare areas; where one of them is unknown the instance stays."""
        table = dataset.instance_table
        hidden = table["amodal_area"] - table["visible_area"]
        return ~(_divide(hidden, table["amodal_area"], dataset) > self.value)


@dataclass(frozen=True)
class MaxImageShare(Rule):
    """The whole object covers at most `value` of the image."""

    value: float
    name: ClassVar[str] = "max_image_share"

    def keep(self, dataset: IndexedDataset) -> np.ndarray:
        """Compare the amodal area (in modal sets the visible area) with the image's."""
        table = dataset.instance_table
        image_hw = dataset.image_table["image_hw"][table["image_row"]].astype(np.int64)
        has_amodal = (table["flags"] & InstanceFlag.HAS_AMODAL) != 0
        area = np.where(has_amodal, table["amodal_area"], table["visible_area"])
        return area / image_hw.prod(axis=1) <= self.value


@dataclass(frozen=True)
class ExcludeCategories(Rule):
    """The class name matches none of `patterns`, in which `*` stands for any text."""

    patterns: tuple[str, ...]
    name: ClassVar[str] = "exclude_categories"

    def keep(self, dataset: IndexedDataset) -> np.ndarray:
        """Compare names without regard to case and to blanks at the ends."""
        patterns = [pattern.lower() for pattern in self.patterns]
        excluded = [
            any(fnmatch.fnmatchcase(name.strip().lower(), pattern) for pattern in patterns)
            for name in dataset.category_names()
        ]
        return ~np.array(excluded, dtype=bool)[dataset.instance_table["category"]]


@dataclass(frozen=True)
class ExcludeStuff(Rule):
    """The source does not mark the instance as stuff."""

    name: ClassVar[str] = "exclude_stuff"

    def keep(self, dataset: IndexedDataset) -> np.ndarray:
        """Look at the mark."""
        return (dataset.instance_table["flags"] & InstanceFlag.IS_STUFF) == 0


RULES: Mapping[str, type[Rule]] = {
    rule.name: rule
    for rule in (MinVisibleShare, MaxOcclusionRate, MaxImageShare, ExcludeCategories, ExcludeStuff)
}


def rule_from_config(entry: Mapping[str, Any]) -> Rule:
    """Make a rule from `{rule: NAME, option: ...}`.

    Raises:
        ValueError: If the rule or an option is unknown or missing.
    """
    options = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in entry.items()
        if key != "rule"
    }
    name = str(entry.get("rule"))
    if name not in RULES:
        raise ValueError(f"rule must be one of {', '.join(sorted(RULES))}, got {name!r}")
    known = {field.name for field in fields(RULES[name])}  # type: ignore[arg-type]
    if set(options) != known:
        raise ValueError(
            f"rule {name} must have the options {sorted(known)}, got {sorted(options)}"
        )
    return RULES[name](**options)


@dataclass(frozen=True)
class Removal:
    """What one rule did.
    """

    rule: str  # name of the rule
    options: Mapping[str, Any]
    num_removed: int  # instances that it left out of those which earlier rules kept


def apply_rules(
    dataset: IndexedDataset, rules: Sequence[Rule]
) -> tuple[IndexedDataset, list[Removal]]:
    """Leave out what the rules object to, and images that show no instance any more.

    Args:
        rules: Applied in this order, so that an instance counts for the first rule it breaks.

    Returns:
        The remaining view, and how many instances each rule removed.
    """
    report = []
    for rule in rules:
        before = int(dataset.shown_instances().sum())
        dataset = dataset.select(rule.keep(dataset))
        removed = before - int(dataset.shown_instances().sum())
        report.append(Removal(rule.name, asdict(rule), removed))  # type: ignore[call-overload]
    return dataset.select(dataset.keep, drop_empty=True), report


def _divide(part: np.ndarray, whole: np.ndarray, dataset: IndexedDataset) -> np.ndarray:
    """Divide areas; NaN where the amodal or the visible mask is not known."""
    both = InstanceFlag.HAS_AMODAL | InstanceFlag.HAS_VISIBLE
    is_known = (dataset.instance_table["flags"] & both) == both
    return np.divide(part, whole, where=is_known, out=np.full(len(part), np.nan))
