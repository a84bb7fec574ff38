"""`MaskRefinement` on maps whose pixels are folded into channels.

A convolution of one input or output channel leaves most of a processor's vector units idle.
Folded, the same numbers come from convolutions of four to sixty-four channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sameo_model.modeling.lite_decoder import MaskRefinement

CELL = 4
"""Side of a cell of the embedding, pixels of the logits."""


def refine_cells(layers: MaskRefinement, cells: Tensor, embedding: Tensor) -> Tensor:
    """Return what `MaskRefinement` adds to logits.

    Args:
        layers: Its weights; kernels that see the mask have a side of 5.
        cells: float (N, 16, h, w), logits; channel 4 r + c holds row r, column c of a cell.
        embedding: float (1, C, h, w).

    Returns:
        float (N, 16, h, w), ordered alike.
    """
    detail = F.relu(F.pixel_shuffle(layers.unfold_detail(embedding), CELL))
    detail = F.pixel_unshuffle(layers.mix_detail(detail), 2)
    seen = F.conv2d(
        _cells_to_blocks(cells),
        _fold_reading_kernel(layers.read_mask.weight),
        _bias(layers.read_mask).repeat_interleave(4),
        padding=1,
    )
    return F.conv2d(
        F.relu(seen + detail),
        _fold_writing_kernel(layers.correct_mask.weight),
        _bias(layers.correct_mask).repeat(CELL * CELL),
        stride=2,
        padding=1,
    )


def _cells_to_blocks(cells: Tensor) -> Tensor:
    """Reorder (N, 16, h, w) to (N, 4, 2h, 2w): blocks of 2 x 2 pixels, channel 2 r + c."""
    halves = cells.unflatten(1, (2, 2, 2, 2))  # block row, row in it, block column, column in it
    return F.pixel_shuffle(halves.permute(0, 2, 4, 1, 3, 5, 6).flatten(1, 4), 2)


def _fold_reading_kernel(weight: Tensor) -> Tensor:
    """Fold (D, 1, 5, 5) from pixels to pixels into (4 D, 4, 3, 3) from blocks to blocks."""
    shifted = [F.pad(weight, (x, 1 - x, y, 1 - y)) for y in range(2) for x in range(2)]
    return F.pixel_unshuffle(torch.stack(shifted, dim=1).flatten(0, 1), 2)


def _fold_writing_kernel(weight: Tensor) -> Tensor:
    """Fold (1, D, 5, 5) from pixels to pixels into (16, 4 D, 4, 4) from blocks to cells."""
    shifted = [F.pad(weight, (x, 3 - x, y, 3 - y)) for y in range(CELL) for x in range(CELL)]
    return F.pixel_unshuffle(torch.cat(shifted), 2)


def _bias(layer: torch.nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
