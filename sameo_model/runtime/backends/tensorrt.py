"""TensorRT on an NVIDIA GPU: engines from the cache, memory allocated once, one owner thread."""

from __future__ import annotations

import importlib.util
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sameo_model.runtime.backends import cuda
from sameo_model.runtime.backends.base import (
    MAX_BOXES,
    Backend,
    BackendOptions,
    BackendUnavailableError,
    CellBoxes,
    DecoderOutput,
)
from sameo_model.runtime.backends.build_progress import Report
from sameo_model.runtime.backends.engine_check import check_against_reference
from sameo_model.runtime.backends.engine_plan import EnginePlan, plan_engines
from sameo_model.runtime.backends.gpu import DeviceBlock, Gpu, LoadedEngine, PinnedBlock
from sameo_model.runtime.backends.tensorrt_detector import TensorRtDetector
from sameo_model.runtime.backends.tensorrt_engine import TensorRtEngine
from sameo_model.runtime.backends.tensorrt_flavour import MODULES, load_flavour
from sameo_model.runtime.bundle import LOGIT_STRIDE, Bundle
from sameo_model.runtime.types import FloatArray, Uint8Array

_LOGGER = logging.getLogger(__name__)

NUM_EMBEDDINGS = 4
"""Embeddings that have memory from the start; more are added while more are held."""


def unavailable_reason() -> str | None:
    """Say why TensorRT cannot run here, or return None if it can."""
    if all(importlib.util.find_spec(module) is None for module in MODULES.values()):
        return "neither the Python package tensorrt nor tensorrt_rtx is installed"
    return cuda.unavailable_reason()


def build_backend(bundle: Bundle, options: BackendOptions) -> Backend:
    """Build the backend; see `backends.base.build_backend`.

    Engines that the cache lacks are built first, which takes seconds to many minutes; progress
    is logged.

    Raises:
        ValueError: If a precision, a number of threads or pinned threads are asked for.
        BackendUnavailableError: If there is no usable GPU, driver or TensorRT, or too little
            memory.
        RuntimeError: If an engine cannot be built or stored, or failed its check.
    """
    _check_options(options)
    flavour = load_flavour()
    gpu = cuda.open_gpu(lambda data, stream: TensorRtEngine(flavour, data, stream))
    try:
        plan = plan_engines(bundle, flavour, gpu.name, gpu.compute_capability, options.cache_dir)
        return start_backend(gpu, bundle, plan, cuda_graph=options.cuda_graph is not False)
    except BaseException:
        gpu.close()
        raise


def _check_options(options: BackendOptions) -> None:
    if options.precision is not None:
        raise ValueError(
            "precision of backend tensorrt is that of the bundle's graphs; leave the option out "
            "and export with 'python -m sameo_model.export --precision ...'"
        )
    if options.threads is not None:
        raise ValueError("backend tensorrt runs on the GPU; leave the number of threads out")
    if options.pin_threads != "auto":
        raise ValueError("backend tensorrt runs on the GPU; leave pin_threads at auto")


def start_backend(
    gpu: Gpu,
    bundle: Bundle,
    plan: EnginePlan,
    report: Callable[[str], Report] | None = None,
    *,
    cuda_graph: bool = True,
) -> TensorRtBackend:
    """Build what engines are missing, load all, and check those that are new.

    Args:
        gpu: The GPU; the backend closes it, unless this call fails.
        bundle: The bundle.
        plan: Its engines for this GPU.
        report: Creates the progress callback of a build; None logs the progress.
        cuda_graph: Whether to start the encoder as one CUDA graph, where the GPU can.

    Raises:
        RuntimeError: If a new engine's masks or boxes are not those of the bundle; it is deleted.
    """
    with gpu.current():
        engines, new = plan.load_or_build(report)
    device = f"{gpu.name}, {plan.flavour}, {plan.precision}"
    kind = TensorRtBackend
    if bundle.window_segmenter is not None:
        from sameo_model.runtime.backends.tensorrt_windows import TensorRtWindows

        kind = TensorRtWindows
    backend = kind(
        gpu,
        engines,
        bundle.info.image_size,
        device,
        cuda_graph=cuda_graph,
        detector_size=bundle.detector_size,
    )
    names = (Path(key.file_name).stem for key in plan.keys.values())
    backend.engine_key = " ".join(sorted(names))
    if new:
        try:
            check_against_reference(backend, bundle)
        except RuntimeError:
            plan.forget(new)
            backend.close()
            raise
    return backend


class EmbeddingHandle:
    """An embedding on the GPU; its memory is used again once the handle is dropped."""

    def __init__(self, block: DeviceBlock, owner: TensorRtBackend) -> None:
        """Name the memory and the backend that it belongs to."""
        self.block = block
        self.owner = owner


class TensorRtBackend(Backend):
    """Runs the engines of one bundle on one GPU stream.

    Everything is allocated when the backend is built, for chunks of up to 64 boxes; where the
    GPU has too little memory, for smaller chunks. All calls must come from the thread that built
    it; handles may be dropped, and the backend closed, anywhere.
    """

    name = "tensorrt"

    def __init__(
        self,
        gpu: Gpu,
        engines: dict[str, bytes],
        image_size: int,
        device: str,
        *,
        cuda_graph: bool = True,
        detector_size: int = 0,
    ) -> None:
        """Load engines, allocate memory and run everything once.

        Args:
            gpu: The GPU; the backend closes it.
            engines: Serialised engines of `image_encoder`, `mask_decoder` and, where the bundle has
                them, `visible_decoder` and `detector`.
            image_size: Side S of the model's square input, pixels.
            device: Description of the device.
            cuda_graph: Whether to start the encoder as one CUDA graph, where the GPU can.
            detector_size: Side D of the detector's square input, pixels; 0 without one.

        Raises:
            BackendUnavailableError: If the GPU has too little memory, or refuses an engine.
        """
        self.device = device
        self.has_visible_decoder = not {"visible_decoder", "window_segmenter"}.isdisjoint(engines)
        self._gpu, self._image_size = gpu, image_size
        self._thread = threading.get_ident()
        self._closed = False
        self._engines: dict[str, LoadedEngine] = {}
        self._blocks: list[DeviceBlock] = []
        self._pinned: list[PinnedBlock] = []
        self._detector: TensorRtDetector | None = None
        self._launch_encoder = self._enqueue_encoder
        with gpu.current():
            try:
                if "detector" in engines:
                    self._load_detector(engines["detector"], detector_size)
                self._load({name: engines[name] for name in engines if name != "detector"})
                self._warm_up(cuda_graph)
            except MemoryError as error:
                self._release()
                raise BackendUnavailableError(
                    f"GPU {gpu.name} has too little memory even for one box at a time ({error}); "
                    "stop other programs on it, or use a smaller model or image size"
                ) from error

    @property
    def max_chunk(self) -> int:
        """Most boxes that run at once; more are decoded in chunks."""
        return self._chunk

    def encode(self, image: Uint8Array) -> EmbeddingHandle:
        """Copy an image to the GPU and encode it; the embedding stays there."""
        self._check_call()
        _check_image(image, self._image_size)
        with self._gpu.current():
            slot = self._take_slot()
            self._image_host.array[:] = image.reshape(-1)
            self._launch_encoder()
            self._gpu.copy(slot, self._embedding, self._embedding.num_bytes)
            self._gpu.synchronise()
        handle = EmbeddingHandle(slot, self)
        weakref.finalize(handle, self._free_slots.append, slot)
        return handle

    def decode(self, handle: EmbeddingHandle, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Run the decoders, in chunks where there are more boxes than fit.

        Args:
            handle: What `encode` returned.
            boxes: float32 (N, 4), x1, y1, x2, y2 in model pixels; any N, 0 included.
            visible: Whether to run the visible decoder too.
        """
        self._check_call()
        if handle.owner is not self:
            raise ValueError("embedding must come from this backend; it was made by another one")
        with_visible = visible and self.has_visible_decoder
        side = self._image_size // LOGIT_STRIDE
        logits = np.empty((len(boxes), side, side), np.float32)
        iou = np.empty(len(boxes), np.float32)
        visible_logits = np.empty_like(logits) if with_visible else None
        with self._gpu.current():
            for start in range(0, len(boxes), self._chunk):
                rows = slice(start, start + self._chunk)
                targets = {"amodal_logits": logits[rows], "predicted_iou": iou[rows]}
                if visible_logits is not None:
                    targets["visible_logits"] = visible_logits[rows]
                self._decode_chunk(handle.block, boxes[rows], targets)
        return DecoderOutput(logits, iou, visible_logits)

    def find_boxes(self, image: Uint8Array) -> CellBoxes:
        """Run the detector; see `Backend.find_boxes`."""
        if self._detector is None:
            raise ValueError(self.no_detector)
        self._check_call()
        _check_image(image, self._detector.side)
        with self._gpu.current():
            return self._detector.run(image)

    def close(self) -> None:
        """Free everything on the GPU; a second call does nothing."""
        if self._closed:
            return
        with self._gpu.current():
            self._release()
        self._gpu.close()

    def _check_call(self) -> None:
        if self._closed:
            raise RuntimeError("backend tensorrt is closed; load the predictor again")
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "backend tensorrt must be called from the thread that built it; build and use the "
                "predictor in one worker thread"
            )

    def _load_detector(self, data: bytes, side: int) -> None:
        """Load the detector and run it once."""
        engine = self._gpu.load_engine(data)
        self._detector = TensorRtDetector(self._gpu, engine, side, self._allocate, self._pin)
        self._detector.run(np.zeros((side, side, 3), np.uint8))

    def _load(self, engines: dict[str, bytes]) -> None:
        for name, data in engines.items():
            self._engines[name] = self._gpu.load_engine(data)
        side = self._image_size
        image_bytes, embedding_bytes = side * side * 3, 256 * (side // 16) ** 2 * 4
        self._image_host, self._image = self._pin(image_bytes), self._allocate(image_bytes)
        self._embedding = self._allocate(embedding_bytes)
        slots = (self._allocate(embedding_bytes) for _ in range(NUM_EMBEDDINGS))
        self._free_slots: deque[DeviceBlock] = deque(slots)
        self._allocate_chunk()
        encoder = self._engines["image_encoder"]
        encoder.bind("image", self._image)
        encoder.bind("embedding", self._embedding)

    def _allocate_chunk(self) -> None:
        """Allocate for as many boxes at once as the GPU has memory for."""
        chunk = MAX_BOXES
        while True:
            num_kept = len(self._blocks), len(self._pinned)
            try:
                self._allocate_for(chunk)
                break
            except MemoryError:
                self._free_beyond(*num_kept)
                if chunk == 1:
                    raise
                chunk //= 2
        self._chunk = chunk
        if chunk < MAX_BOXES:
            _LOGGER.warning(
                "GPU %s has memory for %d boxes at once, not %d; more are decoded in chunks",
                self._gpu.name,
                chunk,
                MAX_BOXES,
            )

    def _allocate_for(self, chunk: int) -> None:
        row_bytes = {"boxes": 16, "predicted_iou": 4}
        row_bytes["amodal_logits"] = (self._image_size // LOGIT_STRIDE) ** 2 * 4
        if self.has_visible_decoder:
            row_bytes["visible_logits"] = row_bytes["amodal_logits"]
        scratch_bytes = 0
        for name, engine in self._engines.items():
            if name != "image_encoder":
                engine.set_num_boxes(chunk)
            scratch_bytes = max(scratch_bytes, engine.scratch_bytes())
        # The engines run one after the other, so that one block serves them all.
        self._scratch = self._allocate(max(scratch_bytes, 1))
        self._device = {name: self._allocate(chunk * size) for name, size in row_bytes.items()}
        self._host = {name: self._pin(chunk * size) for name, size in row_bytes.items()}
        for name, engine in self._engines.items():
            engine.use_scratch(self._scratch)
            if name != "image_encoder":
                engine.bind("boxes", self._device["boxes"])
        for name, block in self._device.items():
            if name != "boxes":
                of_visible = name == "visible_logits"
                self._engines["visible_decoder" if of_visible else "mask_decoder"].bind(name, block)

    def _warm_up(self, cuda_graph: bool) -> None:
        """Run everything once, so that what TensorRT prepares late is ready."""
        self._image_host.array[:] = 0
        self._launch_encoder()
        self._gpu.synchronise()
        if cuda_graph:
            try:
                self._launch_encoder = self._gpu.record(self._enqueue_encoder)
            except RuntimeError as error:
                _LOGGER.info("the encoder runs without a CUDA graph: %s", error)
        boxes = np.tile(np.array([[0, 0, 16, 16]], np.float32), (self._chunk, 1))
        side = self._image_size // LOGIT_STRIDE
        for count in {1, self._chunk}:
            targets = {
                "amodal_logits": np.empty((count, side, side), np.float32),
                "predicted_iou": np.empty(count, np.float32),
            }
            if self.has_visible_decoder:
                targets["visible_logits"] = np.empty((count, side, side), np.float32)
            self._decode_chunk(self._embedding, boxes[:count], targets)

    def _enqueue_encoder(self) -> None:
        self._gpu.upload(self._image, self._image_host, self._image.num_bytes)
        self._engines["image_encoder"].enqueue()

    def _decode_chunk(
        self, embedding: DeviceBlock, boxes: FloatArray, targets: dict[str, FloatArray]
    ) -> None:
        """Decode up to a chunk of boxes into arrays whose rows they fill."""
        rows = np.ascontiguousarray(boxes, np.float32)
        self._host["boxes"].array[: rows.nbytes] = rows.view(np.uint8).reshape(-1)
        self._gpu.upload(self._device["boxes"], self._host["boxes"], rows.nbytes)
        names = ["mask_decoder"] + (["visible_decoder"] if "visible_logits" in targets else [])
        for name in names:
            engine = self._engines[name]
            engine.bind("embedding", embedding)
            engine.set_num_boxes(len(rows))
            engine.enqueue()
        self._collect(targets)

    def _collect(self, targets: dict[str, FloatArray]) -> None:
        """Wait for the outputs of these names and copy them into the arrays."""
        for name, target in targets.items():
            self._gpu.download(self._host[name], self._device[name], target.nbytes)
        self._gpu.synchronise()
        for name, target in targets.items():
            found = self._host[name].array[: target.nbytes].view(np.float32)
            target[:] = found.reshape(target.shape)

    def _take_slot(self) -> DeviceBlock:
        try:
            return self._free_slots.popleft()
        except IndexError:
            _LOGGER.info("more than %d embeddings are held; adding memory", NUM_EMBEDDINGS)
            return self._allocate(self._embedding.num_bytes)

    def _allocate(self, num_bytes: int) -> DeviceBlock:
        block = self._gpu.allocate(num_bytes)
        self._blocks.append(block)
        return block

    def _pin(self, num_bytes: int) -> PinnedBlock:
        block = self._gpu.pin(num_bytes)
        self._pinned.append(block)
        return block

    def _free_beyond(self, num_blocks: int, num_pinned: int) -> None:
        for block in self._blocks[num_blocks:]:
            self._gpu.free(block)
        for pinned in self._pinned[num_pinned:]:
            self._gpu.unpin(pinned)
        del self._blocks[num_blocks:], self._pinned[num_pinned:]

    def _release(self) -> None:
        """Free engines before the memory that they were bound to."""
        self._closed = True
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()
        if self._detector is not None:
            self._detector.close()
        self._free_beyond(0, 0)


def _check_image(image: Uint8Array, side: int) -> None:
    if image.shape != (side, side, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"image must be uint8 ({side}, {side}, 3), got {image.dtype} {image.shape}; resize "
            "it with sameo_model.runtime.preprocess.resize_image"
        )
