"""Mask decoder of `sameo_lite`: draws at half the input's resolution, with the encoder's detail."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sameo_model.modeling.lite_encoder import TAPPED_CHANNELS, Pyramid
from sameo_model.modeling.mask_decoder import NUM_MASK_TOKENS, MaskDecoder


class LiteMaskDecoder(MaskDecoder):
    """`MaskDecoder` with skip connections, and a third doubling of the resolution.

    A mask is the doubled mask at stride 4, as `MaskDecoder` draws it, plus a correction at
    stride 2. The correction's filters start at zero.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 256,
        mlp_dim: int = 1024,
        upscaling_dims: tuple[int, int] = (64, 32),
        fine_dim: int = 16,
    ) -> None:
        """Build the layers with random weights; see `MaskDecoder`.

        Args:
            embed_dim: Channels of embedding and tokens.
            mlp_dim: Hidden width of the transformer's feed-forward layers.
            upscaling_dims: Channels at strides 8 and 4.
            fine_dim: Channels at stride 2.
        """
        super().__init__(embed_dim=embed_dim, mlp_dim=mlp_dim, upscaling_dims=upscaling_dims)
        dim_stride8, dim_stride4 = upscaling_dims
        stride2, stride4, stride8 = TAPPED_CHANNELS[:3]
        self.skip_stride8 = nn.Conv2d(stride8, dim_stride8, kernel_size=1)
        self.skip_stride4 = nn.Conv2d(stride4, dim_stride4, kernel_size=3, padding=1)
        self.skip_stride2 = nn.Conv2d(stride2, fine_dim, kernel_size=1)
        self.double_to_stride2 = nn.ConvTranspose2d(dim_stride4, fine_dim, kernel_size=2, stride=2)
        self.mix_stride2 = nn.Conv2d(fine_dim, fine_dim, kernel_size=3, padding=1)
        self.fine_filters = nn.ModuleList(
            nn.Linear(embed_dim, fine_dim) for _ in range(NUM_MASK_TOKENS)
        )
        for value in self.fine_filters.parameters():
            nn.init.zeros_(value)

    def forward(  # type: ignore[override]
        self,
        pyramid: Pyramid,
        image_pe: Tensor,
        prompt_tokens: Tensor,
        token_ids: tuple[int, ...],
        best_only: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode all prompts of all images.

        Args:
            pyramid: What the encoder sees of B images; each is shared by its N prompts.
            image_pe: As for `MaskDecoder.forward`, like what follows.
            prompt_tokens: float (B, N, P, C).
            token_ids: Of the masks to draw.
            best_only: Whether to draw the best one alone.

        Returns:
            Mask logits (B, N, M, 8h, 8w) and predicted IoU (B, N, M); M is 1 with ``best_only``,
            else len(token_ids).
        """
        tokens, cells = self._attend(pyramid.embedding, image_pe, prompt_tokens)
        coarse, fine = self._upscale_with_detail(cells, pyramid)
        filters, iou = self.choose_filters(tokens, token_ids, best_only)
        coarse_filters, fine_filters = filters.split((coarse.shape[1], fine.shape[1]), dim=-1)
        coarse_logits = _apply(coarse_filters, coarse)
        doubled = F.interpolate(
            coarse_logits, scale_factor=2.0, mode="bilinear", align_corners=False
        )
        return (doubled + _apply(fine_filters, fine)).unflatten(0, tokens.shape[:2]), iou

    def _filter(self, tokens: Tensor, token_id: int) -> Tensor:
        """Return the filters of both resolutions, one after the other."""
        coarse = super()._filter(tokens, token_id)
        return torch.cat((coarse, self.fine_filters[token_id](tokens[:, :, 1 + token_id])), dim=-1)

    def _upscale_with_detail(self, cells: Tensor, pyramid: Pyramid) -> tuple[Tensor, Tensor]:
        """Return the features at strides 4 and 2, (B * N, C4, 4h, 4w) and (B * N, C2, 8h, 8w).

        Args:
            cells: float (B, N, L, C), the embedding as each box sees it.
            pyramid: As for `forward`.
        """
        stages: Any = self.final_output_upscaling_layers
        (double_to_8, norm, activate_8), (double_to_4, activate_4) = stages
        num_boxes = cells.shape[1]

        def share(detail: Tensor) -> Tensor:
            return detail if num_boxes == 1 else detail.repeat_interleave(num_boxes, dim=0)

        image = cells.flatten(0, 1).transpose(1, 2).unflatten(2, pyramid.embedding.shape[2:])
        stride8 = double_to_8(image) + share(self.skip_stride8(pyramid.stride8))
        stride4 = double_to_4(activate_8(norm(stride8)))
        stride4 = activate_4(stride4 + share(self.skip_stride4(pyramid.stride4)))
        stride2 = self.double_to_stride2(stride4) + share(self.skip_stride2(pyramid.stride2))
        return stride4, F.relu(self.mix_stride2(F.relu(stride2)))


def _apply(filters: Tensor, features: Tensor) -> Tensor:
    """Weigh the channels of features (B * N, C, H, W) by filters (B, N, M, C)."""
    weighed = filters.flatten(0, 1) @ features.flatten(2)
    return weighed.unflatten(2, features.shape[2:])
