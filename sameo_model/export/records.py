"""What `model.json` says of a model: kept when it is exported again, added to by measurements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from sameo_model.export.verify import Parity
from sameo_model.runtime.backends.engine_plan import PRECISION_KEY
from sameo_model.runtime.backends.precision_choice import VERIFIED_KEY
from sameo_model.runtime.bundle import Bundle, load_bundle, write_bundle_info

DEFAULT_LICENCE = "Apache-2.0"
EMULATED_KEY = "precision_parity_emulated"
MEASURED_KEYS = (PRECISION_KEY, EMULATED_KEY, VERIFIED_KEY)
"""Scores of the graphs of one export, which say nothing about the graphs of another one."""


@dataclass(frozen=True)
class Record:
    """The part of `model.json` that people write."""

    licence: str = DEFAULT_LICENCE  # terms of the weights
    training: dict[str, Any] = field(default_factory=dict)  # how the weights were trained
    # how the model scored, without `MEASURED_KEYS`
    scores: dict[str, Any] = field(default_factory=dict)


def record_of(bundle: Bundle | None, image_size: int | None = None) -> Record:
    """Return the record of a bundle that is exported again, or the default one for None.

    Args:
        bundle: What is exported again.
        image_size: Side of the model's input in the new export; None keeps the bundle's. Scores
            at another size are those of the old one, so they move under `at_<old size>`.
    """
    if bundle is None:
        return Record()
    info = bundle.info
    scores = {key: value for key, value in info.scores.items() if key not in MEASURED_KEYS}
    if scores and image_size not in (None, info.image_size):
        scores = {f"at_{info.image_size}": scores}
    return Record(info.licence, dict(info.training), scores)


def relabel(bundle: Bundle, name: str, record: Record) -> Bundle:
    """Give a bundle a name and a record; what was measured on its graphs stays."""
    measured = {key: value for key, value in bundle.info.scores.items() if key in MEASURED_KEYS}
    content = {**asdict(record), "scores": {**record.scores, **measured}, "name": name}
    return _rewrite(bundle, content)


def add_scores(bundle: Bundle, scores: dict[str, Any]) -> Bundle:
    """Write scores into a bundle's `model.json`, beside those that it has."""
    return _rewrite(bundle, {"scores": {**bundle.info.scores, **scores}})


def verified_scores(results: Iterable[Parity]) -> dict[str, Any]:
    """Return which precisions hold on which backend, for `add_scores`."""
    verified: dict[str, Any] = {}
    for result in results:
        verified.setdefault(result.backend, {})[result.precision] = {
            "holds": result.fault is None,
            "mean_mask_iou": round(result.mean_mask_iou, 5),
            "min_mask_iou": result.min_mask_iou,
        }
    return {VERIFIED_KEY: verified}


def _rewrite(bundle: Bundle, changes: dict[str, Any]) -> Bundle:
    info = {**asdict(bundle.info), **changes}
    del info["files"]
    write_bundle_info(bundle.folder, **info)
    return load_bundle(bundle.folder)
