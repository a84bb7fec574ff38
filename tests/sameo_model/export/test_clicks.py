"""The graph for clicks draws what the network does, and is loaded where clicks come alone."""

import numpy as np
import onnxruntime
import pytest
import torch

from sameo_model.evaluation.torch_predictor import wrap_model
from sameo_model.export.graphs import click_graph
from sameo_model.export.weights import attach_weights
from sameo_model.modeling import build_sameo, load_checkpoint, save_checkpoint
from sameo_model.modeling.transformer import TwoWayTransformer
from sameo_model.runtime import load_predictor
from sameo_model.runtime.bundle import load_bundle

BOXES = np.array([[4, 6, 40, 50], [10, 10, 30, 20], [0, 0, 64, 48]], np.float32)
POINTS = np.array([[[20, 30], [8, 9]], [[15, 15], [15, 15]], [[30, 20], [5, 5]]], np.float32)
LABELS = np.array([[1, 1], [1, -1], [-1, -1]])


def test_the_graph_of_image_framing_is_the_network(shallow_presets, tmp_path):
    model = build_sameo("shallow_vit", 64)
    model.mask_decoder.transformer = TwoWayTransformer(depth=1)
    model.eval()
    save_checkpoint(model, tmp_path / "weights.safetensors")
    graph = click_graph(model)
    attach_weights(graph, tmp_path / "weights.safetensors")
    (tmp_path / "click_decoder.onnx").write_bytes(graph.SerializeToString())
    session = onnxruntime.InferenceSession(str(tmp_path / "click_decoder.onnx"))
    points = np.full((3, 4, 2), -1, np.float32)
    labels = np.full((3, 4), -1, np.float32)
    points[:, :2], labels[:, :2] = POINTS, LABELS
    embedding = np.random.default_rng(0).normal(size=(1, 256, 4, 4)).astype(np.float32)
    inputs = {"embedding": embedding, "boxes": BOXES, "points_xy": points, "point_labels": labels}
    answer = session.run(["amodal_logits", "predicted_iou"], inputs)
    with torch.no_grad():
        drawn = model.draw_masks(
            torch.from_numpy(embedding),
            torch.from_numpy(BOXES)[None],
            (64, 64),
            points_xy=torch.from_numpy(points)[None],
            point_labels=torch.from_numpy(labels)[None],
        )
    assert drawn.visible_logits is None
    for found, wanted in zip(answer, drawn[:2], strict=True):
        wanted = wanted[0].numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_predictors_with_clicks_agree_with_the_network(window_bundle, backend):
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    eager = wrap_model(load_checkpoint(window_bundle))
    runtime = load_predictor(window_bundle, backend)
    prompts = {"points_xy": POINTS, "point_labels": LABELS}
    expected = eager.decode(eager.encode(image), BOXES, **prompts)
    found = runtime.decode(runtime.encode(image), BOXES, **prompts)
    alone = runtime.decode(runtime.encode(image), BOXES)
    np.testing.assert_allclose(found.predicted_iou, expected.predicted_iou, atol=2e-3)
    for ours, theirs in zip(found.amodal_masks, expected.amodal_masks, strict=True):
        union = ours.area + theirs.area - ours.intersection_area(theirs)
        assert ours.intersection_area(theirs) >= 0.98 * union
    # The third box has no click, so that only the first two are seen otherwise.
    pairs = zip(found.visible_masks, alone.visible_masks, strict=True)
    assert [one.iou(other) < 1 for one, other in pairs] == [True, True, False]
    runtime.close()


def test_clicks_cost_nothing_where_none_come(window_bundle):
    assert load_bundle(window_bundle).click_graph.name == "click_segmenter.onnx"
    predictor = load_predictor(window_bundle, "onnxruntime")
    predictor.decode(predictor.encode(np.zeros((64, 64, 3), np.uint8)), BOXES)
    assert "_click_session" not in vars(predictor.backend)
