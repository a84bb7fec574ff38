"""OpenVINO on the CPU: the default where there is no NVIDIA GPU."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.runtime.backends.base import (
    CPU_MAX_BOXES,
    Backend,
    BackendOptions,
    DecoderOutput,
)
from sameo_model.runtime.bundle import Bundle
from sameo_model.runtime.types import FloatArray, Uint8Array

_PRECISIONS = ("f32", "bf16", "f16")


def unavailable_reason() -> str | None:
    """Say why OpenVINO cannot run here, or return None if it can."""
    if importlib.util.find_spec("openvino") is None:
        return "the Python package openvino is missing; run 'pip install openvino'"
    return None


def build_backend(bundle: Bundle, options: BackendOptions) -> Backend:
    """Build the backend; see `backends.base.build_backend`."""
    return OpenVinoBackend(bundle, options)


class OpenVinoBackend(Backend):
    """Runs the graphs with OpenVINO's CPU device; handles are NumPy arrays.

    OpenVINO would pick bf16 by itself on processors that have it. Here the precision is f32
    unless the caller asks for another one.
    """

    name = "openvino"
    max_boxes = CPU_MAX_BOXES

    def __init__(self, bundle: Bundle, options: BackendOptions) -> None:
        """Compile the graphs, or take them from the cache.

        Raises:
            ValueError: If the precision is unknown.
        """
        precision = options.precision or "f32"
        if precision not in _PRECISIONS:
            known = ", ".join(_PRECISIONS)
            raise ValueError(f"precision for openvino must be one of {known}; got '{precision}'")
        config = _device_config(precision, options)
        self.device = f"CPU, {precision}"
        self.has_visible_decoder = bundle.visible_decoder is not None
        self._encoder = _compile(bundle.image_encoder, config)
        self._mask_decoder = _compile(bundle.mask_decoder, config)
        self._visible_decoder = (
            _compile(bundle.visible_decoder, config) if bundle.visible_decoder else None
        )

    def encode(self, image: Uint8Array) -> FloatArray:
        """Return the embedding, float32 (1, 256, S/16, S/16)."""
        output = self._encoder.infer({"image": image[np.newaxis]}, share_inputs=True)
        return np.asarray(output["embedding"])

    def decode(self, handle: FloatArray, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Run the decoders; see `Backend.decode`."""
        inputs = {"embedding": handle, "boxes": boxes}
        amodal = self._mask_decoder.infer(inputs, share_inputs=True)
        visible_logits = None
        if visible and self._visible_decoder is not None:
            output = self._visible_decoder.infer(inputs, share_inputs=True)
            visible_logits = output["visible_logits"]
        return DecoderOutput(amodal["amodal_logits"], amodal["predicted_iou"], visible_logits)


def _device_config(precision: str, options: BackendOptions) -> dict[str, Any]:
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    if options.threads is not None:
        config["INFERENCE_NUM_THREADS"] = options.threads
    if options.cache_dir is not None:
        config["CACHE_DIR"] = str(options.cache_dir)
    return config


def _compile(path: Path, config: dict[str, Any]) -> Any:
    """Return an inference request of the compiled graph; its outputs are copies."""
    core = _shared_core()
    return core.compile_model(core.read_model(path), "CPU", config).create_infer_request()


@functools.cache
def _shared_core() -> Any:
    """Return the only `openvino.Core` of this process, which lives as long as the process.

    With its first model a core gives the calling thread another stack for signal handlers, and
    puts the one before back when the core is gone. Cores that end in the order in which they were
    made would put back one that is unmapped, and the next signal (Ctrl-C, a child that ended)
    would kill the process.
    """
    import openvino

    return openvino.Core()
