"""What happens to one batch of the box detector."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.training.box_loss import box_loss
from sameo_model.training.config import TrainConfig


class BoxTrainingStep(nn.Module):
    """Loss of one batch.

    The backbone keeps ImageNet's batch statistics; neck and heads, which start from random weights,
    use those of the batch.
    """

    def __init__(self, model: BoxDetector, config: TrainConfig) -> None:
        """Wrap `model` and freeze what `config` does not train."""
        super().__init__()
        self.model = model
        encoder = model.image_encoder
        encoder.requires_grad_("image_encoder" in config.trainable)
        model.box_head.requires_grad_("box_head" in config.trainable)
        encoder.backbone.freeze(config.frozen_blocks, config.frozen_depthwise)
        self.normalised_by_batch = [
            part
            for part, name in ((encoder.neck, "image_encoder"), (model.box_head, "box_head"))
            if name in config.trainable
        ]

    def forward(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the losses of `box_loss`, and an empty tensor: no embeddings to keep.

        Args:
            batch: What `collate_boxes` returns.
        """
        for part in self.normalised_by_batch:
            part.train()
        images = batch["image"].contiguous(memory_format=torch.channels_last)
        return box_loss(self.model(images), batch), images.new_empty(0)
