"""The exported decoder's order of computation gives the plain network's numbers."""

import pytest
import torch

from sameo_model.export.box_decoder import decode_boxes
from sameo_model.modeling import Sameo, build_sameo

BOXES = torch.tensor(
    [[3.0, 5.0, 40.0, 60.0], [0.0, 0.0, 64.0, 64.0], [20.5, 30.25, 21.0, 31.0], [-2.0, -1.0, 9, 8]]
)


def build_trained() -> Sameo:
    """Return a network in which no weight is at the 0 or 1 that it starts from."""
    torch.manual_seed(1)
    model = build_sameo("efficient_sam_vitt", 64, visible_decoder=True)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return model


@pytest.mark.parametrize("decoder", ["amodal", "visible"])
@pytest.mark.parametrize("selection", ["token0", "min_loss"])
def test_masks_equal_those_of_the_plain_decoder_to_a_ten_thousandth(selection, decoder):
    model = build_trained()
    model.mask_selection = model.visible_mask_selection = selection
    embedding = torch.randn(1, 256, 4, 4)
    with torch.no_grad():
        expected, expected_iou = model.decode_boxes(embedding, BOXES[None], (64, 64), decoder)
        logits, iou = decode_boxes(model, decoder, embedding, BOXES)
    scale = expected.abs().max().item()
    assert expected.std().item() > 0.05 * scale
    torch.testing.assert_close(logits, expected[0], atol=1e-4 * scale, rtol=0)
    torch.testing.assert_close(iou, expected_iou[0], atol=1e-4, rtol=0)
