"""The few calls of the CUDA driver that pycuda does not wrap: graphs, and a bare context pop."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

DRIVER_LIBRARY = "libcuda.so.1"
_CAPTURE_THREAD_LOCAL = 1


class CudaDriver:
    """Calls of libcuda by name; every failed one raises RuntimeError with the call's name."""

    def __init__(self) -> None:
        """Load the driver library.

        Raises:
            OSError: If there is none.
        """
        self._library = ctypes.CDLL(DRIVER_LIBRARY)

    def record(self, stream: int, work: Callable[[], None]) -> CudaGraph:
        """Record what `work` starts on a stream as a graph.

        Args:
            stream: Handle of the stream.
            work: Starts copies and kernels on that stream; it must not allocate or wait.

        Raises:
            RuntimeError: If something in `work` cannot be recorded.
        """
        handle = ctypes.c_void_p(stream)
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuStreamBeginCapture_v2", handle, ctypes.c_int(_CAPTURE_THREAD_LOCAL))
        try:
            work()
        finally:
            self.call("cuStreamEndCapture", handle, ctypes.byref(graph))
        try:
            self.call(
                "cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong()
            )
        finally:
            self.call("cuGraphDestroy", graph)
        return CudaGraph(self, executable, handle)

    def pop_context(self) -> None:
        """Take the current context off this thread's stack."""
        self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the driver."""
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RuntimeError(f"CUDA call {name} failed with error {status}")


class CudaGraph:
    """Recorded work that one call starts."""

    def __init__(
        self, driver: CudaDriver, executable: ctypes.c_void_p, stream: ctypes.c_void_p
    ) -> None:
        """Take over an instantiated graph; `CudaDriver.record` is the way here."""
        self._driver, self._executable, self._stream = driver, executable, stream

    def launch(self) -> None:
        """Start the work."""
        self._driver.call("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Free the graph."""
        self._driver.call("cuGraphExecDestroy", self._executable)
