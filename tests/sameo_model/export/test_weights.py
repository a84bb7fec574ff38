"""Graphs find their weights inside a safetensors file."""

import numpy as np
import onnx
import safetensors.numpy
from onnx import TensorProto, helper

from sameo_model.export.weights import attach_weights, stored_tensors


def test_offsets_point_at_the_tensors_bytes(tmp_path):
    path = tmp_path / "weights.safetensors"
    tensors = {
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
        "single": np.array([1.5, -2.0], np.float32),
        "count": np.array(7, np.int64),
    }
    safetensors.numpy.save_file(tensors, path, metadata={"sameo": "{}"})
    content = path.read_bytes()
    stored = stored_tensors(path)
    assert stored.keys() == tensors.keys()
    for name, value in tensors.items():
        place = stored[name]
        assert place.shape == value.shape
        assert content[place.offset : place.offset + place.length] == value.tobytes()


def test_weight_inputs_become_references_and_half_weights_are_cast(tmp_path):
    path = tmp_path / "weights.safetensors"
    half = np.array([[1.0, 2.0], [3.0, 4.0]], np.float16)
    single = np.array([0.5, 0.25], np.float32)
    safetensors.numpy.save_file({"matrix": half, "bias": single, "unused": single}, path)

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("MatMul", ["x", "matrix"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["y"]),
    ]
    inputs = [value("x", 1, 2), value("matrix", 2, 2), value("bias", 2)]
    graph = helper.make_graph(nodes, "graph", inputs, [value("y", 1, 2)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    attach_weights(model, path)
    (tmp_path / "graph.onnx").write_bytes(model.SerializeToString())

    assert [item.name for item in model.graph.input] == ["x"]
    loaded = onnx.load(tmp_path / "graph.onnx")
    (result,) = onnx.reference.ReferenceEvaluator(loaded).run(
        None, {"x": np.array([[1.0, 10.0]], np.float32)}
    )
    # [1, 10] @ [[1, 2], [3, 4]] + [0.5, 0.25] = [31.5, 42.25]
    assert result.tolist() == [[31.5, 42.25]]
    assert result.dtype == np.float32
