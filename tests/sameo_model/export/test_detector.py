"""A detector in a bundle finds what the network finds, and stays when the bundle is exported."""

import copy
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from sameo_model.export import __main__ as command
from sameo_model.export import bundle as exporting
from sameo_model.export import detector as detectors
from sameo_model.export import tensorrt as export
from sameo_model.export.detector import Detector, verify_detector
from sameo_model.export.emulation import EmulatedGraph
from sameo_model.export.graphs import detector_graph
from sameo_model.export.parity import DetectorParity, ParityImage
from sameo_model.export.precision import write_typed_bundle
from sameo_model.export.tensorrt import ParityRequest, write_precision
from sameo_model.export.verify import ParityError
from sameo_model.modeling.box_checkpoint import load_box_detector
from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.modeling.checkpoint import save_checkpoint
from sameo_model.runtime import load_predictor
from sameo_model.runtime.backends.base import build_backend
from sameo_model.runtime.backends.engine_check import REFERENCE_BOXES_FILE, reference_scene
from sameo_model.runtime.backends.engine_plan import plan_engines_for_target
from sameo_model.runtime.backends.tensorrt_flavour import load_flavour
from sameo_model.runtime.bundle import load_bundle
from tests.sameo_model.export.conftest import copy_graphs


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(8)
    model = BoxDetector(64).eval()
    with torch.no_grad():
        # Boxes and scores that differ from cell to cell, and statistics as after training.
        for head in model.box_head:
            torch.nn.init.normal_(head.output.weight, std=0.1)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.weight.add_(0.1 * torch.randn_like(module.weight))
    return model


@pytest.fixture(scope="module", autouse=True)
def trace_once():
    """Trace one detector; its graph, whose weights are inputs, serves all of that size."""
    traced = []

    def graph_of(model):
        if not traced:
            traced.append(detector_graph(model))
        return copy.deepcopy(traced[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "detector_graph", graph_of)
        yield


@pytest.fixture(scope="module")
def bundle(small_network, small_bundle, detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "with_detector"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            exporting, "_write_graphs", lambda model, draft: copy_graphs(small_bundle, draft)
        )
        made = Detector(detector, min_score=0.4, training={"steps": 3})
        exporting.export_bundle(small_network, folder, detector=made)
    return load_bundle(folder)


def test_the_bundle_says_what_its_detector_is(bundle):
    assert bundle.info.detector == {
        "image_size": 64,
        "min_score": 0.4,
        "training": {"steps": 3},
        "scores": {},
    }
    graph = onnx.load(bundle.detector, load_external_data=False).graph
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    cells = 8 * 8 + 4 * 4 + 2 * 2
    assert shapes == {
        "image": [1, 64, 64, 3],
        "boxes": [cells, 4],
        "amodal_boxes": [cells, 4],
        "scores": [cells],
    }
    onnx.checker.check_model(bundle.detector, full_check=True)


def test_its_weights_are_stored_once_in_half_precision(detector, bundle):
    num_parameters = sum(value.numel() for value in detector.parameters())
    assert (bundle.folder / "detector.safetensors").stat().st_size < 2.2 * num_parameters
    assert bundle.detector.stat().st_size < 150_000


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_graph_and_network_find_the_same(bundle, backend):
    predictor = load_predictor(bundle.folder, backend, precision="f32")
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    found = predictor.backend.find_boxes(image)
    with torch.no_grad():
        expected = load_box_detector(bundle.folder)(torch.from_numpy(image).permute(2, 0, 1)[None])
    np.testing.assert_allclose(found.boxes, expected.visible_xyxy[0], atol=1e-2)
    np.testing.assert_allclose(found.amodal_boxes, expected.amodal_xyxy[0], atol=1e-2)
    np.testing.assert_allclose(found.scores, expected.scores()[0], atol=1e-4)
    assert np.ptp(found.scores) > 0.003


def test_a_graph_that_finds_something_else_fails_its_verification(bundle, detector, monkeypatch):
    monkeypatch.setattr(detectors, "load_box_detector", lambda folder: BoxDetector(64).eval())
    with pytest.raises(
        ParityError, match=r"detector of bundle with_detector failed .* onnxruntime"
    ):
        list(verify_detector(bundle.folder))


def test_the_emulated_detector_is_onnx_runtimes(bundle):
    image, _ = reference_scene(64)
    expected = build_backend("onnxruntime", bundle).find_boxes(image)
    found = EmulatedGraph.load(bundle.detector).run({"image": image[np.newaxis]})
    for name, values in expected._asdict().items():
        np.testing.assert_allclose(found[name], values, atol=1e-3, err_msg=name)


@pytest.fixture(scope="module")
def typed(bundle, tmp_path_factory):
    return {
        precision: write_typed_bundle(bundle, tmp_path_factory.mktemp(precision), precision)
        for precision in ("f16", "bf16", "mixed")
    }


@pytest.mark.parametrize(
    ("precision", "low", "boxes_in"),
    [("f16", "FLOAT16", "FLOAT16"), ("bf16", "BFLOAT16", "FLOAT"), ("mixed", "FLOAT16", "FLOAT")],
)
def test_the_detector_of_a_precision_computes_in_it(bundle, typed, precision, low, boxes_in):
    made = typed[precision]
    assert made.info.detector == bundle.info.detector
    model = onnx.shape_inference.infer_shapes(onnx.load(made.detector, load_external_data=False))
    kinds = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    found = {
        node.op_type: onnx.TensorProto.DataType.Name(kinds[node.output[0]])
        for node in model.graph.node
        if node.op_type in ("BatchNormalization", "Resize", "Exp", "Sqrt")
    }
    # In bfloat16 a coordinate beyond 256 is known to 2 pixels.
    bulk = {"BatchNormalization": low, "Resize": low}
    assert found == {**bulk, "Exp": boxes_in, "Sqrt": boxes_in}


@pytest.mark.parametrize("precision", ["f16", "bf16", "mixed"])
def test_the_engine_of_a_precision_is_built(typed, precision, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    flavour = load_flavour("tensorrt-rtx")
    plan = plan_engines_for_target(typed[precision], flavour, "SM86", tmp_path)
    plan = replace(plan, keys={"detector": plan.keys["detector"]})
    assert plan.keys["detector"].precision == precision
    engines, new = plan.load_or_build()
    assert new == {"detector"}
    assert len(engines["detector"]) > 5_000_000


def test_a_precision_whose_boxes_fall_is_refused(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "default_images", lambda size: [drawn(size)])
    folders = [tmp_path / name for name in ("good", "poor", "again")]
    for folder in folders:
        folder.mkdir()
    lines = []
    good = write_precision(bundle, folders[0], "f16", ParityRequest(), lines.append)
    measured = good.info.scores["precision_parity_emulated"]["detector"]
    assert 0.98 < measured["mean_box_iou"] < 1
    assert 0 < measured["max_score_error"] < 0.01
    assert lines[1].startswith("f16   emulated on the CPU: IoU of the detector's boxes")
    poor = DetectorParity("f16", 0.97, 0.0)
    assert DetectorParity("f16", 1.0, float("nan")).fault() is not None
    monkeypatch.setattr(export, "measure_detector", lambda *arguments: poor)
    with pytest.raises(ParityError, match=r"f16 of with_detector was refused: mean IoU .* is 0.97"):
        write_precision(bundle, folders[1], "f16", ParityRequest(), lines.append)
    measured["mean_box_iou"] = 0.97  # as if it had been exported with a lower limit
    with pytest.raises(ParityError, match=r"mean box IoU must reach 0.98, was 0.97.* when it was"):
        write_precision(good, folders[2], "f16", ParityRequest(), lines.append)


def drawn(size):
    return ParityImage("drawn", *reference_scene(size))


def test_the_bundle_holds_the_boxes_of_its_own_network(bundle):
    with np.load(bundle.folder / REFERENCE_BOXES_FILE) as stored:
        rows = stored["rows"]
        found = build_backend("onnxruntime", bundle).find_boxes(reference_scene(64)[0])
        assert len(rows) == 20
        np.testing.assert_allclose(found.boxes[rows], stored["boxes"], atol=1e-2)
        np.testing.assert_allclose(found.scores[rows], stored["scores"], atol=1e-4)
        assert stored["scores"].min() >= np.delete(found.scores, rows).max() - 1e-4


def test_the_command_adds_a_detector_and_keeps_it(
    small_bundle, detector, tmp_path, no_tracing, capsys
):
    save_checkpoint(detector, tmp_path / "boxes.safetensors")
    (tmp_path / "record.json").write_text(json.dumps({"min_score": 0.35, "scores": {"ap50": 0.8}}))
    arguments = ["--format", "onnx", "--detector", str(tmp_path / "boxes.safetensors")]
    arguments += ["--detector-record", str(tmp_path / "record.json")]
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert command.main(["--model", str(small_bundle), "--output", first, *arguments]) == 0
    assert "onnxruntime  f32   detector: largest error of a score" in capsys.readouterr().out
    assert command.main(["--model", first, "--output", second, "--format", "onnx"]) == 0
    kept = load_bundle(second).info.detector
    assert (kept["min_score"], kept["scores"]) == (0.35, {"ap50": 0.8})
    assert load_box_detector(second).image_size == 64


def test_the_detector_of_another_bundle_comes_with_its_record(
    small_network, bundle, tmp_path, no_tracing
):
    save_checkpoint(small_network, tmp_path / "model.safetensors")
    arguments = ["--model", str(tmp_path / "model.safetensors"), "--format", "onnx"]
    arguments += ["--output", str(tmp_path / "out"), "--detector", str(bundle.folder)]
    assert command.main(arguments) == 0
    assert load_bundle(tmp_path / "out").info.detector == bundle.info.detector


def test_a_record_with_an_unknown_key_is_refused(small_bundle, tmp_path, no_tracing, capsys):
    (tmp_path / "record.json").write_text('{"min-score": 0.35}')
    arguments = ["--model", str(small_bundle), "--output", str(tmp_path / "out")]
    arguments += ["--format", "onnx", "--detector-record", str(tmp_path / "record.json")]
    assert command.main(arguments) == 2
    assert "may hold min_score, training, scores, but holds min-score" in capsys.readouterr().err


def test_a_record_without_detector_is_refused(small_bundle, tmp_path, no_tracing, capsys):
    (tmp_path / "record.json").write_text('{"min_score": 0.35}')
    arguments = ["--model", str(small_bundle), "--output", str(tmp_path / "out")]
    arguments += ["--format", "onnx", "--detector-record", str(tmp_path / "record.json")]
    assert command.main(arguments) == 2
    assert "--detector-record needs a detector" in capsys.readouterr().err
