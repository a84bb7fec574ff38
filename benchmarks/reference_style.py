"""The network computed the way the reference writes it: the contestant that ratios refer to.

Attention builds its whole matrix, the image embedding is repeated for every box, layers keep the
(B, C, H, W) layout, and every candidate mask is drawn before one is chosen. Weights and results
are those of the network that is wrapped: EfficientSAM, as the reference has no other.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sameo_model.modeling.image_encoder import VitBlock, VitImageEncoder
from sameo_model.modeling.layers import LayerNorm2d
from sameo_model.modeling.mask_decoder import MaskDecoder
from sameo_model.modeling.sameo import READ_OUT_TOKENS, BoxMasks, MaskKind, Sameo
from sameo_model.modeling.transformer import Attention, TwoWayBlock


class ReferenceStyle(nn.Module):
    """Same `encode` and `decode_boxes` as the `Sameo` inside, computed without any short cut."""

    def __init__(self, model: Sameo) -> None:
        """Wrap a network, which is not changed.

        Raises:
            ValueError: If it is not EfficientSAM.
        """
        if not isinstance(model.image_encoder, VitImageEncoder):
            raise ValueError(
                f"preset must be efficient_sam_*, got {model.preset}; the reference has no other"
            )
        super().__init__()
        self.model = model
        self.image_size = model.image_size
        self.has_visible_decoder = model.has_visible_decoder

    def encode(self, images: Tensor) -> Tensor:
        """Embed images; see `Sameo.encode`. They must have the model's own size."""
        model = self.model
        normalised = (images - model.pixel_mean) / model.pixel_deviation
        assert isinstance(model.image_encoder, VitImageEncoder)
        return _vit(model.image_encoder, normalised)

    def decode_boxes(
        self,
        embeddings: Tensor,
        boxes_xyxy: Tensor,
        input_hw: tuple[int, int],
        kind: MaskKind = "amodal",
    ) -> tuple[Tensor, Tensor]:
        """Predict one mask per box of one image; see `Sameo.decode_boxes`."""
        model = self.model
        corners = boxes_xyxy.unflatten(2, (2, 2))
        labels = corners.new_tensor((2, 3)).expand(corners.shape[:3])
        prompts = model._encode_points(corners, labels, input_hw)[0]
        grid = model.prompt_encoder.pe_layer.grid((embeddings.shape[2], embeddings.shape[3]))
        layers = model.mask_decoder if kind == "amodal" else model.visible_decoder
        selection = model.mask_selection if kind == "amodal" else model.visible_mask_selection
        assert layers is not None
        logits, iou = _decode(layers, embeddings, grid, prompts, READ_OUT_TOKENS[selection])
        best = iou.argmax(dim=1)
        rows = torch.arange(len(best))
        return logits[rows, best][None], iou[rows, best][None].clamp(0, 1)

    def draw_masks(
        self,
        embeddings: Tensor,
        boxes_xyxy: Tensor,
        input_hw: tuple[int, int],
        *,
        visible: bool = True,
        points_xy: None = None,
        point_labels: None = None,
    ) -> BoxMasks:
        """Predict the masks of each box with one pass per decoder; see `Sameo.draw_masks`."""
        logits, iou = self.decode_boxes(embeddings, boxes_xyxy, input_hw)
        seen = None
        if visible and self.has_visible_decoder:
            seen, _ = self.decode_boxes(embeddings, boxes_xyxy, input_hw, "visible")
        return BoxMasks(logits, iou, seen)


def _softmax_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return scores.softmax(dim=-1) @ values


def _vit(encoder: VitImageEncoder, images: Tensor) -> Tensor:
    features = encoder.patch_embed(images)
    grid_hw = (features.shape[2], features.shape[3])
    features = features + encoder._position_embedding(grid_hw)
    tokens = features.flatten(2).transpose(1, 2)
    for block in encoder.blocks:
        assert isinstance(block, VitBlock)
        tokens = tokens + _self_attention(block, block.norm1(tokens))
        tokens = tokens + block.mlp(block.norm2(tokens))
    features = tokens.transpose(1, 2).unflatten(2, grid_hw)
    for layer in encoder.neck:
        features = _norm_2d(layer, features) if isinstance(layer, LayerNorm2d) else layer(features)
    return features


def _self_attention(block: VitBlock, tokens: Tensor) -> Tensor:
    batch, length, dim = tokens.shape
    heads = block.attn.num_heads
    qkv = block.attn.qkv(tokens).reshape(batch, length, 3, heads, dim // heads)
    attended = _softmax_attention(*qkv.permute(2, 0, 3, 1, 4))
    return block.attn.proj(attended.transpose(1, 2).reshape(batch, length, dim))


def _norm_2d(norm: LayerNorm2d, features: Tensor) -> Tensor:
    mean = features.mean(1, keepdim=True)
    variance = (features - mean).pow(2).mean(1, keepdim=True)
    normed = (features - mean) / torch.sqrt(variance + norm.eps)
    return norm.weight[:, None, None] * normed + norm.bias[:, None, None]


def _decode(
    decoder: MaskDecoder,
    embedding: Tensor,
    image_pe: Tensor,
    prompts: Tensor,
    token_ids: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """Decode N prompts (N, P, C) of one image to logits (N, M, 4h, 4w) and IoU (N, M)."""
    num_boxes = len(prompts)
    tiled = embedding.repeat(num_boxes, 1, 1, 1)
    tiled_pe = image_pe.repeat(num_boxes, 1, 1)
    outputs = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))
    tokens = torch.cat((outputs.expand(num_boxes, -1, -1), prompts), dim=1)
    tokens, cells = _transform(decoder, tokens, tiled.flatten(2).transpose(1, 2), tiled_pe)
    features = decoder.final_output_upscaling_layers[0](cells.transpose(1, 2).reshape(tiled.shape))
    features = decoder.final_output_upscaling_layers[1](features)
    filters = torch.stack(
        [decoder.output_hypernetworks_mlps[k](tokens[:, 1 + k]) for k in token_ids], dim=1
    )
    logits = (filters @ features.flatten(2)).unflatten(2, features.shape[2:])
    return logits, decoder.iou_prediction_head(tokens[:, 0])[:, list(token_ids)]


def _transform(
    decoder: MaskDecoder, tokens: Tensor, image: Tensor, image_pe: Tensor
) -> tuple[Tensor, Tensor]:
    token_pe = tokens
    for block in decoder.transformer.layers:
        assert isinstance(block, TwoWayBlock)
        asking = tokens if block.is_first else tokens + token_pe
        tokens = block.norm1(asking + _attend(block.self_attn, asking, asking, asking))
        seen = _attend(block.cross_attn_token_to_image, tokens + token_pe, image + image_pe, image)
        tokens = block.norm2(tokens + seen)
        tokens = block.norm3(tokens + block.mlp(tokens))
        seen = _attend(block.cross_attn_image_to_token, image + image_pe, tokens + token_pe, tokens)
        image = block.norm4(image + seen)
    final = decoder.transformer.final_attn_token_to_image
    seen = _attend(final, tokens + token_pe, image + image_pe, image)
    return decoder.transformer.norm_final_attn(tokens + seen), image


def _attend(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    split = [
        projection(inputs).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for projection, inputs in (
            (attention.q_proj, queries),
            (attention.k_proj, keys),
            (attention.v_proj, values),
        )
    ]
    return attention.out_proj(_softmax_attention(*split).transpose(1, 2).flatten(2))
