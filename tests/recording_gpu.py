"""A recording double of the thin CUDA layer, and of that layer alone.

Memory is NumPy arrays, copies really copy, and "engines" run a graph with ONNX Runtime on that
memory, so that the backend's own work (buffers, chunks, life cycles) gives real masks. It refuses
what a GPU would refuse or, worse, would not notice: memory that was freed, copies beyond a
block's end, calls without a current context.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager

import numpy as np
import onnxruntime

from sameo_model.runtime.backends.gpu import DeviceBlock, PinnedBlock

DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class RecordingGpu:
    name = "recording double"
    compute_capability = (8, 6)

    def __init__(self, total_bytes: int = 1 << 40, scratch_per_box: int = 1000, records=True):
        self.total_bytes, self.scratch_per_box, self.can_record = (
            total_bytes,
            scratch_per_box,
            records,
        )
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.calls: list[tuple] = []
        self.threads: set[int] = set()
        self.engines: list[OnnxEngine] = []
        self.num_closed = 0
        self._next, self._depth = 4096, Counter()

    def counts(self) -> Counter:
        return Counter(call[0] for call in self.calls)

    def note(self, *call) -> None:
        thread = threading.get_ident()
        assert self._depth[thread], f"{call} without a current context"
        self.threads.add(thread)
        self.calls.append(call)

    @contextmanager
    def current(self):
        self._depth[threading.get_ident()] += 1
        try:
            yield
        finally:
            self._depth[threading.get_ident()] -= 1

    def allocate(self, num_bytes):
        self.note("allocate", num_bytes)
        if sum(block.size for block in self.memory.values()) + num_bytes > self.total_bytes:
            raise MemoryError(f"no {num_bytes} bytes left")
        address, self._next = self._next, self._next + num_bytes + 4096
        self.memory[address] = np.zeros(num_bytes, np.uint8)
        return DeviceBlock(address, num_bytes)

    def free(self, block):
        self.note("free", block.num_bytes)
        del self.memory[block.address]

    def pin(self, num_bytes):
        self.note("pin", num_bytes)
        array = np.zeros(num_bytes, np.uint8)
        self.pinned[id(array)] = array
        return PinnedBlock(array)

    def unpin(self, block):
        self.note("unpin", block.array.size)
        del self.pinned[id(block.array)]

    def upload(self, block, source, num_bytes):
        self.note("upload", num_bytes)
        assert id(source.array) in self.pinned
        self.memory[block.address][:num_bytes] = source.array[:num_bytes]

    def download(self, target, block, num_bytes):
        self.note("download", num_bytes)
        assert id(target.array) in self.pinned
        target.array[:num_bytes] = self.memory[block.address][:num_bytes]

    def copy(self, target, source, num_bytes):
        self.note("copy", num_bytes)
        self.memory[target.address][:num_bytes] = self.memory[source.address][:num_bytes]

    def synchronise(self):
        self.note("synchronise")

    def record(self, work):
        if not self.can_record:
            raise RuntimeError("CUDA call cuStreamEndCapture failed with error 900")
        self.note("record")
        return work

    def load_engine(self, data):
        self.note("load_engine")
        self.engines.append(OnnxEngine(self, data.decode()))
        return self.engines[-1]

    def close(self):
        assert not self.memory, "GPU memory left"
        assert not self.pinned, "pinned memory left"
        self.num_closed += 1


class OnnxEngine:
    """Runs the graph whose path its "bytes" are on the double's memory."""

    def __init__(self, gpu: RecordingGpu, path: str):
        self.gpu, self.graph = gpu, path.rsplit("/", 1)[-1].removesuffix(".onnx")
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.bound: dict[str, DeviceBlock] = {}
        self.num_boxes, self.scratch, self.is_closed = 1, None, False

    def set_num_boxes(self, num_boxes):
        assert self.graph not in ("image_encoder", "detector")
        assert 1 <= num_boxes <= 64, "outside the engine's profile"
        self.num_boxes = num_boxes

    def scratch_bytes(self):
        return self.gpu.scratch_per_box * self.num_boxes

    def use_scratch(self, block):
        self.scratch = block

    def bind(self, name, block):
        self.bound[name] = block

    def enqueue(self):
        assert not self.is_closed
        assert self.scratch.address in self.gpu.memory
        assert self.scratch.num_bytes >= self.scratch_bytes()
        self.gpu.note("enqueue", self.graph, self.num_boxes)
        inputs = {entry.name: self._read(entry) for entry in self.session.get_inputs()}
        for entry, value in zip(
            self.session.get_outputs(), self.session.run(None, inputs), strict=True
        ):
            flat = np.ascontiguousarray(value).view(np.uint8).reshape(-1)
            self.gpu.memory[self.bound[entry.name].address][: flat.size] = flat

    def _read(self, entry):
        shape = [side if isinstance(side, int) else self.num_boxes for side in entry.shape]
        dtype = np.dtype(DTYPES[entry.type])
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        memory = self.gpu.memory[self.bound[entry.name].address]
        assert num_bytes <= memory.size, f"{entry.name} is read beyond its memory"
        return memory[:num_bytes].view(dtype).reshape(shape)

    def close(self):
        self.is_closed = True
