"""Two-way transformer between prompt tokens and the image embedding."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sameo_model.modeling.layers import Mlp


class Attention(nn.Module):
    """Multi-head attention that may work in fewer channels than its inputs."""

    def __init__(self, embed_dim: int, num_heads: int, downsample: int = 1) -> None:
        """Build the layers with random weights.

        Args:
            embed_dim: Channels of inputs and output.
            num_heads: Attention heads.
            downsample: Factor by which the inner width is smaller than ``embed_dim``.
        """
        super().__init__()
        inner_dim = embed_dim // downsample
        self.num_heads = num_heads
        self.q_proj = nn.Linear(embed_dim, inner_dim)
        self.k_proj = nn.Linear(embed_dim, inner_dim)
        self.v_proj = nn.Linear(embed_dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, embed_dim)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend from queries to keys.

        Args:
            queries: float (B, N, Lq, C), or (B, 1, Lq, C) where all N boxes ask the same.
            keys: float (B, N, Lk, C).
            values: float (B, N, Lk, C).

        Returns:
            float (B, N, Lq, C).
        """
        num_images, num_boxes = keys.shape[:2]
        # The projection runs before the expansion: queries that boxes share are projected once.
        projected = self.q_proj(queries).expand(-1, num_boxes, -1, -1)
        attended = F.scaled_dot_product_attention(
            self._split_heads(projected),
            self._split_heads(self.k_proj(keys)),
            self._split_heads(self.v_proj(values)),
        )
        merged = attended.transpose(1, 2).flatten(2).unflatten(0, (num_images, num_boxes))
        return self.out_proj(merged)

    def _split_heads(self, values: Tensor) -> Tensor:
        """Reshape (B, N, L, C) to (B * N, heads, L, C / heads)."""
        return values.flatten(0, 1).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class TwoWayBlock(nn.Module):
    """Let tokens attend to themselves and the image, then the image to the tokens."""

    def __init__(
        self, embed_dim: int, num_heads: int, mlp_dim: int, downsample: int, is_first: bool
    ) -> None:
        """Build the layers with random weights.

        Args:
            embed_dim: Channels.
            num_heads: Attention heads.
            mlp_dim: Hidden width of the tokens' feed-forward layer.
            downsample: Reduction of the inner width of both cross-attentions.
            is_first: Whether the tokens come without their position added, and all boxes of an
                image still share one image embedding.
        """
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(embed_dim, num_heads)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.cross_attn_token_to_image = Attention(embed_dim, num_heads, downsample)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.mlp = Mlp(embed_dim, (mlp_dim,), embed_dim)
        self.norm3 = nn.LayerNorm(embed_dim)
        self.norm4 = nn.LayerNorm(embed_dim)
        self.cross_attn_image_to_token = Attention(embed_dim, num_heads, downsample)

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Exchange information once in both directions.

        Args:
            tokens: float (B, N, T, C).
            image: float (B, N, L, C); (B, 1, L, C) in the first block.
            token_pe: float (B, N, T, C), added to tokens wherever they ask or answer.
            image_pe: float (L, C), the same for the image.

        Returns:
            Tokens (B, N, T, C) and image (B, N, L, C).
        """
        if not self.is_first:
            tokens = tokens + token_pe
        tokens = self.norm1(tokens + self.self_attn(tokens, tokens, tokens))
        attended = self._attend_to_image(tokens + token_pe, image + image_pe, image)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(image + image_pe, tokens + token_pe, tokens)
        return tokens, self.norm4(image)

    def _attend_to_image(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        if not self.is_first:
            return self.cross_attn_token_to_image(queries, keys, values)
        # One image for all boxes: attend with the tokens of all boxes in one go.
        all_boxes = queries.flatten(1, 2).unsqueeze(1)
        attended = self.cross_attn_token_to_image(all_boxes, keys, values)
        return attended.reshape(queries.shape)


class TwoWayTransformer(nn.Module):
    """Decoder trunk of SAM."""

    def __init__(
        self,
        *,
        embed_dim: int = 256,
        num_heads: int = 8,
        mlp_dim: int = 2048,
        depth: int = 2,
        downsample: int = 2,
    ) -> None:
        """Build the layers with random weights.

        Args:
            embed_dim: Channels.
            num_heads: Attention heads.
            mlp_dim: Hidden width of the tokens' feed-forward layers.
            depth: Number of blocks.
            downsample: Reduction of the inner width of attention between tokens and image.
        """
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(embed_dim, num_heads, mlp_dim, downsample, is_first=index == 0)
            for index in range(depth)
        )
        self.final_attn_token_to_image = Attention(embed_dim, num_heads, downsample)
        self.norm_final_attn = nn.LayerNorm(embed_dim)

    def forward(self, tokens: Tensor, image: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Run all blocks.

        Args:
            tokens: float (B, N, T, C), also used as the tokens' position.
            image: float (B, L, C), one embedding that all boxes of an image share.
            image_pe: float (L, C), position encoding of the embedding.

        Returns:
            Tokens (B, N, T, C) and the image as each box sees it, (B, N, L, C).
        """
        token_pe = tokens
        image = image.unsqueeze(1)
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        attended = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + attended), image
