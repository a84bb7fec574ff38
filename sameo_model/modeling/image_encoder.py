"""Vision transformer image encoder of EfficientSAM."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sameo_model.modeling.layers import LayerNorm2d

NORM_EPS = 1e-6
# EfficientSAM was pre-trained at 224 x 224: 14 x 14 patches and one class token.
PRETRAINED_GRID = 14


class SelfAttention(nn.Module):
    """Multi-head self-attention over all patches of an image."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend among tokens, (B, L, C) to the same shape."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4).unbind(
            0
        )  # each (B, heads, L, C / heads)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return self.proj(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with GELU, four times as wide inside."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, 4 * embed_dim)
        self.fc2 = nn.Linear(4 * embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token on its own, (B, L, C) to the same shape."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class VitBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.attn = SelfAttention(embed_dim, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.mlp = FeedForward(embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply attention, then the feed-forward layers, (B, L, C) to the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class PatchEmbed(nn.Module):
    """Cut an image into square patches and project each to one token."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, C, H / patch, W / patch)."""
        return self.proj(images)


class VitImageEncoder(nn.Module):
    """Plain vision transformer with a convolutional neck."""

    def __init__(
        self,
        *,
        embed_dim: int,
        num_heads: int,
        depth: int = 12,
        patch_size: int = 16,
        output_dim: int = 256,
    ) -> None:
        """Build the layers with random weights.

        Args:
            embed_dim: Width of the transformer.
            num_heads: Attention heads of each block.
            depth: Number of blocks.
            patch_size: Side of a patch in pixels, which is also the stride of the embedding.
            output_dim: Channels of the embedding.
        """
        super().__init__()
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + PRETRAINED_GRID**2, embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(VitBlock(embed_dim, num_heads) for _ in range(depth))
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, output_dim, kernel_size=1, bias=False),
            LayerNorm2d(output_dim),
            nn.Conv2d(output_dim, output_dim, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(output_dim),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images.

        Args:
            images: float32 (B, 3, S, S), RGB, normalised with the preset's mean and deviation.

        Returns:
            float32 (B, 256, S/16, S/16), image embedding.
        """
        features = self.patch_embed(images)
        grid_hw = (features.shape[2], features.shape[3])
        features = features + self._position_embedding(grid_hw)
        tokens = features.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.neck(tokens.transpose(1, 2).unflatten(2, grid_hw))

    def _position_embedding(self, grid_hw: tuple[int, int]) -> Tensor:
        """Return (1, C, h, w), the learnt 14 x 14 grid interpolated to ``grid_hw``."""
        without_class_token = self.pos_embed[:, 1:]
        side = math.isqrt(without_class_token.shape[1])
        grid = without_class_token.transpose(1, 2).unflatten(2, (side, side))
        if grid_hw == (side, side):
            return grid
        return F.interpolate(grid, size=grid_hw, mode="bicubic", align_corners=False)
