"""Turn boxes and clicks into tokens."""

from __future__ import annotations

import math
from enum import IntEnum

import torch
from torch import Tensor, nn

MAX_POINTS = 6
# Reference EfficientSAM places every coordinate at the centre of its pixel.
PIXEL_CENTRE = 0.5


class PointLabel(IntEnum):
    """What a prompt point means."""

    PADDING = -1
    BACKGROUND = 0
    CLICK = 1
    BOX_TOP_LEFT = 2
    BOX_BOTTOM_RIGHT = 3


class FourierEncoding(nn.Module):
    """Random Fourier features of positions."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_frequencies: int) -> None:
        """Build the layers with random weights.

        Args:
            num_frequencies: Half the number of features.
        """
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_frequencies))

    def forward(self, positions_xy: Tensor) -> Tensor:
        """Encode positions.

        Args:
            positions_xy: float32 (..., 2), x and y as fractions of the image side.

        Returns:
            float32 (..., 2 * num_frequencies), sines, then cosines.
        """
        frequencies = self.positional_encoding_gaussian_matrix
        centred = 2.0 * positions_xy - 1.0
        # Written as products, because a matrix product would run in bfloat16 under autocast and
        # lose the phase.
        phases = centred[..., :1] * frequencies[0] + centred[..., 1:] * frequencies[1]
        phases = 2.0 * math.pi * phases
        return torch.cat((phases.sin(), phases.cos()), dim=-1)

    def grid(self, grid_hw: tuple[int, int]) -> Tensor:
        """Encode the centres of an (h, w) grid's cells, to (h * w, 2 * num_frequencies)."""
        height, width = grid_hw
        device = self.positional_encoding_gaussian_matrix.device
        rows = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        columns = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return self(torch.stack((x, y), dim=-1).flatten(0, 1))


class PromptEncoder(nn.Module):
    """Encode labelled points as tokens; a box is two points."""

    def __init__(self, embed_dim: int = 256) -> None:
        """Build the layers with random weights.

        Args:
            embed_dim: Channels of a token.
        """
        super().__init__()
        self.pe_layer = FourierEncoding(embed_dim // 2)
        self.invalid_points = nn.Embedding(1, embed_dim)
        self.point_embeddings = nn.Embedding(1, embed_dim)
        self.bbox_top_left_embeddings = nn.Embedding(1, embed_dim)
        self.bbox_bottom_right_embeddings = nn.Embedding(1, embed_dim)

    def forward(self, points_xy: Tensor, point_labels: Tensor, image_size: int) -> Tensor:
        """Encode points.

        Args:
            points_xy: float32 (B, N, P, 2), pixels of the model's square input; -1 for padding.
            point_labels: (B, N, P), values of `PointLabel`.
            image_size: Side of the model's square input, pixels.

        Returns:
            float32 (B, N, P, embed_dim), one token per point.
        """
        tokens = self.pe_layer((points_xy + PIXEL_CENTRE) / image_size)
        for label, embedding in (
            (PointLabel.PADDING, self.invalid_points),
            (PointLabel.CLICK, self.point_embeddings),
            (PointLabel.BOX_TOP_LEFT, self.bbox_top_left_embeddings),
            (PointLabel.BOX_BOTTOM_RIGHT, self.bbox_bottom_right_embeddings),
        ):
            tokens = tokens + (point_labels == label).unsqueeze(-1) * embedding.weight[0]
        return tokens
