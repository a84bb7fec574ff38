"""Run a typed graph in PyTorch, rounding every tensor to its type: what low precision costs.

Arithmetic is float32 and each operator's result is rounded once, as tensor cores do that
accumulate in float32. A GPU may fuse operators and round less often, so this is an emulation and
no proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor
from torch.nn import functional as F

ROUNDED = {TensorProto.FLOAT16: torch.float16, TensorProto.BFLOAT16: torch.bfloat16}
TYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float32,
    TensorProto.BFLOAT16: torch.float32,
    TensorProto.INT64: torch.int64,
    TensorProto.INT32: torch.int32,
    TensorProto.BOOL: torch.bool,
    TensorProto.UINT8: torch.uint8,
}
FLOAT16_MAX = 65504.0


@dataclass
class EmulatedGraph:
    """A graph that PyTorch runs."""

    model: onnx.ModelProto  # the graph with its weights
    # largest absolute value that each tensor in low precision had in any run, before it was rounded
    largest: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the weights and the types of all tensors."""
        graph = self.model.graph
        self._weights = {entry.name: _weight(entry) for entry in graph.initializer}
        # A value's type follows from its operator; inference needs the types alone.
        inferred = onnx.shape_inference.infer_shapes(_without_data(self.model)).graph
        values = (*inferred.value_info, *inferred.input, *inferred.output)
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._last_use = {
            name: index for index, node in enumerate(graph.node) for name in node.input
        }

    @classmethod
    def load(cls, path: str | Path) -> EmulatedGraph:
        """Read a graph and the weights beside it."""
        return cls(onnx.load(path))

    @property
    def input_names(self) -> list[str]:
        """Names of the graph's inputs."""
        return [value.name for value in self.model.graph.input]

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute the outputs.

        Args:
            inputs: An array for each input of the graph.

        Returns:
            The outputs by name; rounded ones as float32.

        Raises:
            NotImplementedError: If the graph has an operator that this emulation lacks.
        """
        graph = self.model.graph
        values = {**self._weights, **{k: torch.from_numpy(v) for k, v in inputs.items()}}
        outputs = {output.name for output in graph.output}
        with torch.no_grad():
            for index, node in enumerate(graph.node):
                results = _compute(node, [values[name] if name else None for name in node.input])
                for name, result in zip(node.output, results, strict=True):
                    values[name] = self._round(name, result)
                for name in node.input:
                    if self._last_use.get(name) == index and name not in outputs:
                        values.pop(name, None)
        return {name: values[name].numpy() for name in outputs}

    def _round(self, name: str, value: Tensor) -> Tensor:
        kind = ROUNDED.get(self._types.get(name, TensorProto.UNDEFINED))
        if kind is None:
            return value
        peak = float(value.abs().amax()) if value.numel() else 0.0
        self.largest[name] = max(self.largest.get(name, 0.0), peak)
        return value.to(kind).float()


def _without_data(model: onnx.ModelProto) -> onnx.ModelProto:
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for entry in light.graph.initializer:
        if entry.data_type in (TensorProto.FLOAT, *ROUNDED) and len(entry.raw_data) > 4096:
            entry.ClearField("raw_data")
            entry.data_location = TensorProto.EXTERNAL
    return light


def _weight(entry: onnx.TensorProto) -> Tensor:
    array = numpy_helper.to_array(entry)
    if entry.data_type in (TensorProto.FLOAT, *ROUNDED):
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(np.array(array))


def _compute(node: onnx.NodeProto, inputs: list[Any]) -> list[Tensor]:
    operator = _OPERATORS.get(node.op_type)
    if operator is None:
        raise NotImplementedError(
            f"operator {node.op_type} cannot be emulated; add it to sameo_model.export.emulation"
        )
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    result = operator(attributes, *inputs)
    return list(result) if isinstance(result, tuple) else [result]


def _cast(attributes: dict[str, Any], value: Tensor) -> Tensor:
    # `run` rounds to float16 and bfloat16 afterwards.
    return value.to(TYPES[attributes["to"]])


def _conv(attributes: dict[str, Any], value: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    pads = attributes.get("pads", [0, 0, 0, 0])
    top, left, bottom, right = pads
    padded = F.pad(value, (left, right, top, bottom)) if any(pads) else value
    stride, groups = attributes.get("strides", 1), attributes.get("group", 1)
    return F.conv2d(padded, weight, bias, stride=stride, groups=groups)


def _average_pool(attributes: dict[str, Any], value: Tensor) -> Tensor:
    pads = attributes.get("pads", [0, 0, 0, 0])
    if pads[:2] != pads[2:] or attributes.get("ceil_mode", 0):
        raise NotImplementedError("operator AveragePool with uneven padding cannot be emulated")
    counts_pad = bool(attributes.get("count_include_pad", 0))
    kernel, stride = attributes["kernel_shape"], attributes.get("strides", 1)
    return F.avg_pool2d(value, kernel, stride, pads[:2], count_include_pad=counts_pad)


def _conv_transpose(
    attributes: dict[str, Any], value: Tensor, weight: Tensor, bias: Any = None
) -> Tensor:
    if any(attributes.get("pads", [])) or any(attributes.get("output_padding", [])):
        raise NotImplementedError("operator ConvTranspose with padding cannot be emulated")
    stride, groups = attributes.get("strides", 1), attributes.get("group", 1)
    return F.conv_transpose2d(value, weight, bias, stride=stride, groups=groups)


def _batch_norm(
    attributes: dict[str, Any],
    value: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
) -> Tensor:
    eps = attributes.get("epsilon", 1e-5)
    return F.batch_norm(value, mean, variance, weight, bias, eps=eps)


def _layer_norm(
    attributes: dict[str, Any], value: Tensor, weight: Tensor, bias: Any = None
) -> Tensor:
    shape = value.shape[attributes.get("axis", -1) :]
    return F.layer_norm(value, shape, weight, bias, eps=attributes.get("epsilon", 1e-5))


def _gemm(attributes: dict[str, Any], left: Tensor, right: Tensor, bias: Any = 0) -> Tensor:
    left = left.t() if attributes.get("transA", 0) else left
    right = right.t() if attributes.get("transB", 0) else right
    return attributes.get("alpha", 1.0) * (left @ right) + attributes.get("beta", 1.0) * bias


def _instance_norm(
    attributes: dict[str, Any], value: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    eps = attributes.get("epsilon", 1e-5)
    return F.instance_norm(value, weight=weight, bias=bias, eps=eps)


def _reshape(attributes: dict[str, Any], value: Tensor, shape: Tensor) -> Tensor:
    sizes = shape.tolist()
    if not attributes.get("allowzero", 0):
        sizes = [value.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return value.reshape(sizes)


def _slice(
    attributes: dict[str, Any],
    value: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Any = None,
    steps: Any = None,
) -> Tensor:
    count = len(starts)
    places = range(count) if axes is None else axes.tolist()
    strides = [1] * count if steps is None else steps.tolist()
    index: list[slice] = [slice(None)] * value.ndim
    for axis, start, end, step in zip(places, starts.tolist(), ends.tolist(), strides, strict=True):
        # ONNX writes "to the end" as the largest integer.
        side = value.shape[axis]
        index[axis] = slice(max(start, -side), min(end, side), step)
    return value[tuple(index)]


def _split(attributes: dict[str, Any], value: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
    return value.split(sizes.tolist(), attributes.get("axis", 0))


def _unsqueeze(attributes: dict[str, Any], value: Tensor, axes: Tensor) -> Tensor:
    ndim = value.ndim + len(axes)
    for axis in sorted(axis % ndim for axis in axes.tolist()):
        value = value.unsqueeze(axis)
    return value


def _squeeze(attributes: dict[str, Any], value: Tensor, axes: Any = None) -> Tensor:
    if axes is None:
        return value.squeeze()
    return value.squeeze(tuple(axes.tolist()))


def _gather(attributes: dict[str, Any], value: Tensor, index: Tensor) -> Tensor:
    axis = attributes.get("axis", 0)
    size = value.shape[axis]
    flat = torch.where(index < 0, index + size, index).reshape(-1)
    taken = value.index_select(axis, flat)
    axis %= value.ndim
    return taken.reshape(*value.shape[:axis], *index.shape, *value.shape[axis + 1 :])


def _gather_nd(attributes: dict[str, Any], value: Tensor, index: Tensor) -> Tensor:
    if attributes.get("batch_dims", 0):
        raise NotImplementedError("operator GatherND with batch_dims cannot be emulated")
    return value[tuple(index.unbind(-1))]


def _pad(
    attributes: dict[str, Any], value: Tensor, pads: Tensor, fill: Any = None, axes: Any = None
) -> Tensor:
    sizes = pads.tolist()
    half = len(sizes) // 2
    places = range(half) if axes is None else axes.tolist()
    amounts = [0] * (2 * value.ndim)
    for position, axis in enumerate(places):
        # PyTorch lists the last axis first.
        reverse = value.ndim - 1 - axis % value.ndim
        amounts[2 * reverse : 2 * reverse + 2] = sizes[position], sizes[position + half]
    return F.pad(value, amounts, value=0.0 if fill is None else fill.item())


def _resize(
    attributes: dict[str, Any], value: Tensor, roi: Any, scales: Any = None, sizes: Any = None
) -> Tensor:
    if sizes is not None:
        target = sizes.tolist()[2:]
    else:
        factors = scales.tolist()[2:]
        target = [int(side * factor) for side, factor in zip(value.shape[2:], factors, strict=True)]
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(attributes["mode"].decode(), "nearest")
    coordinates = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = attributes.get("nearest_mode", b"round_prefer_floor").decode()
    if mode == "nearest" and (coordinates, rounding) == ("asymmetric", "floor"):
        return F.interpolate(value, size=target, mode=mode)
    if mode == "nearest" or coordinates not in ("half_pixel", "pytorch_half_pixel"):
        raise NotImplementedError(f"operator Resize with {coordinates} cannot be emulated")
    return F.interpolate(value, size=target, mode=mode, align_corners=False)


def _depth_to_space(attributes: dict[str, Any], value: Tensor) -> Tensor:
    factor = attributes["blocksize"]
    if attributes.get("mode", b"DCR") == b"CRD":
        return F.pixel_shuffle(value, factor)
    cells = value.unflatten(1, (factor, factor, -1)).permute(0, 3, 4, 1, 5, 2)
    return cells.flatten(4, 5).flatten(2, 3)


def _expand(attributes: dict[str, Any], value: Tensor, shape: Tensor) -> Tensor:
    return value.expand(torch.broadcast_shapes(value.shape, tuple(shape.tolist())))


def _arg_max(attributes: dict[str, Any], value: Tensor) -> Tensor:
    return value.argmax(attributes.get("axis", 0), keepdim=bool(attributes.get("keepdims", 1)))


def _clip(attributes: dict[str, Any], value: Tensor, low: Any = None, high: Any = None) -> Tensor:
    return value.clamp(low, high)


def _shape(attributes: dict[str, Any], value: Tensor) -> Tensor:
    return torch.tensor(value.shape[attributes.get("start", 0) : attributes.get("end")])


_OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": lambda a, x, y: x + y,
    "ArgMax": _arg_max,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": lambda a, x: x.cos(),
    "DepthToSpace": _depth_to_space,
    "Div": lambda a, x, y: x / y if x.is_floating_point() else x // y,
    "Equal": lambda a, x, y: x == y,
    "Erf": lambda a, x: x.erf(),
    "Exp": lambda a, x: x.exp(),
    "Expand": _expand,
    "Gather": _gather,
    "GatherElements": lambda a, x, i: x.gather(a.get("axis", 0), i),
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "Greater": lambda a, x, y: x > y,
    "Identity": lambda a, x: x,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "Less": lambda a, x, y: x < y,
    "MatMul": lambda a, x, y: x @ y,
    "Mul": lambda a, x, y: x * y,
    "Pad": _pad,
    "Relu": lambda a, x: x.relu(),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Sigmoid": lambda a, x: x.sigmoid(),
    "Sin": lambda a, x: x.sin(),
    "Slice": _slice,
    "Softmax": lambda a, x: x.softmax(a.get("axis", -1)),
    "Softplus": lambda a, x: F.softplus(x),
    "Split": _split,
    "Sqrt": lambda a, x: x.sqrt(),
    "Squeeze": _squeeze,
    "Sub": lambda a, x, y: x - y,
    "Tile": lambda a, x, r: x.repeat(r.tolist()),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda a, c, x, y: torch.where(c, x, y),
}
