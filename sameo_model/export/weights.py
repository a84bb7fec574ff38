"""Let ONNX graphs take their weights out of one safetensors file, so that each is stored once."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

DATA_TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "I64": TensorProto.INT64}


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in a file."""

    data_type: int  # code of `onnx.TensorProto`
    shape: tuple[int, ...]  # sizes of the axes
    offset: int  # first byte, from the beginning of the file
    length: int  # number of bytes


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Read from a safetensors file where its tensors lie.

    The file opens with the header's length (8 bytes, little endian) and the header, JSON; the
    tensors' offsets count from the header's end.
    """
    with path.open("rb") as file:
        (header_length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_length))
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = StoredTensor(
            data_type=DATA_TYPES[entry["dtype"]],
            shape=tuple(entry["shape"]),
            offset=8 + header_length + begin,
            length=end - begin,
        )
    return tensors


def attach_weights(model: onnx.ModelProto, path: Path) -> None:
    """Replace the graph's weight inputs by references into a safetensors file.

    Half-precision weights are cast to float32 where they enter the graph.

    Args:
        model: Graph whose weights are inputs named as the file's tensors; changed in place.
        path: The safetensors file; it must lie beside the graph when that is loaded.
    """
    tensors = stored_tensors(path)
    graph = model.graph
    weights = [value.name for value in graph.input if value.name in tensors]
    runtime_inputs = [value for value in graph.input if value.name not in tensors]
    casts = []
    for name in weights:
        stored = tensors[name]
        if stored.data_type == TensorProto.FLOAT16:
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
            name = f"{name}.half"
        graph.initializer.append(_external_tensor(name, stored, path.name))
    nodes = [*casts, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(runtime_inputs)


def _external_tensor(name: str, stored: StoredTensor, location: str) -> TensorProto:
    tensor = TensorProto(
        name=name,
        data_type=stored.data_type,
        dims=stored.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (
        ("location", location),
        ("offset", stored.offset),
        ("length", stored.length),
    ):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
