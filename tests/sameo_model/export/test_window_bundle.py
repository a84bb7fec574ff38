"""A network for windows is exported as one graph, with the eager network's masks."""

import numpy as np
import onnx
import pytest
import torch

from sameo_model.export import __main__ as export
from sameo_model.export import tensorrt
from sameo_model.export.parity import ParityImage
from sameo_model.export.verify import verify_bundle
from sameo_model.modeling import load_checkpoint
from sameo_model.runtime import load_predictor
from sameo_model.runtime.backends.base import BackendOptions, build_backend
from sameo_model.runtime.backends.engine_check import reference_scene
from sameo_model.runtime.bundle import load_bundle


def test_the_bundle_holds_its_graphs_and_says_what_it_sees(window_network, window_bundle):
    bundle = load_bundle(window_bundle)
    assert sorted(bundle.info.files) == [
        "click_segmenter.onnx",
        "reference_masks.npz",
        "weights.safetensors",
        "window_segmenter.onnx",
    ]
    assert bundle.framing == window_network.framing
    assert bundle.info.has_visible_decoder
    graph = onnx.load(window_bundle / "window_segmenter.onnx", load_external_data=False).graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "images": ["N", 64, 64, 3],
        "boxes": ["N", 4],
        "amodal_logits": ["N", 32, 32],
        "visible_logits": ["N", 32, 32],
        "predicted_iou": ["N"],
    }


def test_all_backends_agree_with_the_eager_network(window_bundle):
    results = verify_bundle(window_bundle)
    single = [result for result in results if result.precision == "f32"]
    assert {result.backend for result in single} == {"onnxruntime", "openvino"}
    assert all(result.max_logit_error < 1e-3 for result in single)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_windows_do_not_see_each_other(window_bundle, backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    model = load_checkpoint(window_bundle)
    image, boxes = reference_scene(64)
    images = np.stack([np.roll(image, 7 * i, axis=1) for i in range(5)])
    with torch.no_grad():
        embeddings = model.encode(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
        drawn = model.draw_masks(embeddings, torch.from_numpy(boxes[:5, None]), (64, 64))
    engine = build_backend(backend, load_bundle(window_bundle), BackendOptions(precision="f32"))
    for num_boxes in (1, 2, 5):
        actual = engine.segment(images[:num_boxes], boxes[:num_boxes], visible=True)
        for found, wanted in (
            (actual.amodal_logits, drawn.amodal_logits),
            (actual.visible_logits, drawn.visible_logits),
            (actual.predicted_iou, drawn.predicted_iou),
        ):
            expected = wanted[:num_boxes].squeeze(1).numpy()
            np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))
    engine.close()


def test_pytorch_and_the_bundle_draw_the_same_masks(window_network, window_bundle):
    from sameo_model.evaluation.torch_predictor import wrap_model

    image, _ = reference_scene(160)
    boxes = [[10, 20, 60, 90], [100, 100, 155, 150]]
    with load_predictor(window_bundle, "onnxruntime") as predictor:
        expected = predictor.decode(predictor.encode(image), boxes)
    eager = wrap_model(load_checkpoint(window_bundle))
    found = eager.decode(eager.encode_batch([image])[0], boxes)
    for ours, theirs in zip(found.amodal_masks, expected.amodal_masks, strict=True):
        different = ours.to_image((160, 160)) ^ theirs.to_image((160, 160))
        assert different.sum() <= 3
    np.testing.assert_allclose(found.predicted_iou, expected.predicted_iou, atol=1e-4)


def test_weights_are_stored_once_and_in_half_precision(window_network, window_bundle):
    num_parameters = sum(value.numel() for value in window_network.parameters())
    size = sum(path.stat().st_size for path in window_bundle.iterdir())
    # Two bytes a parameter, and a few percent for names, norms in float32 and two graphs.
    assert size < 2.15 * num_parameters
    assert all(path.stat().st_size < 200_000 for path in window_bundle.glob("*.onnx"))


def test_engines_are_built_without_a_gpu(window_bundle, tmp_path, monkeypatch):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    image, boxes = reference_scene(64)
    monkeypatch.setattr(
        tensorrt, "default_images", lambda size: [ParityImage("a", image, boxes[:2])]
    )
    output = tmp_path / "engines"
    options = [
        "--model",
        str(window_bundle),
        "--format",
        "tensorrt-rtx",
        "--compute-capability",
        "SM120",
    ]
    options += ["--precision", "mixed", "--cache-dir", str(tmp_path / "cache")]
    # Random weights draw masks that rounding changes; what is tested is that all of it runs.
    options += ["--min-mask-iou", "0.1", "--output", str(output)]
    assert export.main(options) == 0
    assert (output / "window_segmenter.engine").stat().st_size > 100_000
    assert load_bundle(output).framing.is_window
