"""What the TensorRT backend needs of a GPU, in as few calls as can be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sameo_model.runtime.types import Uint8Array


@dataclass(frozen=True, eq=False)
class DeviceBlock:
    """Memory of the GPU.

    Attributes:
        address: Where it begins.
        num_bytes: Its size.
    """

    address: int
    num_bytes: int


@dataclass(frozen=True, eq=False)
class PinnedBlock:
    """Memory of the host that the GPU reads and writes by itself.

    Attributes:
        array: uint8 (num_bytes,), the memory.
    """

    array: Uint8Array


class LoadedEngine(Protocol):
    """An engine on the GPU with its execution context, one at work at a time."""

    def set_num_boxes(self, num_boxes: int) -> None:
        """Say how many boxes the next call has; encoders have none."""

    def scratch_bytes(self) -> int:
        """Return how much memory the engine needs to work in for the number of boxes set."""

    def use_scratch(self, block: DeviceBlock) -> None:
        """Give the engine that memory."""

    def bind(self, name: str, block: DeviceBlock) -> None:
        """Say where an input or output lies."""

    def enqueue(self) -> None:
        """Start the engine on the GPU's stream.

        Raises:
            RuntimeError: If it cannot start.
        """

    def close(self) -> None:
        """Free the engine."""


class Gpu(Protocol):
    """One GPU with one stream; copies and engines run in the order in which they were started.

    Attributes:
        name: The GPU's name.
        compute_capability: Such as (8, 7).
    """

    name: str
    compute_capability: tuple[int, int]

    def current(self) -> AbstractContextManager[None]:
        """Make the GPU's context current on this thread for the length of a block."""

    def allocate(self, num_bytes: int) -> DeviceBlock:
        """Allocate memory of the GPU.

        Raises:
            MemoryError: If the GPU has not that much left.
        """

    def free(self, block: DeviceBlock) -> None:
        """Free memory of the GPU; nothing may use it any more."""

    def pin(self, num_bytes: int) -> PinnedBlock:
        """Allocate pinned memory of the host."""

    def unpin(self, block: PinnedBlock) -> None:
        """Free pinned memory."""

    def upload(self, block: DeviceBlock, source: PinnedBlock, num_bytes: int) -> None:
        """Start a copy from host to GPU."""

    def download(self, target: PinnedBlock, block: DeviceBlock, num_bytes: int) -> None:
        """Start a copy from GPU to host."""

    def copy(self, target: DeviceBlock, source: DeviceBlock, num_bytes: int) -> None:
        """Start a copy within the GPU."""

    def synchronise(self) -> None:
        """Wait until all that was started is done."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` starts as one CUDA graph; the result starts all of it at once."""

    def load_engine(self, data: bytes) -> LoadedEngine:
        """Load a serialised engine.

        Raises:
            MemoryError: If the GPU has too little memory.
            BackendUnavailableError: If it is not an engine for this GPU and TensorRT.
        """

    def close(self) -> None:
        """Release the GPU and all memory on it; a second call does nothing."""
