"""The detector's engine with memory of its own: one image in, the boxes of all cells out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sameo_model.runtime.backends.base import CellBoxes
from sameo_model.runtime.backends.engine_build import graph_contract
from sameo_model.runtime.backends.gpu import DeviceBlock, Gpu, LoadedEngine, PinnedBlock
from sameo_model.runtime.types import Uint8Array


class TensorRtDetector:
    """Runs `detector`; its backend keeps the memory and makes the GPU's context current.

    Attributes:
        side: Side D of its square input, pixels.
    """

    def __init__(
        self,
        gpu: Gpu,
        engine: LoadedEngine,
        side: int,
        allocate: Callable[[int], DeviceBlock],
        pin: Callable[[int], PinnedBlock],
    ) -> None:
        """Allocate memory for one image.

        Args:
            engine: The engine on it; `close` closes it.
            side: Side D of its square input, pixels.
            allocate: Allocates memory of the GPU.
            pin: Allocates pinned memory of the host.

        Raises:
            MemoryError: If the GPU has too little memory.
        """
        self.side = side
        self._gpu, self._engine = gpu, engine
        contract = graph_contract("detector", side)
        self._shapes = {name: shape for name, (_, shape) in contract.items()}
        num_bytes = {
            name: math.prod(shape) * (1 if kind == "UINT8" else 4)
            for name, (kind, shape) in contract.items()
        }
        try:
            scratch = allocate(max(engine.scratch_bytes(), 1))
            self._device = {name: allocate(size) for name, size in num_bytes.items()}
            self._host = {name: pin(size) for name, size in num_bytes.items()}
        except MemoryError:
            engine.close()
            raise
        engine.use_scratch(scratch)
        for name, block in self._device.items():
            engine.bind(name, block)

    def run(self, image: Uint8Array) -> CellBoxes:
        """Search an image.

        Args:
            image: uint8 (D, D, 3), RGB.
        """
        self._host["image"].array[:] = image.reshape(-1)
        self._gpu.upload(self._device["image"], self._host["image"], image.nbytes)
        self._engine.enqueue()
        for name in CellBoxes._fields:
            block = self._device[name]
            self._gpu.download(self._host[name], block, block.num_bytes)
        self._gpu.synchronise()
        return CellBoxes(
            *(
                self._host[name].array.view(np.float32).reshape(self._shapes[name]).copy()
                for name in CellBoxes._fields
            )
        )

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()
