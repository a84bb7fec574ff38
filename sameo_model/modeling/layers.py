"""Small layers that several parts of the network share."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a feature map."""

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        """Build the layers with random weights.

        Args:
            num_channels: C of the (B, C, H, W) input.
            eps: Added to the variance.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, features: Tensor) -> Tensor:
        """Normalise every pixel's channel vector, (B, C, H, W) to the same shape."""
        channels_last = features.permute(0, 2, 3, 1)
        normed = F.layer_norm(
            channels_last, self.weight.shape, self.weight, self.bias, eps=self.eps
        )
        return normed.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Fully connected layers with GELU in between, named as in the EfficientSAM state dict."""

    def __init__(self, input_dim: int, hidden_dims: tuple[int, ...], output_dim: int) -> None:
        """Build the layers with random weights.

        Args:
            input_dim: Size of the last axis of the input.
            hidden_dims: Sizes of the hidden layers, in order.
            output_dim: Size of the last axis of the output.
        """
        super().__init__()
        widths = (input_dim, *hidden_dims)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width_in, width_out), nn.GELU())
            for width_in, width_out in pairwise(widths)
        )
        self.fc = nn.Linear(widths[-1], output_dim)

    def forward(self, values: Tensor) -> Tensor:
        """Map (..., input_dim) to (..., output_dim)."""
        for layer in self.layers:
            values = layer(values)
        return self.fc(values)
