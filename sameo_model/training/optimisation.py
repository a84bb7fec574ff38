"""Optimiser, learning rate and the moving average of weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sameo_model.training.config import OptimiserOptions

FINAL_SHARE = 0.02  # of the learning rate, at the end of a cosine schedule


def build_optimiser(model: nn.Module, options: OptimiserOptions) -> torch.optim.Optimizer:
    """Build the optimiser over the trainable weights; `base_lr` of a group precedes schedules."""
    groups = []
    for is_encoder, scale in ((True, options.encoder_lr_scale), (False, 1.0)):
        weights = [
            weight
            for name, weight in model.named_parameters()
            if weight.requires_grad and name.startswith("image_encoder.backbone") == is_encoder
        ]
        if weights:
            base_lr = options.lr * scale
            groups.append({"params": weights, "lr": base_lr, "base_lr": base_lr})
    if options.name == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=options.weight_decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.name]
    return kind(groups, weight_decay=options.weight_decay)


def set_learning_rate(
    optimiser: torch.optim.Optimizer, options: OptimiserOptions, step: int, num_steps: int
) -> None:
    """Set the learning rate of optimiser step `step` of `num_steps`."""
    factor = min(1.0, (step + 1) / max(1, options.warmup_steps))
    if options.schedule == "cosine":
        remaining = 0.5 * (1 + math.cos(math.pi * step / num_steps))
        factor *= FINAL_SHARE + (1 - FINAL_SHARE) * remaining
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor


class MovingAverage:
    """Exponential moving average of the trainable weights.

    Attributes:
        weights: by name, float, the averages.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in self._trained()}

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        return ((n, value) for n, value in self.model.named_parameters() if value.requires_grad)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimiser step `step`; early steps are averaged less."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in self._trained():
            self.weights[name].lerp_(value, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages into the model for a while."""
        trained = {name: value.detach().clone() for name, value in self._trained()}
        self.copy_into_model()
        try:
            yield
        finally:
            self._copy(trained)

    def copy_into_model(self) -> None:
        """Put the averages into the model."""
        self._copy(self.weights)

    @torch.no_grad()
    def _copy(self, weights: dict[str, Tensor]) -> None:
        for name, value in self._trained():
            value.copy_(weights[name])
