"""The contestant that ratios refer to does the same work: its numbers are our network's."""

import pytest
import torch

from benchmarks.reference_style import ReferenceStyle
from sameo_model.modeling import build_sameo

BOXES = torch.tensor([[[3.0, 5.0, 40.0, 50.0], [0.0, 0.0, 64.0, 64.0], [20.5, 8.0, 30.0, 60.0]]])


def random_network(preset, visible_decoder=False):
    """Build a network in which no bias or correction is 0, which fresh layers have."""
    generator = torch.Generator().manual_seed(0)
    network = build_sameo(preset, 64, visible_decoder=visible_decoder)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.02 * noise)
    return network


@pytest.mark.parametrize("selection", ["min_loss", "token0"])
@torch.inference_mode()
def test_reference_style_gives_the_numbers_of_the_network(selection):
    network = random_network("efficient_sam_vitt")
    network.mask_selection = selection
    images = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    wrapped = ReferenceStyle(network)

    embeddings = network.encode(images)
    torch.testing.assert_close(wrapped.encode(images), embeddings, rtol=0, atol=1e-4)
    logits, iou = network.decode_boxes(embeddings, BOXES, (64, 64))
    found_logits, found_iou = wrapped.decode_boxes(embeddings, BOXES, (64, 64))
    assert logits.std() > 1e-3
    torch.testing.assert_close(found_logits, logits, rtol=0, atol=1e-4 * float(logits.abs().max()))
    torch.testing.assert_close(found_iou, iou, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_reference_style_draws_visible_masks_with_the_visible_decoder():
    network = random_network("efficient_sam_vitt", visible_decoder=True)
    embeddings = network.encode(torch.full((1, 3, 64, 64), 0.3))
    visible, _ = network.decode_boxes(embeddings, BOXES, (64, 64), "visible")
    amodal, _ = network.decode_boxes(embeddings, BOXES, (64, 64))
    found, _ = ReferenceStyle(network).decode_boxes(embeddings, BOXES, (64, 64), "visible")
    scale = float(visible.abs().max())
    assert (visible - amodal).abs().max() > 0.01 * scale
    torch.testing.assert_close(found, visible, rtol=0, atol=1e-4 * scale)


def test_the_reference_has_no_network_for_windows():
    with pytest.raises(ValueError, match=r"must be efficient_sam_\*, got sameo_lite"):
        ReferenceStyle(build_sameo("sameo_lite", 64))
