"""Quality control (paper section 3.2): named rules that leave instances out, and their report."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sameo_model.data.index import IndexedDataset
from sameo_model.data.index_format import InstanceFlag


def min_visible_share(dataset: IndexedDataset, value: float) -> np.ndarray:
    """The visible part is at least `value` of the whole object, where both are known."""
    table = dataset.instance_table
    return ~(_divide(table["visible_area"], table["amodal_area"], dataset) < value)


def max_occlusion_rate(dataset: IndexedDataset, value: float) -> np.ndarray:
    """At most `value` of the object is hidden, as far as that is known.

    Composites may be stacked beyond recognition.
    """
    table = dataset.instance_table
    hidden = table["amodal_area"] - table["visible_area"]
    return ~(_divide(hidden, table["amodal_area"], dataset) > value)


def max_image_share(dataset: IndexedDataset, value: float) -> np.ndarray:
    """The whole object, in modal sets its visible part, covers at most `value` of the image."""
    table = dataset.instance_table
    image_hw = dataset.image_table["image_hw"][table["image_row"]].astype(np.int64)
    has_amodal = (table["flags"] & InstanceFlag.HAS_AMODAL) != 0
    area = np.where(has_amodal, table["amodal_area"], table["visible_area"])
    return area / image_hw.prod(axis=1) <= value


def exclude_categories(dataset: IndexedDataset, patterns: Sequence[str]) -> np.ndarray:
    """The class name matches none of `patterns`, in which `*` stands for any text.

    Case and blanks at the ends do not matter.
    """
    excluded = [
        any(fnmatch.fnmatchcase(name.strip().lower(), pattern.lower()) for pattern in patterns)
        for name in dataset.category_names()
    ]
    return ~np.array(excluded, dtype=bool)[dataset.instance_table["category"]]


def exclude_stuff(dataset: IndexedDataset) -> np.ndarray:
    """The source does not mark the instance as stuff."""
    return (dataset.instance_table["flags"] & InstanceFlag.IS_STUFF) == 0


# Conditions that instances must meet to stay: bool (R,), by row of the instance table.
RULES: Mapping[str, Callable[..., np.ndarray]] = {
    rule.__name__: rule
    for rule in (
        *(min_visible_share, max_occlusion_rate, max_image_share),
        *(exclude_categories, exclude_stuff),
    )
}


@dataclass(frozen=True)
class Rule:
    """One of `RULES` with its options."""

    name: str
    options: Mapping[str, Any]

    def keep(self, dataset: IndexedDataset) -> np.ndarray:
        """Return bool (R,), True for rows of the instance table that meet the condition."""
        return RULES[self.name](dataset, **self.options)


def rule_from_config(entry: Mapping[str, Any]) -> Rule:
    """Make a rule from `{rule: NAME, option: ...}`.

    Raises:
        ValueError: If the rule or an option is unknown or missing.
    """
    options = {key: value for key, value in entry.items() if key != "rule"}
    name = str(entry.get("rule"))
    if name not in RULES:
        raise ValueError(f"rule must be one of {', '.join(sorted(RULES))}, got {name!r}")
    known = set(inspect.signature(RULES[name]).parameters) - {"dataset"}
    if set(options) != known:
        raise ValueError(
            f"rule {name} must have the options {sorted(known)}, got {sorted(options)}"
        )
    return Rule(name, options)


@dataclass(frozen=True)
class Removal:
    """What one rule did."""

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
        report.append(Removal(rule.name, rule.options, removed))
    return dataset.select(dataset.keep, drop_empty=True), report


def _divide(part: np.ndarray, whole: np.ndarray, dataset: IndexedDataset) -> np.ndarray:
    """Divide areas; NaN where the amodal or the visible mask is not known."""
    both = InstanceFlag.HAS_AMODAL | InstanceFlag.HAS_VISIBLE
    is_known = (dataset.instance_table["flags"] & both) == both
    return np.divide(part, whole, where=is_known, out=np.full(len(part), np.nan))
