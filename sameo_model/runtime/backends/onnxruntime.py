"""ONNX Runtime on the CPU, in float32."""

from __future__ import annotations

import importlib.util
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.runtime.backends.base import (
    CPU_MAX_BOXES,
    Backend,
    BackendOptions,
    CellBoxes,
    DecoderOutput,
    model_load_error,
)
from sameo_model.runtime.bundle import Bundle
from sameo_model.runtime.clicks import Clicks
from sameo_model.runtime.types import FloatArray, Uint8Array


def unavailable_reason() -> str | None:
    """Say why ONNX Runtime cannot run here, or return None if it can."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "the Python package onnxruntime is missing; run 'pip install onnxruntime'"
    return None


def build_backend(bundle: Bundle, options: BackendOptions) -> Backend:
    """Build the backend; see `backends.base.build_backend`."""
    try:
        return OnnxRuntimeBackend(bundle, options)
    except ValueError:
        raise  # an option that it does not know
    except Exception as error:
        # What ONNX Runtime raises has no other base in common.
        raise model_load_error("onnxruntime", bundle, error) from error


class OnnxRuntimeBackend(Backend):
    """Runs the graphs with ONNX Runtime's CPU provider; handles are NumPy arrays."""

    name = "onnxruntime"
    max_boxes = CPU_MAX_BOXES

    def __init__(self, bundle: Bundle, options: BackendOptions) -> None:
        """Load the graphs.

        Raises:
            ValueError: If another precision than f32 or a cache is asked for.
        """
        if options.precision not in (None, "f32"):
            raise ValueError(
                f"backend onnxruntime runs in precision f32, not '{options.precision}'; "
                "use backend openvino for bf16"
            )
        if options.cache_dir is not None:
            raise ValueError("backend onnxruntime keeps no compiled models; leave cache_dir out")
        self.device = "CPU, f32"
        self._click_graph = bundle.click_graph
        self._detector = bundle.detector
        self._options = options
        self.has_visible_decoder = bundle.info.has_visible_decoder
        self.encodes_images = bundle.window_segmenter is None
        if bundle.window_segmenter is not None:
            self._segmenter = _load_session(bundle.window_segmenter, options)
            return
        self._encoder = _load_session(bundle.image_encoder, options)
        self._mask_decoder = _load_session(bundle.mask_decoder, options)
        self._visible_decoder = (
            _load_session(bundle.visible_decoder, options) if bundle.visible_decoder else None
        )

    def encode(self, image: Uint8Array) -> FloatArray:
        """Return the embedding, float32 (1, 256, S/16, S/16)."""
        (embedding,) = self._encoder.run(["embedding"], {"image": image[np.newaxis]})
        return np.asarray(embedding)

    def decode(self, handle: FloatArray, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Run the decoders; see `Backend.decode`."""
        inputs = {"embedding": handle, "boxes": boxes}
        logits, iou = self._mask_decoder.run(["amodal_logits", "predicted_iou"], inputs)
        visible_logits = None
        if visible and self._visible_decoder is not None:
            (visible_logits,) = self._visible_decoder.run(["visible_logits"], inputs)
        return DecoderOutput(logits, iou, visible_logits)

    def segment(self, images: Uint8Array, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Draw the masks of windows; see `Backend.segment`."""
        if self.encodes_images:
            return super().segment(images, boxes, visible)
        names = ["amodal_logits", "predicted_iou", "visible_logits"]
        logits, iou, visible_logits = self._segmenter.run(names, {"images": images, "boxes": boxes})
        return DecoderOutput(logits, iou, visible_logits if visible else None)

    def decode_clicks(
        self, handle: FloatArray, boxes: FloatArray, clicks: Clicks, visible: bool
    ) -> DecoderOutput:
        """Run the graph for clicks; see `Backend.decode_clicks`."""
        return self._run_clicks({"embedding": handle}, boxes, clicks, visible)

    def segment_clicks(
        self, images: Uint8Array, boxes: FloatArray, clicks: Clicks, visible: bool
    ) -> DecoderOutput:
        """Draw the masks of windows with clicks; see `Backend.segment_clicks`."""
        if self.encodes_images:
            return super().segment_clicks(images, boxes, clicks, visible)
        return self._run_clicks({"images": images}, boxes, clicks, visible)

    def find_boxes(self, image: Uint8Array) -> CellBoxes:
        """Run the detector; see `Backend.find_boxes`."""
        if self._detector_session is None:
            raise ValueError(self.no_detector)
        found = self._detector_session.run(list(CellBoxes._fields), {"image": image[np.newaxis]})
        return CellBoxes(*found)

    @cached_property
    def _detector_session(self) -> Any:
        """Load the detector when the first image comes; None if there is none."""
        return None if self._detector is None else _load_session(self._detector, self._options)

    def _run_clicks(
        self, what: dict[str, Any], boxes: FloatArray, clicks: Clicks, visible: bool
    ) -> DecoderOutput:
        if self._click_session is None:
            raise ValueError(self.no_clicks)
        names = ["amodal_logits", "predicted_iou"]
        if visible and self.has_visible_decoder:
            names.append("visible_logits")
        inputs = {"boxes": boxes, "points_xy": clicks.points_xy, "point_labels": clicks.labels}
        found = self._click_session.run(names, {**what, **inputs})
        return DecoderOutput(found[0], found[1], found[2] if len(found) > 2 else None)

    @cached_property
    def _click_session(self) -> Any:
        """Load the graph for clicks when the first one comes; None if there is none."""
        return (
            None if self._click_graph is None else _load_session(self._click_graph, self._options)
        )


def _load_session(path: Path, options: BackendOptions) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    cores = sorted(os.sched_getaffinity(0))
    threads = options.count_threads()
    if options.threads or options.pin_threads != "auto":
        # Told no number, it takes the physical cores and binds a thread to each.
        settings.intra_op_num_threads = threads
    # Threads that spin until there is work take half of the processor time, and others want it.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if options.pin_threads == "on" and threads > 1:
        # It counts cores from 1; the first thread is the caller's, which stays free.
        bound = [str(cores[i % len(cores)] + 1) for i in range(1, threads)]
        settings.add_session_config_entry("session.intra_op_thread_affinities", ";".join(bound))
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
