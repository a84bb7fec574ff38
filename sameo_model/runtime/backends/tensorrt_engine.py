"""One deserialised TensorRT engine with its execution context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sameo_model.runtime.backends.base import BackendUnavailableError
from sameo_model.runtime.backends.gpu import DeviceBlock
from sameo_model.runtime.backends.tensorrt_flavour import OUT_OF_MEMORY, ErrorLog, Flavour

if TYPE_CHECKING:
    import tensorrt as trt

_NO_DRIVER = ("driver version is insufficient", "cudaError 35")


class TensorRtEngine:
    """Runs one engine on one stream; see `gpu.LoadedEngine` for what each method does."""

    def __init__(self, flavour: Flavour, data: bytes, stream: int) -> None:
        """Deserialise an engine and make its execution context, without memory to work in.

        Raises:
            MemoryError: If the GPU has too little memory.
            BackendUnavailableError: If TensorRT does not take the engine.
        """
        self._log = ErrorLog(flavour)
        self._stream = stream
        api = flavour.api
        runtime: trt.Runtime | None = api.Runtime(self._log.native)
        engine: trt.ICudaEngine | None = None
        if runtime is not None:
            engine = runtime.deserialize_cuda_engine(data)
        if runtime is None or engine is None:
            raise self._error(f"{flavour} did not take an engine")
        # The caller gives the memory, so that all engines share one block and none allocates.
        context: trt.IExecutionContext | None = engine.create_execution_context(
            api.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if context is None:
            raise self._error(f"{flavour} could not make ready to run an engine")
        self._runtime, self._engine, self._context = runtime, engine, context

    def set_num_boxes(self, num_boxes: int) -> None:
        """Set the only dynamic size: the first axis of the boxes, and of windows."""
        for name in ("boxes", *(name for name in self._input_names() if name == "images")):
            # A sequence, which TensorRT's type stubs do not declare as one.
            sizes: Any = self._engine.get_tensor_shape(name)
            if not self._context.set_input_shape(name, (num_boxes, *tuple(sizes)[1:])):
                raise self._error(f"the engine did not take {num_boxes} boxes")

    def _input_names(self) -> list[str]:
        indices = range(self._engine.num_io_tensors)
        return [self._engine.get_tensor_name(index) for index in indices]

    def scratch_bytes(self) -> int:
        """Return the size of the memory to work in."""
        return int(self._context.update_device_memory_size_for_shapes())

    def use_scratch(self, block: DeviceBlock) -> None:
        """Give the execution context its memory."""
        self._context.set_device_memory(block.address, block.num_bytes)

    def bind(self, name: str, block: DeviceBlock) -> None:
        """Set the address of an input or output."""
        if not self._context.set_tensor_address(name, block.address):
            raise self._error(f"the engine has no input or output '{name}'")

    def enqueue(self) -> None:
        """Start the engine on its stream."""
        if not self._context.execute_async_v3(self._stream):
            raise self._error("the engine did not run")

    def close(self) -> None:
        """Free context, engine and runtime, in this order."""
        del self._context
        del self._engine
        del self._runtime

    def _error(self, what: str) -> Exception:
        """Turn TensorRT's log into the exception that fits it."""
        reason = self._log.summary()
        if any(sign in reason for sign in OUT_OF_MEMORY):
            return MemoryError(f"{what}: {reason}")
        if any(sign in reason for sign in _NO_DRIVER):
            return BackendUnavailableError(
                f"{what}: the NVIDIA driver is missing, or too old for this TensorRT; update the "
                f"driver or install a TensorRT for its CUDA version ({reason})"
            )
        return BackendUnavailableError(
            f"{what}: {reason}; it belongs to another version, flavour or GPU, or is damaged: "
            "delete it and build it again on this machine"
        )
