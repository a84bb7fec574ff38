"""The mask decoder for boxes of one image, in the order of computation that costs least per box.

Same weights and, to rounding, same numbers as `Sameo.decode_boxes`. What differs:

- What depends on the image alone is computed once: keys, values and queries of the first layer's
  attention. Position encodings are constants.
- The four padding points of a box are one token that counts four times: equal tokens stay equal.
- Keys and values of a box's own image are never made. Of the scores (x W_k) q = x (W_k q) and
  sums (p x) W_v the right-hand sides multiply a few tokens, not all cells, with the weights.
- Maps stay ordered by cells until the end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from sameo_model.modeling.mask_decoder import MaskDecoder
from sameo_model.modeling.prompt_encoder import (
    MAX_POINTS,
    PIXEL_CENTRE,
    PromptEncoder,
)
from sameo_model.modeling.sameo import READ_OUT_TOKENS, MaskKind, Sameo
from sameo_model.modeling.transformer import Attention, TwoWayBlock

NUM_PADDING = MAX_POINTS - 2
# Two corners and the padding, after the five output tokens.
NUM_TOKENS = 5 + 2 + 1


def decode_boxes(
    model: Sameo, kind: MaskKind, embedding: Tensor, boxes: Tensor
) -> tuple[Tensor, Tensor]:
    """Predict one mask per box as `Sameo.decode_boxes` does.

    Args:
        embedding: float32 (1, 256, S/16, S/16), of one image.
        boxes: float32 (N, 4), x1, y1, x2, y2 in model pixels.

    Returns:
        Logits float32 (N, S/4, S/4) and predicted IoU float32 (N,), in [0, 1].
    """
    layers = model.mask_decoder if kind == "amodal" else model.visible_decoder
    assert layers is not None
    selection = model.mask_selection if kind == "amodal" else model.visible_mask_selection
    outputs = torch.cat((layers.iou_token.weight, layers.mask_tokens.weight))
    corners = _encode_corners(model.prompt_encoder, boxes, model.image_size)
    tokens = torch.cat((outputs.expand(boxes.shape[0], -1, -1), corners), dim=1)
    image_pe = model.prompt_encoder.pe_layer.grid((embedding.shape[2], embedding.shape[3]))
    tokens, cells = _transform(layers, tokens, embedding, image_pe)
    features = layers.upscale(cells.unsqueeze(0)).squeeze(0)
    token_ids = READ_OUT_TOKENS[selection]
    chosen = layers.choose_filters(tokens.unsqueeze(0), token_ids, best_only=len(token_ids) > 1)
    filters, iou = (values.squeeze(0) for values in chosen)  # (N, 1, C4) and (N, 1)
    logits = (features @ filters.transpose(1, 2)).unflatten(1, (-1, embedding.shape[3], 2, 2, 2, 2))
    by_cell = logits.squeeze(-1).permute(0, 3, 5, 4, 6, 1, 2).flatten(1, 4)  # (N, 16, h, w)
    return F.pixel_shuffle(by_cell, 4).squeeze(1), iou.squeeze(1).clamp(0.0, 1.0)


def _encode_corners(encoder: PromptEncoder, boxes: Tensor, image_size: int) -> Tensor:
    """Return (N, 3, C): both corners of each box and one padding point."""
    kinds = (encoder.bbox_top_left_embeddings.weight, encoder.bbox_bottom_right_embeddings.weight)
    corners = torch.where(boxes < 0, -1.0, boxes).unflatten(1, (2, 2))
    encoded = encoder.pe_layer((corners + PIXEL_CENTRE) / image_size) + torch.cat(kinds)
    outside = boxes.new_full((1, 2), (PIXEL_CENTRE - 1.0) / image_size)
    padding = encoder.pe_layer(outside) + encoder.invalid_points.weight
    return torch.cat((encoded, padding.expand(boxes.shape[0], 1, -1)), dim=1)


def _transform(
    layers: MaskDecoder, tokens: Tensor, embedding: Tensor, image_pe: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the two-way transformer: tokens (N, T, C) and cells (N, L, C), L = h * w."""
    transformer = layers.transformer
    first, second = transformer.layers
    assert isinstance(first, TwoWayBlock)
    assert isinstance(second, TwoWayBlock)
    # exp(log 4) = 4: what the padding token weighs among the keys of an attention.
    weights = tokens.new_tensor([0.0] * (NUM_TOKENS - 1) + [math.log(NUM_PADDING)])
    token_pe = tokens
    keys, values, queries = _project_image(first, embedding, image_pe)
    tokens = first.norm1(tokens + _attend_to_tokens(first.self_attn, tokens))
    seen = _attend_to_shared_image(first, tokens + token_pe, keys, values)
    tokens = _update_tokens(first, tokens, seen)
    keys = _split(first.cross_attn_image_to_token.k_proj(tokens + token_pe), queries.shape[0])
    scores = (keys * _scale(keys)) @ queries
    cells = embedding.flatten(2).transpose(1, 2)
    cells = _update_cells(first, cells, scores, tokens, weights)
    tokens = tokens + token_pe
    tokens = second.norm1(tokens + _attend_to_tokens(second.self_attn, tokens))
    asking = second.cross_attn_token_to_image
    seen = _attend_to_image(asking, tokens + token_pe, cells, image_pe)
    tokens = _update_tokens(second, tokens, seen)
    attention = second.cross_attn_image_to_token
    keys = _split(attention.k_proj(tokens + token_pe), attention.num_heads)
    scores = _score_cells(keys, attention.q_proj, cells, image_pe)
    cells = _update_cells(second, cells, scores, tokens, weights)
    final = transformer.final_attn_token_to_image
    seen = _attend_to_image(final, tokens + token_pe, cells, image_pe)
    return transformer.norm_final_attn(tokens + seen), cells


def _update_tokens(block: TwoWayBlock, tokens: Tensor, seen: Tensor) -> Tensor:
    tokens = block.norm2(tokens + seen)
    return block.norm3(tokens + block.mlp(tokens))


def _attend_to_tokens(attention: Attention, tokens: Tensor) -> Tensor:
    # The padding token stands here four times, and counts by that: OpenVINO 2026.4 fuses an
    # attention to eight tokens whose scores get something added, and is then wrong in bfloat16.
    keys = torch.cat((tokens, tokens[:, -1:].expand(-1, NUM_PADDING - 1, -1)), dim=1)
    attended = F.scaled_dot_product_attention(
        _split(attention.q_proj(tokens), attention.num_heads),
        _split(attention.k_proj(keys), attention.num_heads),
        _split(attention.v_proj(keys), attention.num_heads),
    )
    return attention.out_proj(attended.transpose(1, 2).flatten(2))


def _project_image(
    block: TwoWayBlock, embedding: Tensor, image_pe: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return keys, values and queries of the image all boxes share, each (heads, D, L).

    A key's bias adds the same to all scores of a query, which the softmax takes away again;
    the values' is added by `_attend_to_shared_image`, as weights of an attention sum to 1.
    """
    asked, asking = block.cross_attn_token_to_image, block.cross_attn_image_to_token
    weights = torch.cat((asked.k_proj.weight, asked.v_proj.weight, asking.q_proj.weight))
    projected = (weights @ embedding.flatten(2)[0]).unflatten(0, (3, asked.num_heads, -1))
    key_pe = asked.k_proj.weight @ image_pe.t()
    query_pe = asking.q_proj.weight @ image_pe.t() + asking.q_proj.bias.unsqueeze(1)
    keys = projected[0] + key_pe.unflatten(0, (asked.num_heads, -1))
    queries = projected[2] + query_pe.unflatten(0, (asking.num_heads, -1))
    return keys, projected[1], queries


def _attend_to_shared_image(
    block: TwoWayBlock, tokens: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """Attend with the tokens of all boxes in one go."""
    attention = block.cross_attn_token_to_image
    queries = _split(attention.q_proj(tokens).flatten(0, 1), attention.num_heads)
    shares = ((queries * _scale(queries)) @ keys).softmax(dim=2)
    attended = (shares @ values.transpose(1, 2)).transpose(0, 1).flatten(1)
    return attention.out_proj(attended + attention.v_proj.bias).unflatten(0, (-1, NUM_TOKENS))


def _attend_to_image(
    attention: Attention, tokens: Tensor, cells: Tensor, image_pe: Tensor
) -> Tensor:
    """Attend from tokens (N, T, C) to each box's own cells (N, L, C)."""
    num_heads = attention.num_heads
    queries = _split(attention.q_proj(tokens), num_heads)
    # Without the keys' bias, see `_project_image`.
    shares = _score_cells(queries, attention.k_proj, cells, image_pe, has_bias=False)
    means = (shares.flatten(1, 2).softmax(dim=2) @ cells).unflatten(1, (num_heads, -1))
    attended = means @ attention.v_proj.weight.unflatten(0, (num_heads, -1)).transpose(1, 2)
    attended = attended.transpose(1, 2).flatten(2) + attention.v_proj.bias
    return attention.out_proj(attended)


def _score_cells(
    tokens: Tensor,
    projection: torch.nn.Linear,
    cells: Tensor,
    image_pe: Tensor,
    *,
    has_bias: bool = True,
) -> Tensor:
    """Score projected tokens (N, heads, T, D) against the projection of cells plus position.

    Returns:
        (N, heads, T, L).
    """
    tokens = tokens * _scale(tokens)
    num_heads = tokens.shape[1]
    of_cells = _fold(tokens, projection.weight) @ cells.transpose(1, 2)
    position = F.linear(image_pe, projection.weight, projection.bias if has_bias else None)
    of_position = tokens @ _split(position, num_heads).transpose(1, 2)
    return of_cells.unflatten(1, (num_heads, -1)) + of_position


def _update_cells(
    block: TwoWayBlock, cells: Tensor, scores: Tensor, tokens: Tensor, weights: Tensor
) -> Tensor:
    """Let cells (N or 1, L, C) attend to tokens, given scores (N, heads, T, L)."""
    attention = block.cross_attn_image_to_token
    shares = (scores + weights.unsqueeze(1)).softmax(dim=2).flatten(1, 2)
    values = _split(attention.v_proj(tokens), attention.num_heads)
    seen = shares.transpose(1, 2) @ _fold(values, attention.out_proj.weight.t())
    return block.norm4(cells + (seen + attention.out_proj.bias))


def _split(values: Tensor, num_heads: int) -> Tensor:
    """Reshape (..., T, heads * D) to (..., heads, T, D)."""
    return values.unflatten(-1, (num_heads, -1)).transpose(-2, -3)


def _scale(queries: Tensor) -> float:
    return queries.shape[-1] ** -0.5


def _fold(tokens: Tensor, weight: Tensor) -> Tensor:
    """Multiply (N, heads, T, D) with each head's rows of (heads * D, C), to (N, heads * T, C)."""
    return (tokens @ weight.unflatten(0, (tokens.shape[1], -1))).flatten(1, 2)
