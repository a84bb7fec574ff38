"""Eager network, ONNX Runtime and OpenVINO agree, and disagreement is found."""

import re

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from sameo_model.export.records import verified_scores
from sameo_model.export.verify import ParityError, verify_bundle
from sameo_model.modeling import load_checkpoint
from sameo_model.runtime.backends.base import BackendOptions, build_backend
from sameo_model.runtime.backends.engine_check import reference_scene
from sameo_model.runtime.backends.openvino import has_bf16
from sameo_model.runtime.bundle import find_bundle, load_bundle, write_bundle_info
from tests.sameo_model.export.test_bundle import copy_bundle


@pytest.fixture(scope="module")
def results(small_bundle):
    """What is found of the small bundle, with a limit that no bf16 reaches."""
    return verify_bundle(small_bundle, min_bf16_mask_iou=1.1)


def test_all_backends_agree_with_the_eager_network(results):
    single = [result for result in results if result.precision == "f32"]
    assert {result.backend for result in single} == {"onnxruntime", "openvino"}
    for result in single:
        assert result.max_logit_error < 1e-3
        assert result.max_iou_error < 1e-3
        assert result.mean_mask_iou > 0.999


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_any_number_of_boxes_gives_the_eager_masks(small_bundle, backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    model = load_checkpoint(small_bundle)
    image, scene_boxes = reference_scene(64)
    with torch.no_grad():
        embedding = model.encode(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    engine = build_backend(backend, load_bundle(small_bundle), BackendOptions(precision="f32"))
    handle = engine.encode(image)
    for num_boxes in (1, 2, 5):
        boxes = scene_boxes[:num_boxes]
        with torch.no_grad():
            inputs = (embedding, torch.from_numpy(boxes)[None], (64, 64))
            amodal, iou = model.decode_boxes(*inputs)
            visible, _ = model.decode_boxes(*inputs, "visible")
        actual = engine.decode(handle, boxes, visible=True)
        for found, wanted in (
            (actual.amodal_logits, amodal[0].numpy()),
            (actual.visible_logits, visible[0].numpy()),
            (actual.predicted_iou, iou[0].numpy()),
        ):
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))
    engine.close()


def test_a_graph_that_answers_differently_is_found(small_bundle, tmp_path):
    folder = copy_bundle(small_bundle, tmp_path / "wrong")
    path = folder / "visible_decoder.onnx"
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        node.output[:] = ["right" if name == "visible_logits" else name for name in node.output]
    model.graph.initializer.append(
        helper.make_tensor("factor", onnx.TensorProto.FLOAT, [], [1.002])
    )
    model.graph.node.append(helper.make_node("Mul", ["right", "factor"], ["visible_logits"]))
    path.write_bytes(model.SerializeToString())
    info = load_bundle(small_bundle).info
    write_bundle_info(folder, **{k: v for k, v in vars(info).items() if k != "files"})
    # Scaled logits keep their masks, but differ by 2e-3 of their scale: above the limit of 1e-3.
    message = re.escape("onnxruntime f32: logit error must stay below 0.001, is 2.0e-03")
    with pytest.raises(ParityError, match=message):
        verify_bundle(folder)


def test_bf16_that_does_not_hold_is_told_and_does_not_stop(results):
    if not has_bf16():
        pytest.skip("this processor has no bf16")
    (bf16,) = [result for result in results if result.precision == "bf16"]
    assert bf16.fault == f"mean mask IoU must reach 1.1, is {bf16.mean_mask_iou:.5f}"
    verified = verified_scores(results)["verified"]
    assert verified["openvino"]["bf16"]["holds"] is False
    assert verified["openvino"]["f32"]["holds"] is True


def test_the_shipped_bundle_is_the_network_of_this_version():
    # A change of the architecture must come with a new bundle.
    results = verify_bundle(find_bundle())
    assert {(result.backend, result.precision) for result in results} >= {
        ("onnxruntime", "f32"),
        ("openvino", "f32"),
    }
