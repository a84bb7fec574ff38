"""Checked fields of files with boxes; each error names the place."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sameo_model.runtime.box_source import BoxPrompt
from sameo_model.runtime.scores import PERCENT_RULE, scores_to_fractions

_LOGGER = logging.getLogger(__name__)


class BoxFormError(ValueError):
    """What is wrong in the boxes, without where they came from."""


def get_list(content: Mapping[str, Any], key: str) -> list[Any]:
    """Return a list of the file, or raise BoxFormError."""
    items = get_field(content, key, "the file")
    if not isinstance(items, list):
        raise BoxFormError(f"'{key}' must hold a list, got {type(items).__name__}")
    return items


def get_field(item: Any, key: str, place: str) -> Any:
    """Return a field of an object, or raise BoxFormError."""
    if not isinstance(item, Mapping):
        raise BoxFormError(f"{place} must be an object, got {type(item).__name__}")
    if key not in item:
        raise BoxFormError(f"{place} has no key '{key}'")
    return item[key]


def without_fraction(value: Any) -> Any:
    """Return 7 for 7.0, as tables with gaps write numbers; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def get_integer(item: Any, key: str, place: str) -> int:
    """Return a whole number of an object, or raise BoxFormError."""
    value = without_fraction(get_field(item, key, place))
    if type(value) is not int:
        raise BoxFormError(f"'{key}' in {place} must be a whole number, got {value!r}")
    return value


def to_numbers(values: Any, count: int, place: str) -> list[float]:
    """Return a list of so many numbers, or raise BoxFormError."""
    is_list = isinstance(values, list) and len(values) == count
    if not is_list or not all(type(value) in (int, float) for value in values):
        raise BoxFormError(f"{place} must be a list of {count} numbers, got {values!r}")
    try:
        return [float(value) for value in values]
    except OverflowError as error:
        raise BoxFormError(f"{place} holds a number that is too large for any image") from error


def to_score(score: Any, place: str) -> float:
    """Return a score on any scale, or raise BoxFormError."""
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise BoxFormError(f"'score' in {place} must be a number in [0, 1], got {score!r}")
    return float(score)


def with_fractions(lists: Sequence[list[BoxPrompt]]) -> list[list[BoxPrompt]]:
    """Return the boxes of a whole file with their scores in [0, 1], or raise BoxFormError."""
    given = [prompt.score for prompts in lists for prompt in prompts]
    fractions, is_percent = scores_to_fractions(given)
    if np.isnan(fractions).any():
        wrong = given[int(np.flatnonzero(np.isnan(fractions))[0])]
        raise BoxFormError(f"{PERCENT_RULE}, got {wrong:g}")
    if is_percent:
        _LOGGER.warning("note: scores up to %g count as percentages", max(given))
    known = iter(fractions.tolist())
    return [[replace(prompt, score=next(known)) for prompt in prompts] for prompts in lists]


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, or raise BoxFormError if a key is there twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise BoxFormError(f"'{repeated}' must occur once, but occurs twice; merge the two")
    return content
