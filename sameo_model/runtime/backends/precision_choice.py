"""Decide by measurement whether bfloat16 pays on this processor and keeps a bundle's masks."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.runtime.backends.base import Backend, DecoderOutput
from sameo_model.runtime.backends.engine_check import (
    mask_ious,
    read_reference,
    reference_scene,
    run_scene,
)
from sameo_model.runtime.bundle import MODEL_JSON, Bundle
from sameo_model.runtime.files import write_whole
from sameo_model.runtime.types import BoolArray

_LOGGER = logging.getLogger(__name__)

VERIFIED_KEY = "verified"
"""Key of a bundle's scores: backend, precision, and whether the export found that it holds."""
CHOICE_NAME = "precision.json"
MIN_MEAN_IOU = 0.98
MIN_GAIN_S = 0.002
"""Processor time that bf16 must save on an image: less is worth no rounding."""
MIN_ROUNDS, MAX_ROUNDS = 3, 50
BUDGET_S = 0.3


def is_refused(bundle: Bundle, backend: str, precision: str) -> bool:
    """Return whether the export found that a precision changes the bundle's masks too much."""
    found: Any = bundle.info.scores.get(VERIFIED_KEY)
    for key in (backend, precision):
        found = found.get(key) if isinstance(found, Mapping) else None
    return isinstance(found, Mapping) and found.get("holds") is False


def check_holds(bundle: Bundle, backend: str, precision: str) -> None:
    """Refuse a precision that does not hold.

    Raises:
        ValueError: If the bundle says so.
    """
    if is_refused(bundle, backend, precision):
        raise ValueError(
            f"precision for {backend} must be one in which {bundle.info.name} keeps its masks; "
            f"got '{precision}', which its export found not to (see `{VERIFIED_KEY}` in "
            f"{bundle.folder / MODEL_JSON}); take f32, or leave the precision open"
        )


def choose_precision(bundle: Bundle, folder: Path | None, build: Callable[[str], Backend]) -> str:
    """Return `bf16` if it saves `MIN_GAIN_S` here and draws the bundle's masks, else `f32`.

    Args:
        bundle: The model; its reference masks are what is compared with.
        folder: Where the choice is kept, or None.
        build: Makes a backend of a precision.
    """
    known = _read_choice(folder)
    if known is not None:
        return known
    backends = {precision: build(precision) for precision in ("f32", "bf16")}
    times_s, outputs = _measure(backends, bundle)
    for backend in backends.values():
        backend.close()
    worst_iou = _worst_mean_iou(bundle, outputs["bf16"], outputs["f32"])
    is_faster = times_s["f32"] - times_s["bf16"] >= MIN_GAIN_S
    precision = "bf16" if is_faster and worst_iou >= MIN_MEAN_IOU else "f32"
    found = {
        "precision": precision,
        "f32_cpu_ms": round(1000 * times_s["f32"], 2),
        "bf16_cpu_ms": round(1000 * times_s["bf16"], 2),
        "bf16_mean_mask_iou": round(worst_iou, 5),
    }
    _LOGGER.info("precision %s was chosen for %s: %s", precision, bundle.info.name, found)
    if folder is not None:
        with suppress(OSError):
            write_whole(folder / CHOICE_NAME, json.dumps(found, indent=2) + "\n")
    return precision


def _read_choice(folder: Path | None) -> str | None:
    if folder is None or not (folder / CHOICE_NAME).is_file():
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((folder / CHOICE_NAME).read_text(encoding="utf-8"))["precision"]
        return found if found in ("f32", "bf16") else None
    return None


def _measure(
    backends: Mapping[str, Backend], bundle: Bundle
) -> tuple[dict[str, float], dict[str, DecoderOutput]]:
    """Return the least processor time of an image, of rounds after the first, and the output.

    Processor time, and not that of the clock, since that of a busy machine is other programs'.
    """
    image, boxes = reference_scene(bundle.info.image_size)
    times_s: dict[str, list[float]] = {name: [] for name in backends}
    outputs = {}
    deadline_s = time.perf_counter() + BUDGET_S
    while len(times_s["f32"]) <= MIN_ROUNDS or (
        time.perf_counter() < deadline_s and len(times_s["f32"]) <= MAX_ROUNDS
    ):
        for name, backend in backends.items():
            started_s = time.process_time()
            outputs[name] = run_scene(backend, image, boxes)
            times_s[name].append(time.process_time() - started_s)
    return {name: min(times[1:]) for name, times in times_s.items()}, outputs


def _worst_mean_iou(bundle: Bundle, found: DecoderOutput, exact: DecoderOutput) -> float:
    """Return the smaller mean IoU of both decoders' masks with the bundle's, or else exact, ones.

    Outputs that are not finite have none.
    """
    reference = read_reference(bundle.folder) or {}
    ious = []
    for name, logits, exact_logits in (
        ("amodal", found.amodal_logits, exact.amodal_logits),
        ("visible", found.visible_logits, exact.visible_logits),
    ):
        if logits is None or exact_logits is None:
            continue
        expected: BoolArray = reference.get(name, np.greater(exact_logits, 0))
        is_finite = bool(np.isfinite(logits).all())
        ious.append(float(np.mean(mask_ious(logits > 0, expected))) if is_finite else 0.0)
    return min(ious)
