"""What happens to one batch of masks or of boxes: run the network, sum the losses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.modeling.lite_encoder import LiteImageEncoder, Pyramid
from sameo_model.modeling.sameo import (
    BOTH_TOKENS,
    MULTI_MASK_TOKENS,
    SINGLE_MASK_TOKENS,
    Features,
    MaskKind,
    Sameo,
)
from sameo_model.training.box_loss import box_loss
from sameo_model.training.config import Decoder, Part, TrainConfig
from sameo_model.training.losses import sameo_loss

Batch = dict[str, Any]
Network = Sameo | BoxDetector


class TrainingStep(nn.Module):
    """Loss of one batch; every image is encoded once for all of its boxes (equation 1)."""

    def __init__(self, model: Sameo, config: TrainConfig) -> None:
        """Wrap `model` and freeze the parts that `config` does not train."""
        super().__init__()
        self.model = model
        self.decoders = config.decoders
        self.mask_selection = config.mask_selection
        self.iou_candidates = config.iou_candidates
        self.encoder_frozen = "image_encoder" not in config.trainable
        # Rounding every embedding, cached or not, makes a run independent of the cache's content.
        self.round_embeddings = bool(config.embedding_cache)
        for part in get_args(Part):
            module = getattr(model, part, None)
            if module is not None:
                module.requires_grad_(part in config.trainable)
        if isinstance(model.image_encoder, LiteImageEncoder):
            model.image_encoder.backbone.freeze(config.frozen_blocks, config.frozen_depthwise)

    def forward(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Return losses of a batch, and embeddings to keep.

        Args:
            batch: what `samples.collate` returns.

        Returns:
            Losses of `sameo_loss`, means over the batch's valid boxes, summed over the decoders;
            and float (B', 256, S/16, S/16), embeddings of the images that were encoded, which
            are those without a cached one; none of windows.
        """
        encoded, embeddings = self._embed(batch)
        if self.model.shares_decoder:
            return self._shared_losses(embeddings, batch), encoded
        losses: dict[str, Tensor] = {}
        for decoder in self.decoders:
            for name, value in self._decoder_losses(decoder, embeddings, batch).items():
                losses[name] = losses[name] + value if name in losses else value
        return losses, encoded

    def _shared_losses(self, embeddings: Features, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of both masks of one decoder, whole ones where they are known."""
        side = self.model.image_size
        with _choose_attention(batch["boxes_xyxy"].device):
            logits, iou = self.model.decode_tokens(
                embeddings,
                batch["boxes_xyxy"],
                (side, side),
                BOTH_TOKENS,
                batch.get("points_xy"),
                batch.get("point_labels"),
            )
        is_valid = batch["is_valid"]
        logits, iou = logits[is_valid], iou[is_valid]
        is_known = batch["has_amodal"][is_valid]
        losses: dict[str, Tensor] = {}
        for token, (kind, rows) in enumerate(
            (("amodal", is_known), ("visible", torch.ones_like(is_known)))
        ):
            target = batch[kind][is_valid][rows]
            if not len(target):
                continue
            found = _resize_logits(logits[rows, token : token + 1], target)
            parts = sameo_loss(found, iou[rows, token : token + 1], target, mask_selection="all")
            # Every box counts the same, whether its whole shape is known or not.
            share = len(target) / len(is_known)
            for name, value in parts.items():
                losses[name] = losses.get(name, 0.0) + value * share
        return losses

    def _embed(self, batch: Batch) -> tuple[Tensor, Features]:
        """Return the new embeddings (B', ...) and what the encoder sees of all images (B, ...)."""
        is_cached, images = batch["is_cached"], batch["image"]
        encoded = batch["embedding"][:0]
        if len(images):
            with torch.set_grad_enabled(not self.encoder_frozen and torch.is_grad_enabled()):
                pixels = images.contiguous(memory_format=torch.channels_last)
                features = self.model.encode(pixels.float() / 255)
            if isinstance(features, Pyramid):
                return encoded, features
            encoded = features
        if self.round_embeddings:
            # The layout of cached ones too, since sums depend on it.
            encoded = encoded.half().contiguous()
        if not is_cached.any():
            return encoded, encoded.float() if self.round_embeddings else encoded
        whole = batch["embedding"].new_empty((len(is_cached), *batch["embedding"].shape[1:]))
        whole[is_cached] = batch["embedding"]
        whole[~is_cached] = encoded.to(whole)
        return encoded, whole.float()

    def _decoder_losses(
        self, decoder: Decoder, embeddings: Features, batch: Batch
    ) -> dict[str, Tensor]:
        kind: MaskKind = "amodal" if decoder == "mask_decoder" else "visible"
        boxes, is_valid = batch["boxes_xyxy"], batch["is_valid"]
        side = self.model.image_size
        with _choose_attention(boxes.device):
            logits, iou = self.model.decode_tokens(
                embeddings,
                boxes,
                (side, side),
                SINGLE_MASK_TOKENS if self.mask_selection == "token0" else MULTI_MASK_TOKENS,
                batch.get("points_xy"),
                batch.get("point_labels"),
                kind=kind,
            )
        logits, iou, target = logits[is_valid], iou[is_valid], batch[kind][is_valid]
        return sameo_loss(
            _resize_logits(logits, target),
            iou,
            target,
            mask_selection=self.mask_selection,
            iou_candidates=self.iou_candidates,
        )


def _resize_logits(logits: Tensor, target: Tensor) -> Tensor:
    """Resize logits (N, M, h, w) to the size of the true masks (N, H, W)."""
    if target.shape[-2:] == logits.shape[-2:]:
        return logits
    size = tuple(target.shape[-2:])
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _choose_attention(device: torch.device) -> AbstractContextManager:
    # Of a few tokens with a whole image, in bfloat16, the CPU's fused attention is slower than
    # plain matrix products: these save a third of a decoder's step.
    if device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


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

    def forward(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Return the losses of `box_loss`, and an empty tensor: no embeddings to keep.

        Args:
            batch: What `collate_boxes` returns.
        """
        for part in self.normalised_by_batch:
            part.train()
        images = batch["image"].contiguous(memory_format=torch.channels_last)
        return box_loss(self.model(images), batch), images.new_empty(0)


def build_step(model: Network, config: TrainConfig) -> nn.Module:
    """Return the module that turns a batch into losses."""
    if isinstance(model, BoxDetector):
        return BoxTrainingStep(model, config)
    return TrainingStep(model, config)
