"""Write a float32 graph in another precision: TensorRT 11 and RTX take types from the graph."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from sameo_model.runtime.backends.engine_plan import PRECISION_KEY, bundle_precision
from sameo_model.runtime.backends.precision_choice import VERIFIED_KEY
from sameo_model.runtime.bundle import CLICK_GRAPHS, Bundle, load_bundle, write_bundle_info

PRECISIONS = ("f32", "f16", "bf16", "mixed")
LOW_TYPES = {
    "f16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "mixed": TensorProto.FLOAT16,
}
KEEPABLE = ("softmax", "norm", "position", "iou_head", "pixels", "cells")
"""Parts of the network that can stay in float32, see `kept_nodes`."""
# In bfloat16 a coordinate from 256 on is known to 2 pixels.
KEPT = {"f16": (), "bf16": ("cells",), "mixed": KEEPABLE}
# Inputs from this position on stay as they are, whatever the operator works in.
_FIRST_FIXED_INPUT = {"Resize": 1, "Shape": 0}
_NORMS = ("LayerNormalization", "InstanceNormalization")


def check_precision(precision: str) -> None:
    """Refuse an unknown precision.

    Raises:
        ValueError: If it is none of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got '{precision}'")


def write_typed_bundle(source: Bundle, folder: Path, precision: str) -> Bundle:
    """Write a bundle whose graphs compute in a precision; weights are shared as they are stored.

    Args:
        source: A bundle with float32 graphs, or with graphs of that precision. Its graph for
            clicks is left out: TensorRT, which reads types from graphs, does not run it.
        folder: An empty folder.
        precision: One of `PRECISIONS`.

    Raises:
        ValueError: If the precision is unknown, or the source has another one.
    """
    check_precision(precision)
    found = bundle_precision(source)
    if found not in ("f32", precision):
        raise ValueError(
            f"bundle {source.folder} must have float32 graphs to be converted to {precision}, "
            f"but is {found}; start from its checkpoint or its f32 bundle"
        )
    names = [name for name in source.info.files if name not in CLICK_GRAPHS]
    for name in names:
        if not name.endswith(".onnx"):
            shutil.copyfile(source.folder / name, folder / name)
            continue
        graph = onnx.load(source.folder / name, load_external_data=False)
        typed = graph if precision == found else to_precision(graph, precision)
        (folder / name).write_bytes(typed.SerializeToString())
    for name in names:
        if name.endswith(".onnx"):
            onnx.checker.check_model(str(folder / name))
    info = asdict(source.info)
    del info["files"]
    # What was verified are the float32 graphs.
    kept = {key: value for key, value in info["scores"].items() if key != VERIFIED_KEY}
    info["scores"] = {**kept, PRECISION_KEY: precision}
    write_bundle_info(folder, **info)
    return load_bundle(folder)


def to_precision(
    model: onnx.ModelProto, precision: str, keep: tuple[str, ...] | None = None
) -> onnx.ModelProto:
    """Return a graph that computes in a lower precision; inputs and outputs keep their types.

    Args:
        model: A float32 graph, whose weights may be stored as float16; it is not changed.
        precision: `f16`, `bf16` or `mixed`.
        keep: Which of `KEEPABLE` stay in float32; None is what the precision says.
    """
    kept = kept_nodes(model, KEPT[precision] if keep is None else keep)
    return _Typing(model, LOW_TYPES[precision], kept).run()


def kept_nodes(model: onnx.ModelProto, keep: tuple[str, ...]) -> set[int]:
    """Return the positions of the nodes that belong to parts of the network.

    Args:
        keep: Of `KEEPABLE`: `softmax`; `norm` (layer and group normalisation); `position` (all
            that leads to a sine or cosine of coordinates); `iou_head` (the head and what follows
            it); `pixels` (from the image to the first convolution); `cells` (the detector's last
            convolutions and what follows them).
    """
    nodes = model.graph.node
    kept: set[int] = set()
    if "softmax" in keep:
        kept |= {i for i, node in enumerate(nodes) if node.op_type == "Softmax"}
    if "norm" in keep:
        kept |= {i for i, node in enumerate(nodes) if node.op_type in _NORMS}
    if "position" in keep:
        waves = {i for i, node in enumerate(nodes) if node.op_type in ("Sin", "Cos")}
        kept |= _ancestors(model, waves)
    if "iou_head" in keep:
        kept |= _descendants(model, _users_of(model, "iou_prediction_head"), stop=())
    if "cells" in keep:
        kept |= _descendants(model, _users_of(model, "output"), stop=())
    if "pixels" in keep:
        image_users = {i for i, node in enumerate(nodes) if {"image", "images"} & set(node.input)}
        kept |= _descendants(model, image_users, stop=("Conv",))
    return kept


def _users_of(model: onnx.ModelProto, part: str) -> set[int]:
    """Return the nodes that compute with weights of a part of the network."""
    names = {entry.name for entry in model.graph.initializer if f".{part}." in entry.name}
    users: set[int] = set()
    for index, node in enumerate(model.graph.node):
        if names & set(node.input):
            # What only prepares the weights (casts, transpositions) hands its name on.
            if all(name in names or not name for name in node.input):
                names |= set(node.output)
            else:
                users.add(index)
    return users


def _ancestors(model: onnx.ModelProto, nodes: set[int]) -> set[int]:
    found = set(nodes)
    wanted = {name for index in nodes for name in model.graph.node[index].input}
    for index in range(len(model.graph.node) - 1, -1, -1):
        node = model.graph.node[index]
        if wanted & set(node.output):
            found.add(index)
            wanted |= set(node.input)
    return found


def _descendants(model: onnx.ModelProto, nodes: set[int], stop: tuple[str, ...]) -> set[int]:
    """Return the nodes that float values of others reach, up to operators that stop them."""
    floats = _float_names(model)
    found = set(nodes)
    reached = {name for i in nodes for name in model.graph.node[i].output if name in floats}
    for index, node in enumerate(model.graph.node):
        if reached & set(node.input) and node.op_type not in stop:
            found.add(index)
            reached |= {name for name in node.output if name in floats}
    return found


def _float_names(model: onnx.ModelProto) -> set[str]:
    """Return the names of all float32 tensors of a graph, and of its float16 weights."""
    graph = shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    names = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    stored = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return names | {entry.name for entry in graph.initializer if entry.data_type in stored}


class _Typing:
    """One walk over a graph that gives every float tensor a type and puts casts where they meet."""

    def __init__(self, model: onnx.ModelProto, low: int, kept: set[int]) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.low, self.kept = low, kept
        graph = self.model.graph
        self.floats = _float_names(model)
        self.types: dict[str, int] = {v.name: TensorProto.FLOAT for v in graph.input}
        self.types |= {entry.name: entry.data_type for entry in graph.initializer}
        self.stored = {entry.name for entry in graph.initializer}
        self.alias: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.casts: dict[tuple[str, int], str] = {}

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        self._convert_small_weights()
        for index, node in enumerate(list(graph.node)):
            if node.op_type == "Cast" and node.input[0] in self.stored:
                # A float16 weight on its way to float32: its users ask for what they need.
                self.alias[node.output[0]] = node.input[0]
                continue
            self._add(node, TensorProto.FLOAT if index in self.kept else self.low)
        for output in graph.output:
            if self.types[output.name] != TensorProto.FLOAT:
                self._restore_output(output.name)
        del graph.node[:]
        graph.node.extend(self.nodes)
        return self.model

    def _add(self, node: onnx.NodeProto, wanted: int) -> None:
        fixed = _FIRST_FIXED_INPUT.get(node.op_type, len(node.input))
        for position, name in enumerate(node.input):
            if name in self.floats:
                source = self.alias.get(name, name)
                kind = wanted if position < fixed else self.types[source]
                node.input[position] = self._as_type(source, kind)
        for name in node.output:
            if name in self.floats:
                self.types[name] = wanted
        if node.op_type == "Cast" and node.output[0] in self.floats:
            node.attribute[0].i = wanted
        self.nodes.append(node)

    def _as_type(self, source: str, kind: int) -> str:
        if self.types[source] == kind:
            return source
        if (source, kind) not in self.casts:
            target = f"{source}.{TensorProto.DataType.Name(kind).lower()}"
            self.nodes.append(helper.make_node("Cast", [source], [target], to=kind))
            self.casts[source, kind] = target
        return self.casts[source, kind]

    def _restore_output(self, name: str) -> None:
        """Give a graph's output its float32 back, under its own name."""
        inner = f"{name}.inner"
        for node in self.nodes:
            for names in (node.input, node.output):
                for position, found in enumerate(names):
                    if found == name:
                        names[position] = inner
        self.nodes.append(helper.make_node("Cast", [inner], [name], to=TensorProto.FLOAT))

    def _convert_small_weights(self) -> None:
        """Store the numbers that a graph holds itself, such as the limits of a clip, in low."""
        for entry in self.model.graph.initializer:
            is_inside = entry.data_location != TensorProto.EXTERNAL
            if is_inside and entry.data_type == TensorProto.FLOAT and not self._is_kept(entry.name):
                value = numpy_helper.to_array(entry)
                entry.CopyFrom(_tensor(entry.name, value, self.low))
                self.types[entry.name] = self.low

    def _is_kept(self, name: str) -> bool:
        return any(
            name in node.input and (index in self.kept or node.op_type in _FIRST_FIXED_INPUT)
            for index, node in enumerate(self.model.graph.node)
        )


def _tensor(name: str, value: np.ndarray, kind: int) -> onnx.TensorProto:
    return helper.make_tensor(name, kind, value.shape, value.astype(np.float32).ravel().tolist())
