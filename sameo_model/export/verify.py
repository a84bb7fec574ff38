"""Prove that a bundle gives the eager network's masks on every backend that is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sameo_model.modeling.checkpoint import load_checkpoint
from sameo_model.modeling.sameo import Sameo
from sameo_model.runtime.backends.base import (
    Backend,
    BackendOptions,
    DecoderOutput,
    build_backend,
    unavailable_reason,
)
from sameo_model.runtime.backends.engine_check import mask_ious, reference_scene, run_scene
from sameo_model.runtime.backends.openvino import has_bf16
from sameo_model.runtime.bundle import Bundle, load_bundle
from sameo_model.runtime.types import FloatArray, Uint8Array

MAX_LOGIT_ERROR = 1e-3
MIN_MASK_IOU = {"f32": 0.999, "bf16": 0.98}
BACKENDS = (("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "bf16"))


class ParityError(RuntimeError):
    """A backend's masks differ from the eager network's by more than is allowed."""


@dataclass(frozen=True)
class Parity:
    """How far a backend is from the eager network."""

    backend: str  # name of the backend
    precision: str  # ``f32`` or ``bf16``
    max_logit_error: float  # largest difference of logits as a fraction of the largest logit
    max_iou_error: float  # largest difference of predicted IoU
    mean_mask_iou: float  # mean over boxes and decoders of the IoU of both masks
    min_mask_iou: float  # smallest mean mask IoU at which the precision holds

    @property
    def fault(self) -> str | None:
        """What is wrong, as the end of a sentence, or None if the precision holds."""
        if not self.mean_mask_iou >= self.min_mask_iou:
            return f"mean mask IoU must reach {self.min_mask_iou}, is {self.mean_mask_iou:.5f}"
        if self.precision == "f32" and not self.max_logit_error < MAX_LOGIT_ERROR:
            return f"logit error must stay below {MAX_LOGIT_ERROR}, is {self.max_logit_error:.1e}"
        return None


def verify_bundle(
    folder: str | Path, *, min_bf16_mask_iou: float = MIN_MASK_IOU["bf16"]
) -> list[Parity]:
    """Compare a bundle's graphs with the eager network on a drawn image.

    Args:
        min_bf16_mask_iou: Smallest mean mask IoU at which bf16 holds. A fault of bf16 is this
            processor's, and the graphs are right, so it is returned and not raised.

    Returns:
        One result for each backend and precision that can run here.

    Raises:
        ParityError: A backend differs too much in float32, or there is none to compare.
    """
    bundle = load_bundle(folder)
    image, boxes = reference_scene(bundle.info.image_size)
    expected = run_eager(load_checkpoint(bundle.folder), image, boxes)
    results = []
    for name, precision, backend in open_backends(bundle):
        actual = _run(backend, image, boxes)
        limit = min_bf16_mask_iou if precision == "bf16" else MIN_MASK_IOU[precision]
        results.append(_compare(name, precision, actual, expected, limit))
    faults = [
        f"{r.backend} {r.precision}: {r.fault}"
        for r in results
        if r.fault and r.precision != "bf16"
    ]
    if faults or not results:
        reason = "; ".join(faults) or "neither onnxruntime nor openvino is installed"
        raise ParityError(f"bundle {bundle.info.name} failed its verification: {reason}")
    return results


def run_eager(model: Sameo, image: Uint8Array, boxes_xyxy: FloatArray) -> DecoderOutput:
    """Run the network in PyTorch.

    Args:
        image: uint8 (S, S, 3), RGB, of the model's own size.
        boxes_xyxy: float32 (N, 4), pixels of that image.
    """
    side = model.image_size
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        drawn = model.draw_masks(
            model.encode(pixels), torch.from_numpy(boxes_xyxy)[None], (side, side)
        )
    visible = None if drawn.visible_logits is None else drawn.visible_logits[0].numpy()
    return DecoderOutput(drawn.amodal_logits[0].numpy(), drawn.predicted_iou[0].numpy(), visible)


def open_backends(bundle: Bundle) -> Iterator[tuple[str, str, Backend]]:
    """Open a bundle on one backend after the other, in each precision that can run here.

    Yields:
        Name of the backend, precision, and the backend, which is closed when the next is asked for.
    """
    # What an earlier verification found would keep the runtime from trying a precision.
    bundle = replace(bundle, info=replace(bundle.info, scores={}))
    for name, precision in BACKENDS:
        if unavailable_reason(name) or (precision == "bf16" and not has_bf16()):
            continue
        # What is compiled for the verification of a draft would only fill the user's cache.
        with tempfile.TemporaryDirectory(prefix="sameo-verify-") as folder:
            options = BackendOptions(precision, cache_dir=Path(folder))
            backend = build_backend(name, bundle, options if name == "openvino" else None)
            with closing(backend):
                yield name, precision, backend


def _run(backend: Backend, image: Uint8Array, boxes: FloatArray) -> DecoderOutput:
    # One box at a time and all at once: the number of boxes is dynamic.
    together = run_scene(backend, image, boxes)
    alone = run_scene(backend, image, boxes[:1])
    first = np.concatenate((alone.amodal_logits, together.amodal_logits[1:]))
    return together._replace(amodal_logits=first)


def _compare(
    name: str,
    precision: str,
    actual: DecoderOutput,
    expected: DecoderOutput,
    min_mask_iou: float,
) -> Parity:
    pairs = [(actual.amodal_logits, expected.amodal_logits)]
    if expected.visible_logits is not None and actual.visible_logits is not None:
        pairs.append((actual.visible_logits, expected.visible_logits))
    errors = [np.abs(found - wanted).max() / np.abs(wanted).max() for found, wanted in pairs]
    ious = np.concatenate([mask_ious(found > 0, wanted > 0) for found, wanted in pairs])
    return Parity(
        backend=name,
        precision=precision,
        max_logit_error=float(max(errors)),
        max_iou_error=float(np.abs(actual.predicted_iou - expected.predicted_iou).max()),
        mean_mask_iou=float(np.mean(ious)),
        min_mask_iou=min_mask_iou,
    )
