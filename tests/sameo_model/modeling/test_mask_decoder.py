"""The decoder's rearranged computations equal the plain ones."""

import pytest
import torch
from torch.nn import functional as F

from sameo_model.modeling.lite_decoder import LiteMaskDecoder, MaskRefinement
from sameo_model.modeling.mask_decoder import MaskDecoder, _cells_to_map


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "lite"])
def decoder(request: pytest.FixtureRequest) -> MaskDecoder:
    torch.manual_seed(0)
    kind = LiteMaskDecoder if request.param else MaskDecoder
    return kind(mlp_dim=64).eval()


def upscale_as_written_in_the_paper_of_sam(
    decoder: MaskDecoder, image: torch.Tensor, embedding: torch.Tensor
) -> torch.Tensor:
    """Transposed convolutions on maps, for one image and one box, (1, C, h, w)."""
    skips = [torch.zeros(()), torch.zeros(())]
    if isinstance(decoder, LiteMaskDecoder):
        skips = [
            skip_map(decoder.detail_skips.stride8, embedding, 2, 1),
            skip_map(decoder.detail_skips.stride4, embedding, 2, 2),
        ]
    (up8, norm, act8), (up4, act4) = decoder.final_output_upscaling_layers
    features = act8(norm(up8(image) + skips[0]))
    return act4(up4(features) + skips[1])


def skip_map(linear: torch.nn.Linear, embedding: torch.Tensor, factor: int, times: int):
    """Project each cell, then unfold its channels, given as (block, ..., channel), to pixels."""
    height, width = embedding.shape[2:]
    values = F.conv2d(embedding, linear.weight[:, :, None, None], linear.bias)
    pixels = values[0].unflatten(0, (*[factor] * (2 * times), -1))
    if times == 1:  # (i, j, C, h, w) to (C, h, i, w, j)
        return pixels.permute(2, 3, 0, 4, 1).reshape(1, -1, height * 2, width * 2)
    # (i, j, k, l, C, h, w) to (C, h, i, k, w, j, l)
    return pixels.permute(4, 5, 0, 2, 6, 1, 3).reshape(1, -1, height * 4, width * 4)


def test_upscaling_cell_by_cell_equals_transposed_convolutions(decoder):
    height, width = 3, 5
    embedding = torch.randn(1, 256, height, width)
    image = torch.randn(1, 256, height, width)
    with torch.no_grad():
        cells = decoder._upscale(
            image.flatten(2).transpose(1, 2)[:, None], embedding.flatten(2).transpose(1, 2)
        )
        actual = _cells_to_map(cells.transpose(2, 3), width)[0]
        expected = upscale_as_written_in_the_paper_of_sam(decoder, image, embedding)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def test_cells_to_map_puts_blocks_of_blocks_in_their_place():
    # Two cells side by side; per cell 2 x 2 blocks of 2 x 2 pixels, numbered in storage order.
    logits = torch.arange(32).reshape(1, 1, 1, 32)
    assert _cells_to_map(logits, 2)[0, 0, 0].tolist() == [
        [0, 1, 4, 5, 16, 17, 20, 21],
        [2, 3, 6, 7, 18, 19, 22, 23],
        [8, 9, 12, 13, 24, 25, 28, 29],
        [10, 11, 14, 15, 26, 27, 30, 31],
    ]


def test_tokens_are_decoded_in_the_order_asked_for(decoder):
    inputs = (torch.randn(1, 256, 2, 2), torch.randn(4, 256), torch.randn(1, 2, 6, 256))
    with torch.no_grad():
        logits, iou = decoder(*inputs, (0, 1, 2, 3))
        some_logits, some_iou = decoder(*inputs, (3, 1))
    torch.testing.assert_close(some_logits, logits[:, :, [3, 1]])
    torch.testing.assert_close(some_iou, iou[:, :, [3, 1]])


def test_fresh_refinement_changes_nothing_and_a_trained_one_crosses_cells():
    torch.manual_seed(0)
    refinement = MaskRefinement(embed_dim=8)
    logits, embeddings = torch.randn(1, 1, 1, 16, 16), torch.randn(1, 8, 4, 4)
    with torch.no_grad():
        assert torch.equal(refinement(logits, embeddings), logits)
        for value in refinement.correct_mask.parameters():
            value.normal_()
        changed = logits.clone()
        changed[..., 7, 7] += 5.0
        difference = refinement(changed, embeddings) - refinement(logits, embeddings)
    # Pixel (7, 7) is the last of its cell of 4 x 4 pixels; two 5 x 5 kernels reach 4 pixels on.
    rows, columns = difference[0, 0, 0].abs().gt(1e-6).nonzero(as_tuple=True)
    assert rows.max() in range(8, 12)
    assert columns.max() in range(8, 12)
    assert rows.min() >= 3


def test_the_best_mask_alone_equals_the_best_of_all(decoder):
    inputs = (torch.randn(1, 256, 2, 2), torch.randn(4, 256), torch.randn(1, 6, 6, 256))
    with torch.no_grad():
        logits, iou = decoder(*inputs, (1, 2, 3))
        best_logits, best_iou = decoder(*inputs, (1, 2, 3), best_only=True)
    assert best_logits.shape == (1, 6, 1, 8, 8)
    for box, index in enumerate(iou[0].argmax(dim=1)):
        torch.testing.assert_close(best_logits[0, box, 0], logits[0, box, index])
        assert best_iou[0, box, 0] == iou[0, box].max()
