"""Decode an image embedding and prompt tokens into masks and their predicted IoU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sameo_model.modeling.layers import Mlp
from sameo_model.modeling.transformer import TwoWayTransformer

NUM_MASK_TOKENS = 4


class MaskDecoder(nn.Module):
    """Predict four candidate masks per prompt."""

    def __init__(
        self,
        *,
        embed_dim: int = 256,
        mlp_dim: int = 2048,
        upscaling_dims: tuple[int, int] = (64, 32),
    ) -> None:
        """Build the layers with random weights.

        Args:
            embed_dim: Channels of embedding and tokens.
            mlp_dim: Hidden width of the transformer's feed-forward layers.
            upscaling_dims: Channels after the first and the second doubling of the resolution.
        """
        super().__init__()
        dim_stride8, dim_stride4 = upscaling_dims
        self.transformer = TwoWayTransformer(embed_dim=embed_dim, mlp_dim=mlp_dim)
        self.iou_token = nn.Embedding(1, embed_dim)
        self.mask_tokens = nn.Embedding(NUM_MASK_TOKENS, embed_dim)
        self.final_output_upscaling_layers = nn.ModuleList(
            (
                nn.Sequential(
                    nn.ConvTranspose2d(embed_dim, dim_stride8, kernel_size=2, stride=2),
                    nn.GroupNorm(1, dim_stride8),
                    nn.GELU(),
                ),
                nn.Sequential(
                    nn.ConvTranspose2d(dim_stride8, dim_stride4, kernel_size=2, stride=2),
                    nn.GELU(),
                ),
            )
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(embed_dim, (embed_dim, embed_dim), dim_stride4) for _ in range(NUM_MASK_TOKENS)
        )
        self.iou_prediction_head = Mlp(embed_dim, (embed_dim, embed_dim), NUM_MASK_TOKENS)

    def forward(
        self,
        embeddings: Tensor,
        image_pe: Tensor,
        prompt_tokens: Tensor,
        token_ids: tuple[int, ...],
        best_only: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode all prompts of all images.

        Args:
            embeddings: float (B, C, h, w), one per image, shared by its N prompts.
            image_pe: float (h * w, C), position encoding of the embedding's cells.
            prompt_tokens: float (B, N, P, C).
            token_ids: Which of the four mask tokens to decode, in this order.
            best_only: Whether to draw, of these, only the mask with the highest predicted IoU.

        Returns:
            Mask logits (B, N, M, 4h, 4w) and predicted IoU (B, N, M); M is 1 with ``best_only``,
            else len(token_ids).
        """
        tokens, image = self._attend(embeddings, image_pe, prompt_tokens)
        filters, iou = self.choose_filters(tokens, token_ids, best_only)
        features = self.upscale(image)
        return _cells_to_map(filters @ features.transpose(2, 3), embeddings.shape[3]), iou

    def _attend(
        self, embedding: Tensor, image_pe: Tensor, prompt_tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return tokens (B, N, T, C) and the embedding's cells as each box sees them."""
        num_images, num_boxes = prompt_tokens.shape[:2]
        output_tokens = torch.cat((self.iou_token.weight, self.mask_tokens.weight))
        output_tokens = output_tokens.expand(num_images, num_boxes, -1, -1)
        cells = embedding.flatten(2).transpose(1, 2)  # (B, L, C), L = h * w
        return self.transformer(torch.cat((output_tokens, prompt_tokens), dim=2), cells, image_pe)

    def choose_filters(
        self, tokens: Tensor, token_ids: tuple[int, ...], best_only: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the filters (B, N, M, C4) and predicted IoU (B, N, M) of the wanted masks."""
        filters = torch.stack([self._filter(tokens, token) for token in token_ids], dim=2)
        iou = self.iou_prediction_head(tokens[:, :, 0])[..., list(token_ids)]
        if best_only:
            best = iou.argmax(dim=2, keepdim=True)
            iou = iou.gather(2, best)
            filters = filters.gather(2, best.unsqueeze(3).expand(-1, -1, 1, filters.shape[3]))
        return filters, iou

    def _filter(self, tokens: Tensor, token_id: int) -> Tensor:
        """Return what a mask token weighs the channels of the drawn features by."""
        return self.output_hypernetworks_mlps[token_id](tokens[:, :, 1 + token_id])

    def upscale(self, image: Tensor) -> Tensor:
        """Turn each cell of the embedding into 4 x 4 pixels.

        The transposed convolutions have kernel and stride 2, so every cell is upscaled on its
        own. Pixels therefore stay beside each other cell by cell, which makes every step a
        matrix product without moving data; `_cells_to_map` orders the few final channels.

        Args:
            image: float (B, N, L, C), the embedding as each box sees it.

        Returns:
            float (B, N, L * 16, C4), per cell 2 x 2 blocks of 2 x 2 pixels.
        """
        stages: Any = self.final_output_upscaling_layers
        (double_to_8, norm, activate_8), (double_to_4, activate_4) = stages
        features = _double(image, double_to_8.weight, double_to_8.bias)
        features = activate_8(_normalise(features.unflatten(-1, (4, -1)), norm))
        features = _double(features, double_to_4.weight, double_to_4.bias)
        return activate_4(features.unflatten(-1, (4, -1)).flatten(2, 4))


def _double(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply a transposed convolution of kernel and stride 2 to the last axis.

    Maps (..., C) to (..., 4 * C_out): top left, top right, bottom left, bottom right pixel.
    """
    return F.linear(values, weight.permute(2, 3, 1, 0).flatten(0, 2), bias.repeat(4))


def _normalise(features: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Apply a group norm of one group to (B, N, L, 4, C), each box on its own."""
    rows = features.flatten(0, 1).flatten(1).unsqueeze(1)
    normed = F.group_norm(rows, num_groups=1, eps=norm.eps)
    return normed.reshape(features.shape) * norm.weight + norm.bias


def _cells_to_map(logits: Tensor, grid_width: int) -> Tensor:
    """Order pixels given cell by cell, (B, N, M, L * 16), into maps (B, N, M, 4h, 4w)."""
    cells = logits.flatten(0, 2).unflatten(1, (-1, grid_width, 2, 2, 2, 2))
    rows_then_columns = cells.permute(0, 1, 3, 5, 2, 4, 6)
    return rows_then_columns.flatten(4, 6).flatten(1, 3).unflatten(0, logits.shape[:3])
