"""What every backend offers, and how a backend is found by name."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from sameo_model.runtime.bundle import Bundle
from sameo_model.runtime.clicks import Clicks
from sameo_model.runtime.types import FloatArray, Uint8Array

_LOGGER = logging.getLogger(__name__)
_MAX_SAID = 200

BACKENDS = ("tensorrt", "openvino", "onnxruntime")
"""Names of the backends in the order in which `auto` tries them."""


MAX_BOXES = 64
"""Most boxes that any backend is given at once; the decoders' shape profile ends there."""

CPU_MAX_BOXES = 16
"""On a CPU more boxes at once cost memory, about 25 MB each, and gain no speed."""

PIN_THREADS = ("auto", "on", "off")
"""Values of `BackendOptions.pin_threads`."""


class BackendUnavailableError(RuntimeError):
    """A backend that was asked for cannot run here; the message says what to do."""


@dataclass(frozen=True)
class BackendOptions:
    """What a caller may ask of a backend.

    Attributes:
        precision: `f32`, or `bf16` / `f16` where the backend converts; None lets the graphs'
            own precision stand, but openvino measures whether bf16 is faster and good enough.
        threads: Number of CPU threads; None leaves it to the backend.
        cache_dir: Folder for compiled models; None is the backend's default.
        cuda_graph: Whether TensorRT starts the encoder as one CUDA graph; None does where the GPU
            can.
        decoder_streams: In how many parts openvino decodes boxes at once, from 1 to the number of
            threads; 0 leaves it to the backend.
        pin_threads: One of `PIN_THREADS`: `on` binds each CPU thread of the model to a core, `off`
            lets the system move them, `auto` leaves it to the backend.
    """

    precision: str | None = None
    threads: int | None = None
    cache_dir: Path | None = None
    cuda_graph: bool | None = None
    decoder_streams: int = 0
    pin_threads: str = "auto"

    def __post_init__(self) -> None:
        """Check the number of threads.

        Raises:
            ValueError: If it is below 1.
        """
        if self.threads is not None and self.threads < 1:
            raise ValueError(
                f"threads must be at least 1, got {self.threads}; leave it out for the backend's "
                "choice"
            )

    def count_threads(self) -> int:
        """Return how many CPU threads to take, at most as many as there are cores to run on."""
        num_cores = len(os.sched_getaffinity(0))
        return min(self.threads or num_cores, num_cores)


class DecoderOutput(NamedTuple):
    """What a backend returns for N boxes.

    Attributes:
        amodal_logits: float32 (N, h, w), over what the model saw: the squashed image or window.
        predicted_iou: float32 (N,), in [0, 1].
        visible_logits: float32 (N, h, w); None if they were not asked for.
    """

    amodal_logits: FloatArray
    predicted_iou: FloatArray
    visible_logits: FloatArray | None


class CellBoxes(NamedTuple):
    """What a detector says of an image, one row for each of its A cells, duplicates included.

    Attributes:
        boxes: float32 (A, 4), visible parts, x1, y1, x2, y2 in pixels of the squashed image.
        amodal_boxes: float32 (A, 4), whole objects.
        scores: float32 (A,), in [0, 1].
    """

    boxes: FloatArray
    amodal_boxes: FloatArray
    scores: FloatArray


def join_outputs(outputs: Sequence[DecoderOutput]) -> DecoderOutput:
    """Return the rows of several outputs as one."""
    seen = [output.visible_logits for output in outputs if output.visible_logits is not None]
    return DecoderOutput(
        np.concatenate([output.amodal_logits for output in outputs]),
        np.concatenate([output.predicted_iou for output in outputs]),
        np.concatenate(seen) if seen else None,
    )


class Backend(ABC):
    """Runs the graphs of one bundle on one device.

    One thread at a time may call a backend. A backend whose device is bound to a thread (CUDA)
    belongs to the thread that built it, `close` included.

    Attributes:
        name: Name of the backend, one of `BACKENDS`.
        device: Description of device and precision, for logs and diagnostics.
        has_visible_decoder: Whether visible masks can be had.
        encodes_images: Whether there is an image encoder, so that `encode` and `decode` work; a
            bundle of windows has `segment` alone.
        max_boxes: Most boxes per call of `decode` or `segment`, at most `MAX_BOXES`; it bounds
            memory.
        engine_key: Names of the cached engines that run, for diagnostics; "" without engines.
    """

    encodes_images: bool = True
    max_boxes: int = MAX_BOXES
    engine_key: str = ""
    name: str
    device: str
    has_visible_decoder: bool

    @abstractmethod
    def encode(self, image: Uint8Array) -> Any:
        """Encode an image.

        Args:
            image: uint8 (S, S, 3), RGB, contiguous.

        Returns:
            A handle of the embedding, which stays on the device; it is good until it is dropped
            or the backend is closed.
        """

    @abstractmethod
    def decode(self, handle: Any, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Decode boxes of an encoded image.

        Args:
            handle: What `encode` returned.
            boxes: float32 (N, 4), x1, y1, x2, y2 in model pixels, 1 <= N <= `max_boxes`.
            visible: Whether to run the visible decoder too.
        """

    def segment(self, images: Uint8Array, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Draw the masks of one box in each of several windows.

        Args:
            images: uint8 (N, S, S, 3), RGB, contiguous, 1 <= N <= `max_boxes`.
            boxes: float32 (N, 4), x1, y1, x2, y2 in pixels of its window.
            visible: Whether visible masks are wanted, where the model draws them.
        """
        outputs = [
            self.decode(self.encode(image), box[np.newaxis], visible)
            for image, box in zip(images, boxes, strict=True)
        ]
        return join_outputs(outputs)

    def decode_clicks(
        self, handle: Any, boxes: FloatArray, clicks: Clicks, visible: bool
    ) -> DecoderOutput:
        """Decode boxes with clicks beside them; see `decode`.

        Args:
            handle: What `encode` returned.
            boxes: As for `decode`.
            clicks: Clicks of the N boxes, model pixels.
            visible: As for `decode`.

        Raises:
            ValueError: If this backend, or the bundle, has no graph for clicks.
        """
        raise ValueError(self.no_clicks)

    def segment_clicks(
        self, images: Uint8Array, boxes: FloatArray, clicks: Clicks, visible: bool
    ) -> DecoderOutput:
        """Draw the masks of windows with clicks beside their boxes; see `segment`.

        Args:
            images: As for `segment`.
            boxes: As for `segment`.
            clicks: Clicks of the N boxes, pixels of the windows.
            visible: As for `segment`.

        Raises:
            ValueError: If this backend, or the bundle, has no graph for clicks.
        """
        outputs = [
            self.decode_clicks(
                self.encode(image), box[np.newaxis], clicks.rows(slice(row, row + 1)), visible
            )
            for row, (image, box) in enumerate(zip(images, boxes, strict=True))
        ]
        return join_outputs(outputs)

    def find_boxes(self, image: Uint8Array) -> CellBoxes:
        """Run the detector.

        Args:
            image: uint8 (D, D, 3), RGB, contiguous; D is the detector's own.

        Raises:
            ValueError: If the bundle has no detector.
        """
        raise ValueError(self.no_detector)

    @property
    def no_detector(self) -> str:
        """Why boxes cannot be found, as a sentence."""
        return (
            "detect needs a detector, but this bundle has none; export it with --detector, or give "
            "boxes of your own"
        )

    @property
    def no_clicks(self) -> str:
        """Why clicks cannot be taken, as a sentence."""
        return (
            f"points_xy cannot be taken: backend {self.name} has no graph for clicks in this "
            "bundle; export it again, and use backend openvino or onnxruntime"
        )

    def close(self) -> None:  # noqa: B027 - most backends hold nothing that needs closing
        """Free the device's memory; nothing may be called afterwards."""


def model_load_error(package: str, bundle: Bundle, error: Exception) -> BackendUnavailableError:
    """Return the error for an engine that is here but cannot load the model.

    Args:
        package: Python package of the engine.
        bundle: The model.
        error: The engine's exception.
    """
    version = getattr(sys.modules.get(package), "__version__", "")
    said = " ".join(str(error).split())[:_MAX_SAID]
    return BackendUnavailableError(
        f"{package} {version} cannot load the model {bundle.info.name}: {said}; run 'pip install "
        f"--upgrade {package}', or choose another backend"
    )


class _BackendModule(Protocol):
    def unavailable_reason(self) -> str | None:
        """Return the reason why the backend cannot run here, or None if it can."""

    def build_backend(self, bundle: Bundle, options: BackendOptions) -> Backend:
        """Build the backend for a bundle."""


def build_backend(name: str, bundle: Bundle, options: BackendOptions | None = None) -> Backend:
    """Build a backend by name.

    Args:
        name: One of `BACKENDS`, or `auto`, which takes the first that can run here and load the
            model, and logs which one it took and why. There is no other fall-back.
        bundle: The model.
        options: What to ask of the backend; None asks nothing.

    Raises:
        ValueError: If the name is unknown or the backend cannot honour an option.
        BackendUnavailableError: If the backend, or with `auto` every backend, cannot run here or
            cannot load the model.
    """
    options = options or BackendOptions()
    if name == "auto":
        return _build_first(bundle, options)
    if name not in BACKENDS:
        known = ", ".join(("auto", *BACKENDS))
        raise ValueError(f"backend must be one of {known}; got '{name}'")
    if reason := unavailable_reason(name):
        raise BackendUnavailableError(f"backend {name} cannot run here: {reason}")
    return _build(name, bundle, options)


def _build(name: str, bundle: Bundle, options: BackendOptions) -> Backend:
    if options.cuda_graph is not None and name != "tensorrt":
        raise ValueError(f"backend {name} has no CUDA graphs; leave cuda_graph out")
    if options.decoder_streams and name != "openvino":
        raise ValueError(f"backend {name} has no decoder streams; leave decoder_streams at 0")
    if options.pin_threads not in PIN_THREADS:
        known = ", ".join(PIN_THREADS)
        raise ValueError(f"pin_threads must be one of {known}; got '{options.pin_threads}'")
    return _module(name).build_backend(bundle, options)


def _build_first(bundle: Bundle, options: BackendOptions) -> Backend:
    """Build the first backend that can run here and load the model."""
    refused: list[str] = []
    level = logging.INFO
    for name in BACKENDS:
        reason = unavailable_reason(name)
        if reason is None:
            try:
                backend = _build(name, bundle, options)
            except (RuntimeError, ImportError, OSError) as error:
                reason, level = " ".join(str(error).split()), logging.WARNING
            else:
                why = f"; passed over {', '.join(refused)}" if refused else ""
                _LOGGER.log(level, "backend auto: took %s%s", name, why)
                return backend
        refused.append(f"{name} ({reason})")
    raise BackendUnavailableError(f"no backend can run here: {', '.join(refused)}")


def unavailable_reason(name: str) -> str | None:
    """Return the reason why a backend cannot run here, or None if it can."""
    if importlib.util.find_spec(_module_name(name)) is None:
        return f"this version of sameo_model has no {name} backend; use openvino or onnxruntime"
    return _module(name).unavailable_reason()


def _module(name: str) -> _BackendModule:
    return cast(_BackendModule, importlib.import_module(_module_name(name)))


def _module_name(name: str) -> str:
    return f"sameo_model.runtime.backends.{name}"
