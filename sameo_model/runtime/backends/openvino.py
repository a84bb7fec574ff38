"""OpenVINO on the CPU: the default where there is no NVIDIA GPU."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sameo_model.runtime.backends.base import (
    CPU_MAX_BOXES,
    Backend,
    BackendOptions,
    CellBoxes,
    DecoderOutput,
    model_load_error,
)
from sameo_model.runtime.backends.compiled_cache import (
    CompiledKey,
    bundle_digest,
    describe_processor,
    open_folder,
)
from sameo_model.runtime.backends.precision_choice import (
    check_holds,
    choose_precision,
    is_refused,
)
from sameo_model.runtime.bundle import Bundle
from sameo_model.runtime.clicks import Clicks
from sameo_model.runtime.types import FloatArray, Uint8Array

MAX_STREAMS = 4
"""More decoders at once would each have too few boxes, and each holds its own memory."""
WINDOWS_PER_STREAM = 5
"""More windows at once leave the processor's cache: 8 take 3 % longer each, 25 take 7 %."""

_PRECISIONS = ("f32", "bf16", "f16")


def unavailable_reason() -> str | None:
    """Say why OpenVINO cannot run here, or return None if it can."""
    if importlib.util.find_spec("openvino") is None:
        return "the Python package openvino is missing; run 'pip install openvino'"
    return None


def build_backend(bundle: Bundle, options: BackendOptions) -> Backend:
    """Build the backend; see `backends.base.build_backend`."""
    try:
        return OpenVinoBackend(bundle, options)
    except (RuntimeError, ImportError) as error:
        raise model_load_error("openvino", bundle, error) from error


class OpenVinoBackend(Backend):
    """Runs the graphs with OpenVINO's CPU device; handles are NumPy arrays.

    Unless the caller asks for a precision, bf16 and f32 are measured once on this processor, see
    `precision_choice`. The encoder uses all threads for its one image. Of the decoders each
    thread has a stream of its own, unless `decoder_streams` says otherwise, which decodes its part
    of the boxes: threads that wait for each other after every layer come almost to a stop when
    another program wants a core.
    """

    name = "openvino"
    max_boxes = CPU_MAX_BOXES

    def __init__(self, bundle: Bundle, options: BackendOptions) -> None:
        """Compile the graphs, or take them from the cache.

        Raises:
            ValueError: If the precision is unknown or does not hold for this bundle, or there
                are more streams than threads.
        """
        threads, streams = _count_threads(options)
        precision = options.precision or _choose_precision(bundle, options)
        if precision not in _PRECISIONS:
            known = ", ".join(_PRECISIONS)
            raise ValueError(f"precision for openvino must be one of {known}; got '{precision}'")
        check_holds(bundle, self.name, precision)
        self.device = f"CPU, {precision}"
        self.has_visible_decoder = bundle.info.has_visible_decoder
        self.encodes_images = bundle.window_segmenter is None
        self._click_graph = bundle.click_graph
        config = {"INFERENCE_PRECISION_HINT": precision, **_pinning(options, threads)}
        config["INFERENCE_NUM_THREADS"] = threads
        self._click_config = {**config, "INFERENCE_PRECISION_HINT": "f32"}
        key = _cache_key(bundle, precision, f"{threads} threads")
        self._detector, self._detector_config = bundle.detector, dict(config)
        self._open_cache = partial(open_folder, key, options.cache_dir)
        with self._open_cache() as folder:
            if folder is not None:
                config["CACHE_DIR"] = str(folder)
            if bundle.window_segmenter is not None:
                # A lone window takes all threads.
                (self._alone,) = _compile(bundle.window_segmenter, config, streams=1)
                self._segmenters = _compile(bundle.window_segmenter, config, streams=streams)
                self.max_boxes = WINDOWS_PER_STREAM * streams
                return
            (self._encoder,) = _compile(bundle.image_encoder, config, streams=1)
            self._mask_decoders = _compile(bundle.mask_decoder, config, streams=streams)
            self._visible_decoders = (
                _compile(bundle.visible_decoder, config, streams=streams)
                if bundle.visible_decoder
                else []
            )

    def encode(self, image: Uint8Array) -> FloatArray:
        """Return the embedding, float32 (1, 256, S/16, S/16)."""
        output = self._encoder.infer({"image": image[np.newaxis]}, share_inputs=True)
        return np.asarray(output["embedding"])

    def decode(self, handle: FloatArray, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Run the decoders; see `Backend.decode`."""
        shared = {"embedding": handle}
        amodal = ("amodal_logits", "predicted_iou")
        logits, iou = _run_parts(self._mask_decoders, {"boxes": boxes}, amodal, shared)
        visible_logits = None
        if visible and self._visible_decoders:
            names = ("visible_logits",)
            (visible_logits,) = _run_parts(self._visible_decoders, {"boxes": boxes}, names, shared)
        return DecoderOutput(logits, iou, visible_logits)

    def segment(self, images: Uint8Array, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Draw the masks of windows; see `Backend.segment`."""
        if self.encodes_images:
            return super().segment(images, boxes, visible)
        requests = [self._alone] if len(boxes) == 1 else self._segmenters
        rows: dict[str, NDArray[Any]] = {"images": images, "boxes": boxes}
        names = ("amodal_logits", "predicted_iou", "visible_logits")
        logits, iou, visible_logits = _run_parts(requests, rows, names, {})
        return DecoderOutput(logits, iou, visible_logits if visible else None)

    def decode_clicks(
        self, handle: FloatArray, boxes: FloatArray, clicks: Clicks, visible: bool
    ) -> DecoderOutput:
        """Run the graph for clicks; see `Backend.decode_clicks`."""
        return self._run_clicks({}, boxes, clicks, visible, {"embedding": handle})

    def segment_clicks(
        self, images: Uint8Array, boxes: FloatArray, clicks: Clicks, visible: bool
    ) -> DecoderOutput:
        """Draw the masks of windows with clicks; see `Backend.segment_clicks`."""
        if self.encodes_images:
            return super().segment_clicks(images, boxes, clicks, visible)
        return self._run_clicks({"images": images}, boxes, clicks, visible, {})

    def find_boxes(self, image: Uint8Array) -> CellBoxes:
        """Run the detector; see `Backend.find_boxes`."""
        if self._detector_request is None:
            raise ValueError(self.no_detector)
        output = self._detector_request.infer({"image": image[np.newaxis]}, share_inputs=True)
        return CellBoxes(*(np.array(output[name]) for name in CellBoxes._fields))

    @cached_property
    def _detector_request(self) -> Any:
        """Compile the detector when the first image comes; None if there is none."""
        if self._detector is None:
            return None
        with self._open_cache() as folder:
            cache = {} if folder is None else {"CACHE_DIR": str(folder)}
            (request,) = _compile(self._detector, {**self._detector_config, **cache}, streams=1)
        return request

    def _run_clicks(
        self,
        rows: dict[str, NDArray[Any]],
        boxes: FloatArray,
        clicks: Clicks,
        visible: bool,
        shared: dict[str, NDArray[Any]],
    ) -> DecoderOutput:
        if self._click_request is None:
            raise ValueError(self.no_clicks)
        rows = {
            **rows,
            "boxes": boxes,
            "points_xy": clicks.points_xy,
            "point_labels": clicks.labels,
        }
        names = ["amodal_logits", "predicted_iou"]
        if visible and self.has_visible_decoder:
            names.append("visible_logits")
        found = _run_parts([self._click_request], rows, names, shared)
        return DecoderOutput(found[0], found[1], found[2] if len(found) > 2 else None)

    @cached_property
    def _click_request(self) -> Any:
        """Compile the graph for clicks when the first one comes; None if there is none.

        In float32: bf16 was measured on the graphs without clicks alone.
        """
        if self._click_graph is None:
            return None
        (request,) = _compile(self._click_graph, self._click_config, streams=1)
        return request


def _run_parts(
    requests: Sequence[Any],
    rows: Mapping[str, NDArray[Any]],
    names: Sequence[str],
    shared: Mapping[str, NDArray[Any]],
) -> list[FloatArray]:
    """Run equal parts of the rows at once and join the outputs of these names."""
    num_parts = min(len(requests), len(rows["boxes"]))
    parts = [np.array_split(array, num_parts) for array in rows.values()]
    started = list(zip(requests, *parts, strict=False))
    for request, *part in started:
        request.start_async({**shared, **dict(zip(rows, part, strict=True))}, share_inputs=True)
    for request, *_ in started:
        request.wait()
    # The tensors belong to the requests: concatenating copies them.
    return [
        np.concatenate([request.get_tensor(name).data for request, *_ in started]) for name in names
    ]


def _count_threads(options: BackendOptions) -> tuple[int, int]:
    """Return the number of threads and of decoder streams."""
    threads = options.count_threads()
    # OpenVINO takes no more streams than threads, and does not tell.
    if not 0 <= options.decoder_streams <= threads:
        raise ValueError(
            f"decoder_streams must be from 0 to {threads}, the number of threads; got "
            f"{options.decoder_streams}"
        )
    return threads, options.decoder_streams or min(threads, MAX_STREAMS)


def _pinning(options: BackendOptions, threads: int) -> dict[str, bool]:
    """Return the property that binds threads to cores, or nothing to leave it to OpenVINO."""
    if options.pin_threads == "auto" and threads == len(os.sched_getaffinity(0)):
        return {}
    # With `auto`, cores are left to others: OpenVINO would bind its threads to the first ones,
    # and so would every other program that runs it.
    return {"ENABLE_CPU_PINNING": options.pin_threads == "on"}


def has_bf16() -> bool:
    """Return whether OpenVINO computes in bfloat16 on this processor; it must be installed."""
    return "BF16" in _shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _choose_precision(bundle: Bundle, options: BackendOptions) -> str:
    if not has_bf16() or is_refused(bundle, OpenVinoBackend.name, "bf16"):
        return "f32"

    def build(precision: str) -> Backend:
        return OpenVinoBackend(bundle, replace(options, precision=precision))

    key = _cache_key(bundle, "chosen", f"{_count_threads(options)[0]} threads")
    with open_folder(key, options.cache_dir) as folder:
        return choose_precision(bundle, folder, build)


def _cache_key(bundle: Bundle, precision: str, settings: str) -> CompiledKey:
    import openvino

    return CompiledKey(
        bundle_sha256=bundle_digest(bundle),
        library="openvino",
        version=openvino.get_version(),
        processor=describe_processor(),
        precision=precision,
        settings=settings,
    )


def _compile(path: Path, config: dict[str, Any], *, streams: int) -> list[Any]:
    """Return one inference request of the compiled graph for each stream."""
    core = _shared_core()
    config = {**config, "NUM_STREAMS": streams}
    compiled = core.compile_model(core.read_model(path), "CPU", config)
    return [compiled.create_infer_request() for _ in range(streams)]


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
