"""The decoder's rearranged computations equal the plain ones."""

import pytest
import torch

from sameo_model.modeling.lite_decoder import LiteMaskDecoder
from sameo_model.modeling.lite_encoder import Pyramid
from sameo_model.modeling.mask_decoder import MaskDecoder, _cells_to_map


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "lite"])
def decoder(request: pytest.FixtureRequest) -> MaskDecoder:
    torch.manual_seed(0)
    kind = LiteMaskDecoder if request.param else MaskDecoder
    decoder = kind(mlp_dim=64).eval()
    with torch.no_grad():
        for value in decoder.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return decoder


def random_features(decoder: MaskDecoder) -> torch.Tensor | Pyramid:
    """Return what an encoder could see of one image of 2 x 2 cells."""
    embedding = torch.randn(1, 256, 2, 2)
    if not isinstance(decoder, LiteMaskDecoder):
        return embedding
    return Pyramid(
        embedding, torch.randn(1, 40, 4, 4), torch.randn(1, 24, 8, 8), torch.randn(1, 16, 16, 16)
    )


def test_upscaling_cell_by_cell_equals_transposed_convolutions():
    torch.manual_seed(0)
    decoder = MaskDecoder(mlp_dim=64).eval()
    height, width = 3, 5
    image = torch.randn(1, 256, height, width)
    (up8, norm, act8), (up4, act4) = decoder.final_output_upscaling_layers
    with torch.no_grad():
        cells = decoder.upscale(image.flatten(2).transpose(1, 2)[:, None])
        actual = _cells_to_map(cells.transpose(2, 3), width)[0]
        expected = act4(up4(act8(norm(up8(image)))))
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
    inputs = (random_features(decoder), torch.randn(4, 256), torch.randn(1, 2, 6, 256))
    with torch.no_grad():
        logits, iou = decoder(*inputs, (0, 1, 2, 3))
        some_logits, some_iou = decoder(*inputs, (3, 1))
    torch.testing.assert_close(some_logits, logits[:, :, [3, 1]])
    torch.testing.assert_close(some_iou, iou[:, :, [3, 1]])


def test_fresh_detail_changes_nothing_and_a_trained_one_changes_a_pixel_and_its_neighbours():
    torch.manual_seed(0)
    decoder = LiteMaskDecoder(mlp_dim=64).eval()
    pyramid = random_features(decoder)
    changed = pyramid._replace(stride2=pyramid.stride2.clone())
    changed.stride2[..., 7, 7] += 5.0
    prompt = (torch.randn(4, 256), torch.randn(1, 1, 6, 256), (0,))

    def difference() -> torch.Tensor:
        with torch.no_grad():
            return (decoder(changed, *prompt)[0] - decoder(pyramid, *prompt)[0])[0, 0, 0].abs()

    assert difference().max() == 0
    for value in decoder.fine_filters.parameters():
        torch.nn.init.normal_(value)
    rows, columns = difference().gt(1e-6).nonzero(as_tuple=True)
    # One 3 x 3 kernel after the skip.
    assert (rows.min(), rows.max()) == (6, 8)
    assert (columns.min(), columns.max()) == (6, 8)


def test_the_best_mask_alone_equals_the_best_of_all(decoder):
    inputs = (random_features(decoder), torch.randn(4, 256), torch.randn(1, 6, 6, 256))
    with torch.no_grad():
        logits, iou = decoder(*inputs, (1, 2, 3))
        best_logits, best_iou = decoder(*inputs, (1, 2, 3), best_only=True)
    assert best_logits.shape == (1, 6, 1, *logits.shape[3:])
    for box, index in enumerate(iou[0].argmax(dim=1)):
        torch.testing.assert_close(best_logits[0, box, 0], logits[0, box, index])
        assert best_iou[0, box, 0] == iou[0, box].max()
