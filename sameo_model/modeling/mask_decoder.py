"""Decode an image embedding and prompt tokens into masks and their predicted IoU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sameo_model.modeling.layers import Mlp
from sameo_model.modeling.transformer import TwoWayTransformer

NUM_MASK_TOKENS = 4


class DetailSkips(nn.Module):
    """Unfold high-resolution detail from the channels of the embedding.

    The encoder's neck folds the features of strides 4 and 8 into the channels of the stride-16
    embedding (space to depth); this is the way back, once per image and not per box.
    """

    def __init__(self, embed_dim: int, channels_stride8: int, channels_stride4: int) -> None:
        """Build the layers with random weights.

        Args:
            embed_dim: Channels of the embedding.
            channels_stride8: Channels of the skip at stride 8.
            channels_stride4: Channels of the skip at stride 4.
        """
        super().__init__()
        self.stride8 = nn.Conv2d(embed_dim, channels_stride8 * 4, kernel_size=1)
        self.stride4 = nn.Conv2d(embed_dim, channels_stride4 * 16, kernel_size=1)

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, C8, 2h, 2w) and (B, C4, 4h, 4w) from embeddings (B, C, h, w)."""
        return (
            F.pixel_shuffle(self.stride8(embeddings), 2),
            F.pixel_shuffle(self.stride4(embeddings), 4),
        )


class MaskDecoder(nn.Module):
    """Predict four candidate masks per prompt."""

    def __init__(
        self,
        *,
        embed_dim: int = 256,
        mlp_dim: int = 2048,
        upscaling_dims: tuple[int, int] = (64, 32),
        has_detail_skips: bool = False,
    ) -> None:
        """Build the layers with random weights.

        Args:
            embed_dim: Channels of embedding and tokens.
            mlp_dim: Hidden width of the transformer's feed-forward layers.
            upscaling_dims: Channels after the first and the second doubling of the resolution.
            has_detail_skips: Whether to add `DetailSkips` while upscaling.
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
        self.detail_skips = (
            DetailSkips(embed_dim, dim_stride8, dim_stride4) if has_detail_skips else None
        )

    def forward(
        self,
        embeddings: Tensor,
        image_pe: Tensor,
        prompt_tokens: Tensor,
        token_ids: tuple[int, ...],
    ) -> tuple[Tensor, Tensor]:
        """Decode all prompts of all images.

        Args:
            embeddings: float (B, C, h, w), one per image, shared by its N prompts.
            image_pe: float (h * w, C), position encoding of the embedding's cells.
            prompt_tokens: float (B, N, P, C).
            token_ids: Which of the four mask tokens to decode, in this order.

        Returns:
            Mask logits (B, N, M, 4h, 4w) and predicted IoU (B, N, M), M = len(token_ids).
        """
        num_images, num_boxes = prompt_tokens.shape[:2]
        output_tokens = torch.cat((self.iou_token.weight, self.mask_tokens.weight))
        output_tokens = output_tokens.expand(num_images, num_boxes, -1, -1)
        tokens, image = self.transformer(
            torch.cat((output_tokens, prompt_tokens), dim=2),
            embeddings.flatten(2).transpose(1, 2),
            image_pe,
        )
        features = self._upscale(image, embeddings)
        filters = torch.stack(
            [
                self.output_hypernetworks_mlps[token_id](tokens[:, :, 1 + token_id])
                for token_id in token_ids
            ],
            dim=2,
        )
        logits = (filters @ features.flatten(3)).unflatten(3, features.shape[3:])
        iou = self.iou_prediction_head(tokens[:, :, 0])[..., list(token_ids)]
        return logits, iou

    def _upscale(self, image: Tensor, embeddings: Tensor) -> Tensor:
        """Return (B, N, C4, 4h, 4w) from the transformer's image (B, N, h * w, C)."""
        images_and_boxes = image.shape[:2]
        grid_hw = embeddings.shape[2:]
        features = image.flatten(0, 1).transpose(1, 2).unflatten(2, grid_hw)
        skips = (None, None) if self.detail_skips is None else self.detail_skips(embeddings)
        for stage, skip in zip(self.final_output_upscaling_layers, skips, strict=True):
            project, *following = stage.children()
            features = project(features)
            if skip is not None:
                per_box = features.unflatten(0, images_and_boxes) + skip.unsqueeze(1)
                features = per_box.flatten(0, 1)
            for layer in following:
                features = layer(features)
        return features.unflatten(0, images_and_boxes)
