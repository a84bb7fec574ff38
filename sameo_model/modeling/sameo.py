"""The network: one image encoding, any number of amodal and visible masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sameo_model.modeling.lite_encoder import Pyramid
from sameo_model.modeling.mask_decoder import MaskDecoder
from sameo_model.modeling.prompt_encoder import MAX_POINTS, PointLabel, PromptEncoder
from sameo_model.runtime.framing import IMAGE_FRAMING, Framing

# What an image encoder returns of B images: the embedding alone, or finer features with it.
Features = Tensor | Pyramid
MaskKind = Literal["amodal", "visible"]
MaskSelection = Literal["min_loss", "best_predicted", "all", "token0"]

# Token 0 was trained for unambiguous prompts, tokens 1 to 3 for alternatives.
SINGLE_MASK_TOKENS = (0,)
MULTI_MASK_TOKENS = (1, 2, 3)
# Among which candidates `decode_boxes` looks for the highest predicted IoU.
READ_OUT_TOKENS: dict[MaskSelection, tuple[int, ...]] = {
    "min_loss": MULTI_MASK_TOKENS,
    "best_predicted": MULTI_MASK_TOKENS,
    "all": MULTI_MASK_TOKENS[:1],
    "token0": SINGLE_MASK_TOKENS,
}
# Of a decoder that draws both masks: the tokens of the whole object and of its visible part.
BOTH_TOKENS = (0, 1)
# A pixel is hidden where the whole mask is more probable than the visible one by this much.
HIDDEN_MARGIN = 0.15
HIDDEN_BLUR = 5  # Side of the average over the hidden part, pixels of the logits; taken twice.


@dataclass(frozen=True)
class Normalisation:
    """Per channel (value - mean) / deviation of RGB values in [0, 1]."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


class BoxMasks(NamedTuple):
    """What the network says about each box.

    Attributes:
        amodal_logits: float (B, N, h, w), positive on the whole object; see `Sameo` for h and w.
        predicted_iou: float (B, N), of the whole mask, in [0, 1].
        visible_logits: float (B, N, h, w), positive on the visible part; None if they were not
            asked for.
    """

    amodal_logits: Tensor
    predicted_iou: Tensor
    visible_logits: Tensor | None


class Sameo(nn.Module):
    """Image encoder, prompt encoder, mask decoder and optionally a second one for visible masks.

    The four children ``image_encoder``, ``prompt_encoder``, ``mask_decoder`` and
    ``visible_decoder`` are the parts that training freezes or fine-tunes (paper section 3.1). With
    ``shares_decoder`` the mask decoder draws both masks: token 0 the whole object, token 1 its
    visible part. Logits have h = w = S/4 pixels in EfficientSAM, S/2 in `sameo_lite`.
    """

    pixel_mean: Tensor
    pixel_deviation: Tensor
    averaging: Tensor

    def __init__(
        self,
        *,
        preset: str,
        image_size: int,
        normalisation: Normalisation,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        visible_decoder: MaskDecoder | None = None,
        shares_decoder: bool = False,
        mask_selection: MaskSelection = "min_loss",
        visible_mask_selection: MaskSelection = "min_loss",
        framing: Framing = IMAGE_FRAMING,
    ) -> None:
        """Build the layers with random weights.

        Args:
            preset: Name of the preset, kept for checkpoints.
            image_size: Side of the square input, pixels.
            normalisation: Applied to images before the image encoder.
            image_encoder: Normalised images (B, 3, S, S) to what `encode` returns.
            prompt_encoder: Points to tokens.
            mask_decoder: The amodal decoder.
            visible_decoder: The decoder of visible masks, or None.
            shares_decoder: Whether the mask decoder draws the visible masks too.
            mask_selection: How one mask is read out of the amodal decoder's candidates: as it
                was trained.
            visible_mask_selection: The same for the visible decoder.
            framing: What the network sees of an image; the caller cuts (`runtime.framing`).
        """
        super().__init__()
        self.framing = framing
        self.shares_decoder = shares_decoder
        self.preset = preset
        self.image_size = image_size
        self.normalisation = normalisation
        self.mask_selection: MaskSelection = mask_selection
        self.visible_mask_selection: MaskSelection = visible_mask_selection
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.visible_decoder = visible_decoder
        # Not in the state dict: the reference's checkpoints have no such entries.
        mean = torch.tensor(normalisation.mean).view(3, 1, 1)
        deviation = torch.tensor(normalisation.deviation).view(3, 1, 1)
        self.register_buffer("pixel_mean", mean, persistent=False)
        self.register_buffer("pixel_deviation", deviation, persistent=False)
        averaging = averaging_matrix(image_size // 2) if shares_decoder else None
        self.register_buffer("averaging", averaging, persistent=False)

    @property
    def has_visible_decoder(self) -> bool:
        """Whether the network can draw visible masks."""
        return self.shares_decoder or self.visible_decoder is not None

    def encode(self, images: Tensor) -> Features:
        """Embed images once, for any number of prompts.

        Args:
            images: float32 (B, 3, H, W), RGB in [0, 1], any size; squashed to the square input.

        Returns:
            float32 (B, 256, S/16, S/16), embeddings; `sameo_lite` a `Pyramid` with finer features.

        Raises:
            ValueError: ``images`` is not (B, 3, H, W).
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must have shape (B, 3, H, W), got {tuple(images.shape)}; "
                "put the channels second and add a batch axis"
            )
        side = self.image_size
        if images.shape[2:] != (side, side):
            images = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
        return self.image_encoder((images - self.pixel_mean) / self.pixel_deviation)

    def decode(
        self,
        embeddings: Features,
        points_xy: Tensor,
        point_labels: Tensor,
        input_hw: tuple[int, int],
        multimask: bool = True,
        kind: MaskKind = "amodal",
    ) -> tuple[Tensor, Tensor]:
        """Predict masks for prompts.

        Args:
            embeddings: What `encode` returned for B images.
            points_xy: float32 (B, N, P, 2), pixels of the input image, P at most 6. A negative
                coordinate is taken as -1.
            point_labels: int or float (B, N, P): 2 and 3 are a box's top left and bottom right
                corner, 1 a click, -1 padding.
            input_hw: Height and width of the image that the points refer to, pixels.
            multimask: True returns tokens 1 to 3, False token 0.
            kind: Which masks to draw.

        Returns:
            Logits (B, N, M, h, w), positive inside, and predicted IoU (B, N, M), an
            unbounded estimate, both in token order; M is 3 with ``multimask``, else 1.

        Raises:
            ValueError: Shapes do not fit, or the network does not draw such masks.
        """
        prompt_tokens = self._encode_points(points_xy, point_labels, input_hw)
        token_ids = MULTI_MASK_TOKENS if multimask else SINGLE_MASK_TOKENS
        return self._decoder(kind)(
            embeddings, self._position_encoding(embeddings), prompt_tokens, token_ids
        )

    def decode_boxes(
        self,
        embeddings: Features,
        boxes_xyxy: Tensor,
        input_hw: tuple[int, int],
        kind: MaskKind = "amodal",
        points_xy: Tensor | None = None,
        point_labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict one mask per box as the decoder draws it; `draw_masks` adds what users get.

        Candidates of ``min_loss`` and ``best_predicted`` training are read out by the highest
        predicted IoU of tokens 1 to 3; ``all`` reads token 1 and ``token0`` token 0. A decoder that
        draws both masks has a token for each.

        Args:
            embeddings: What `encode` returned for B images.
            boxes_xyxy: float32 (B, N, 4), left, top, right, bottom in pixels of the input image.
            input_hw: Height and width of the image that the boxes refer to, pixels.
            kind: Which masks to draw.
            points_xy: float32 (B, N, P, 2), clicks on the visible part of each box's object, pixels
                of the input image, P at most 4 (appendix E); None for boxes alone.
            point_labels: int or float (B, N, P), 1 for a click, -1 for none.

        Returns:
            Logits (B, N, h, w), positive inside, and predicted IoU (B, N) in [0, 1].

        Raises:
            ValueError: Shapes do not fit, or the network does not draw such masks.
        """
        if self.shares_decoder:
            row = ("amodal", "visible").index(kind)
            tokens, best_only = BOTH_TOKENS[row : row + 1], False
        else:
            selection = self.mask_selection if kind == "amodal" else self.visible_mask_selection
            tokens, best_only = READ_OUT_TOKENS[selection], True
        logits, iou = self.decode_tokens(
            embeddings,
            boxes_xyxy,
            input_hw,
            tokens,
            points_xy,
            point_labels,
            kind=kind,
            best_only=best_only,
        )
        return logits.squeeze(2), iou.squeeze(2).clamp(0.0, 1.0)

    def draw_masks(
        self,
        embeddings: Features,
        boxes_xyxy: Tensor,
        input_hw: tuple[int, int],
        *,
        visible: bool = True,
        points_xy: Tensor | None = None,
        point_labels: Tensor | None = None,
    ) -> BoxMasks:
        """Predict the whole and the visible mask of each box, in one pass where one decoder does.

        Args:
            embeddings: As for `decode_boxes`.
            boxes_xyxy: As for `decode_boxes`.
            input_hw: As for `decode_boxes`.
            visible: Whether to draw visible masks, where the network can.
            points_xy: As for `decode_boxes`.
            point_labels: As for `decode_boxes`.

        Raises:
            ValueError: Shapes do not fit.
        """
        prompts = (points_xy, point_labels)
        if self.shares_decoder:
            logits, iou = self.decode_tokens(
                embeddings, boxes_xyxy, input_hw, BOTH_TOKENS, *prompts
            )
            whole, seen = logits.unbind(2)
            whole = smooth_hidden_part(whole, seen, self.averaging)
            return BoxMasks(whole, iou[:, :, 0].clamp(0.0, 1.0), seen if visible else None)
        whole, best_iou = self.decode_boxes(embeddings, boxes_xyxy, input_hw, "amodal", *prompts)
        if not (visible and self.has_visible_decoder):
            return BoxMasks(whole, best_iou, None)
        seen, _ = self.decode_boxes(embeddings, boxes_xyxy, input_hw, "visible", *prompts)
        return BoxMasks(whole, best_iou, seen)

    def decode_tokens(
        self,
        embeddings: Features,
        boxes_xyxy: Tensor,
        input_hw: tuple[int, int],
        token_ids: tuple[int, ...],
        points_xy: Tensor | None = None,
        point_labels: Tensor | None = None,
        *,
        kind: MaskKind = "amodal",
        best_only: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Predict the masks of some tokens of a decoder for each box.

        Args:
            embeddings: As for `decode_boxes`.
            boxes_xyxy: As for `decode_boxes`.
            input_hw: As for `decode_boxes`.
            token_ids: M mask tokens, 0 to 3, in this order.
            points_xy: As for `decode_boxes`.
            point_labels: As for `decode_boxes`.
            kind: Which masks the decoder draws.
            best_only: Return one token's mask of each box, that of the highest predicted IoU.

        Returns:
            Logits (B, N, M, h, w) and predicted IoU (B, N, M), an unbounded estimate; M is 1 with
            ``best_only``.

        Raises:
            ValueError: Shapes do not fit, or the network does not draw such masks.
        """
        return self._decoder(kind)(
            embeddings,
            self._position_encoding(embeddings),
            self._encode_boxes(boxes_xyxy, input_hw, points_xy, point_labels),
            token_ids,
            best_only=best_only,
        )

    def _encode_boxes(
        self,
        boxes_xyxy: Tensor,
        input_hw: tuple[int, int],
        points_xy: Tensor | None,
        point_labels: Tensor | None,
    ) -> Tensor:
        """Return the prompt tokens (B, N, 6, C) of boxes (B, N, 4) and the clicks beside them."""
        if boxes_xyxy.ndim != 3 or boxes_xyxy.shape[2] != 4:
            raise ValueError(
                f"boxes_xyxy must have shape (B, N, 4), got {tuple(boxes_xyxy.shape)}; "
                "pass one row per box and a batch axis"
            )
        corners = boxes_xyxy.unflatten(2, (2, 2))
        labels = corners.new_tensor((PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT))
        labels = labels.expand(corners.shape[:3])
        if (points_xy is None) != (point_labels is None):
            raise ValueError("points_xy and point_labels go together; pass both or none")
        if points_xy is None or point_labels is None:
            return self._encode_points(corners, labels, input_hw)
        if points_xy.shape[:2] != corners.shape[:2] or point_labels.shape != points_xy.shape[:3]:
            raise ValueError(
                "points_xy must have shape (B, N, P, 2) and point_labels (B, N, P) with B and N of "
                f"the boxes, got {tuple(points_xy.shape)} and {tuple(point_labels.shape)}"
            )
        # Where there is no click stand the coordinates of padding.
        is_click = (point_labels == PointLabel.CLICK).unsqueeze(-1)
        corners = torch.cat((corners, torch.where(is_click, points_xy, -1.0)), dim=2)
        labels = torch.cat((labels, point_labels.to(labels)), dim=2)
        return self._encode_points(corners, labels, input_hw)

    def _position_encoding(self, features: Features) -> Tensor:
        embedding = features.embedding if isinstance(features, Pyramid) else features
        return self.prompt_encoder.pe_layer.grid((embedding.shape[2], embedding.shape[3]))

    def _decoder(self, kind: MaskKind) -> MaskDecoder:
        if kind == "amodal" or (kind == "visible" and self.shares_decoder):
            return self.mask_decoder
        if kind == "visible" and self.visible_decoder is not None:
            return self.visible_decoder
        drawn = "amodal and visible" if self.has_visible_decoder else "only amodal"
        raise ValueError(f"masks of kind {kind!r} do not exist in this network, which has {drawn}")

    def _encode_points(
        self, points_xy: Tensor, point_labels: Tensor, input_hw: tuple[int, int]
    ) -> Tensor:
        """Scale points to the square input, pad them to `MAX_POINTS` and encode them."""
        num_points = points_xy.shape[2] if points_xy.ndim == 4 else 0
        if not 1 <= num_points <= MAX_POINTS or points_xy.shape[3] != 2:
            raise ValueError(
                f"points_xy must have shape (B, N, P, 2) with P from 1 to {MAX_POINTS}, "
                f"got {tuple(points_xy.shape)}"
            )
        if point_labels.shape != points_xy.shape[:3]:
            raise ValueError(
                f"point_labels must have shape {tuple(points_xy.shape[:3])} like points_xy, "
                f"got {tuple(point_labels.shape)}"
            )
        height, width = input_hw
        scale = points_xy.new_tensor((self.image_size / width, self.image_size / height))
        scaled = torch.where(points_xy < 0, -1.0, points_xy * scale)
        padding = MAX_POINTS - num_points
        scaled = F.pad(scaled, (0, 0, 0, padding), value=-1.0)
        labels = F.pad(point_labels, (0, padding), value=float(PointLabel.PADDING))
        return self.prompt_encoder(scaled, labels, self.image_size)


def averaging_matrix(size: int) -> Tensor:
    """Return float32 (size, size): times a column of pixels, its average over `HIDDEN_BLUR`, twice.

    Neighbours outside the image do not count.
    """
    place = torch.arange(size)
    is_near = (place[:, None] - place).abs() <= HIDDEN_BLUR // 2
    once = is_near / is_near.sum(1, keepdim=True)
    return once @ once


def smooth_hidden_part(amodal_logits: Tensor, visible_logits: Tensor, averaging: Tensor) -> Tensor:
    """Average the whole mask where it is hidden: the texture of what hides it is no outline.

    Args:
        amodal_logits: float (B, N, h, h).
        visible_logits: float (B, N, h, h).
        averaging: float (h, h), of `averaging_matrix`.

    Returns:
        float (B, N, h, h), `amodal_logits` where the object is seen or is not.
    """
    smooth = averaging @ amodal_logits @ averaging.T
    is_hidden = amodal_logits.sigmoid() - visible_logits.sigmoid() > HIDDEN_MARGIN
    return torch.where(is_hidden, smooth, amodal_logits)
