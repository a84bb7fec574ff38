"""A detector in a bundle finds what the network finds, and stays when the bundle is exported."""

import copy
import json

import numpy as np
import onnx
import pytest
import torch

from sameo_model.export import __main__ as command
from sameo_model.export import bundle as exporting
from sameo_model.export import detector as detectors
from sameo_model.export.detector import Detector, verify_detector
from sameo_model.export.graphs import detector_graph
from sameo_model.export.precision import write_typed_bundle
from sameo_model.export.verify import ParityError
from sameo_model.modeling.box_checkpoint import load_box_detector
from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.modeling.checkpoint import save_checkpoint
from sameo_model.runtime import load_predictor
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


def test_graphs_for_tensorrt_come_without_detector(bundle, tmp_path):
    typed = write_typed_bundle(bundle, tmp_path, "f16")
    assert typed.detector is None
    assert typed.info.detector == {}
    assert not list(tmp_path.glob("detector*"))


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


def test_a_record_without_detector_is_refused(small_bundle, tmp_path, no_tracing, capsys):
    (tmp_path / "record.json").write_text('{"min_score": 0.35}')
    arguments = ["--model", str(small_bundle), "--output", str(tmp_path / "out")]
    arguments += ["--format", "onnx", "--detector-record", str(tmp_path / "record.json")]
    assert command.main(arguments) == 2
    assert "--detector-record needs a detector" in capsys.readouterr().err
