import numpy as np
import pytest
import torch

from sameo_model.evaluation.torch_predictor import load_torch_predictor, wrap_model
from sameo_model.modeling import build_sameo, save_checkpoint
from sameo_model.runtime.preprocess import resize_image


@pytest.fixture(scope="module", params=["efficient_sam_vitt", "sameo_lite"])
def model(request):
    torch.manual_seed(0)
    return build_sameo(request.param, image_size=64, visible_decoder=True)


def _image():
    return np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


def test_logits_are_those_of_the_network_on_the_squashed_image(model):
    predictor = wrap_model(model, framing="image")
    other, embedding = predictor.encode_batch([np.zeros((30, 20, 3), np.uint8), _image()])
    boxes = np.array([[10, 8, 40, 30], [0, 0, 80, 48]], np.float32)
    model_boxes = boxes * np.array([64 / 80, 64 / 48] * 2, np.float32)
    output = predictor.backend.decode(embedding.handle, model_boxes, visible=True)

    squashed = torch.from_numpy(resize_image(_image(), 64)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected, iou = model.decode_boxes(
            model.encode(squashed), torch.from_numpy(boxes)[None], (48, 80)
        )
    np.testing.assert_allclose(output.amodal_logits, expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(output.predicted_iou, iou[0].numpy(), atol=1e-6)
    side = 32 if model.shares_decoder else 16
    assert output.visible_logits.shape == (2, side, side)
    black = predictor.backend.decode(other.handle, model_boxes, visible=True)
    assert np.abs(black.amodal_logits - output.amodal_logits).max() > 1e-4


def test_a_saved_checkpoint_predicts_as_the_network_does(model, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    save_checkpoint(model, tmp_path / "model.safetensors")
    boxes = np.array([[10, 8, 40, 30]], np.float32)
    answers = []
    for predictor in (wrap_model(model), load_torch_predictor(tmp_path / "model.safetensors")):
        assert predictor.has_visible_decoder
        answers.append(predictor.decode(predictor.encode(_image()), boxes))
    assert np.array_equal(answers[0].amodal_masks[0].mask, answers[1].amodal_masks[0].mask)
    np.testing.assert_allclose(answers[0].predicted_iou, answers[1].predicted_iou)


def test_wrapping_leaves_the_network_in_its_mode(model):
    model.train()
    try:
        predictor = wrap_model(model)
        predictor.decode(predictor.encode(_image()), [[1, 1, 30, 30]])
        assert model.training
    finally:
        model.eval()
