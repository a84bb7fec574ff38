"""Mask decoder of `sameo_lite`: fine detail and a correction at the end."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sameo_model.modeling.mask_decoder import MaskDecoder


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
        self.stride8 = nn.Linear(embed_dim, channels_stride8 * 4)
        self.stride4 = nn.Linear(embed_dim, channels_stride4 * 16)

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return each cell's pixels at strides 8 and 4, (B, L, 4 C8) and (B, L, 4, 4 C4)."""
        return self.stride8(cells), self.stride4(cells).unflatten(-1, (4, -1))


class MaskRefinement(nn.Module):
    """Correct mask logits from their neighbourhood and from the image's fine detail.

    Upscaling treats each cell of the embedding on its own, which leaves seams between cells. The
    image's share is computed once per image; a box costs two small convolutions. With fresh
    weights nothing is changed.
    """

    def __init__(self, embed_dim: int, dim: int = 16, kernel: int = 5) -> None:
        """Build the layers.

        Args:
            embed_dim: Channels of the embedding.
            dim: Channels of the hidden layer.
            kernel: Odd side of the kernels that see the logits, in their pixels.
        """
        super().__init__()
        self.unfold_detail = nn.Conv2d(embed_dim, dim * 16, kernel_size=1)
        self.mix_detail = nn.Conv2d(dim, dim, kernel_size=3, padding=1)
        self.read_mask = nn.Conv2d(1, dim, kernel, padding=kernel // 2)
        self.correct_mask = nn.Conv2d(dim, 1, kernel, padding=kernel // 2)
        for value in self.correct_mask.parameters():
            nn.init.zeros_(value)

    def forward(self, logits: Tensor, embeddings: Tensor) -> Tensor:
        """Return corrected logits.

        Args:
            logits: float (B, N, M, 4h, 4w).
            embeddings: float (B, C, h, w).
        """
        detail = F.pixel_shuffle(self.unfold_detail(embeddings), 4)
        detail = self.mix_detail(F.relu(detail))[:, None, None]
        seen = self.read_mask(logits.flatten(0, 2).unsqueeze(1)).unflatten(0, logits.shape[:3])
        correction = self.correct_mask(F.relu(seen + detail).flatten(0, 2))
        return logits + correction.reshape(logits.shape)


class LiteMaskDecoder(MaskDecoder):
    """`MaskDecoder` with fine detail while upscaling, and a correction of the masks at the end."""

    def __init__(
        self,
        *,
        embed_dim: int = 256,
        mlp_dim: int = 1024,
        upscaling_dims: tuple[int, int] = (64, 32),
    ) -> None:
        """Build the layers with random weights; see `MaskDecoder`."""
        super().__init__(embed_dim=embed_dim, mlp_dim=mlp_dim, upscaling_dims=upscaling_dims)
        self.detail_skips = DetailSkips(embed_dim, *upscaling_dims)
        self.refinement = MaskRefinement(embed_dim)

    def _detail(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        skip8, skip4 = self.detail_skips(cells)
        return skip8.unsqueeze(1), skip4.unsqueeze(1)

    def _refine(self, logits: Tensor, embeddings: Tensor) -> Tensor:
        return self.refinement(logits, embeddings)
