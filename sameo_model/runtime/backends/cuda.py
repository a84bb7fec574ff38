"""The thin layer over pycuda: primary context, memory, copies and one stream.

CUDA contexts belong to threads. This layer uses the primary context, which TensorRT, PyTorch and
the CUDA runtime share, never `pycuda.autoinit`, and leaves no context current between calls: what
`current` pushed, it pops.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sameo_model.runtime.backends.base import BackendUnavailableError
from sameo_model.runtime.backends.cuda_driver import DRIVER_LIBRARY, CudaDriver, CudaGraph
from sameo_model.runtime.backends.gpu import DeviceBlock, LoadedEngine, PinnedBlock

LoadEngine = Callable[[bytes, int], LoadedEngine]
"""Makes an engine from its bytes and the handle of the stream that it shall run on."""


def unavailable_reason() -> str | None:
    """Say why CUDA cannot be used here, or return None if it can."""
    try:
        CudaDriver()
    except OSError:
        return (
            f"there is no NVIDIA driver ({DRIVER_LIBRARY}) on this machine; it needs an NVIDIA GPU "
            "and its driver, in a container also the option '--gpus all'"
        )
    if importlib.util.find_spec("pycuda") is None:
        return "the Python package pycuda is missing; run 'pip install pycuda'"
    return None


def open_gpu(load_engine: LoadEngine, index: int = 0) -> CudaGpu:
    """Open a GPU.

    Args:
        load_engine: How to load engines on it.
        index: Number of the GPU.

    Raises:
        BackendUnavailableError: If there is no such GPU, or the driver does not answer.
    """
    if reason := unavailable_reason():
        raise BackendUnavailableError(reason)
    import pycuda.driver as cuda

    try:
        cuda.init()
        count = cuda.Device.count()
    except cuda.Error as error:
        raise BackendUnavailableError(
            f"the NVIDIA driver found no GPU that it can use ({error}); see what 'nvidia-smi' says"
        ) from error
    if index >= count:
        raise BackendUnavailableError(f"GPU {index} does not exist, there are {count}")
    return CudaGpu(cuda, cuda.Device(index), load_engine)


class CudaGpu:
    """A GPU through pycuda; see `gpu.Gpu` for what each method does."""

    def __init__(self, cuda: Any, device: Any, load_engine: LoadEngine) -> None:
        """Retain the device's primary context and make a stream; `open_gpu` is the way here."""
        self._cuda = cuda
        self._driver = CudaDriver()
        self._load_engine = load_engine
        self.name: str = device.name()
        self.compute_capability: tuple[int, int] = device.compute_capability()
        self._context = device.retain_primary_context()
        self._allocations: dict[int, Any] = {}
        self._graphs: list[CudaGraph] = []
        self._closed = False
        with self.current():
            self._stream = cuda.Stream()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the primary context current on this thread for the length of a block."""
        self._context.push()
        try:
            yield
        finally:
            self._cuda.Context.pop()

    def allocate(self, num_bytes: int) -> DeviceBlock:
        """Allocate memory of the GPU."""
        try:
            allocation = self._cuda.mem_alloc(num_bytes)
        except self._cuda.MemoryError as error:
            raise MemoryError(f"the GPU has no {num_bytes} bytes left") from error
        address = int(allocation)
        self._allocations[address] = allocation
        return DeviceBlock(address, num_bytes)

    def free(self, block: DeviceBlock) -> None:
        """Free memory of the GPU."""
        self._allocations.pop(block.address).free()

    def pin(self, num_bytes: int) -> PinnedBlock:
        """Allocate pinned memory of the host."""
        return PinnedBlock(self._cuda.pagelocked_empty(num_bytes, np.uint8))

    def unpin(self, block: PinnedBlock) -> None:
        """Free pinned memory."""
        block.array.base.free()  # type: ignore[union-attr]

    def upload(self, block: DeviceBlock, source: PinnedBlock, num_bytes: int) -> None:
        """Start a copy from host to GPU."""
        self._cuda.memcpy_htod_async(block.address, source.array[:num_bytes], self._stream)

    def download(self, target: PinnedBlock, block: DeviceBlock, num_bytes: int) -> None:
        """Start a copy from GPU to host."""
        self._cuda.memcpy_dtoh_async(target.array[:num_bytes], block.address, self._stream)

    def copy(self, target: DeviceBlock, source: DeviceBlock, num_bytes: int) -> None:
        """Start a copy within the GPU."""
        self._cuda.memcpy_dtod_async(target.address, source.address, num_bytes, self._stream)

    def synchronise(self) -> None:
        """Wait until all that was started is done."""
        self._stream.synchronize()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` starts as one CUDA graph."""
        graph = self._driver.record(self._stream.handle, work)
        self._graphs.append(graph)
        return graph.launch

    def load_engine(self, data: bytes) -> LoadedEngine:
        """Load a serialised engine."""
        return self._load_engine(data, self._stream.handle)

    def close(self) -> None:
        """Free all memory and release the primary context; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with self.current():
            for graph in self._graphs:
                graph.close()
            self._graphs.clear()
            for allocation in self._allocations.values():
                allocation.free()
            self._allocations.clear()
            del self._stream
        # pycuda releases a context only where it is current, or on the thread that made it, and
        # then leaves it on the driver's own stack.
        self._context.push()
        self._context.detach()
        if self._cuda.Context.get_current() is None:
            self._driver.pop_context()
