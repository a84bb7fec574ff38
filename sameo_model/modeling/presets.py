"""The network sizes this project knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from sameo_model.modeling.image_encoder import VitImageEncoder
from sameo_model.modeling.lite_decoder import LiteMaskDecoder
from sameo_model.modeling.lite_encoder import LiteImageEncoder
from sameo_model.modeling.mask_decoder import MaskDecoder
from sameo_model.modeling.prompt_encoder import PromptEncoder
from sameo_model.modeling.sameo import Normalisation, Sameo
from sameo_model.runtime.framing import IMAGE_FRAMING, WINDOW_FRAMING, Framing

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))
# EfficientNet-Lite was trained on (value - 127) / 128 of values 0 to 255.
CENTRED = Normalisation(mean=(127 / 255,) * 3, deviation=(128 / 255,) * 3)


@dataclass(frozen=True)
class Preset:
    """What differs between network sizes.

    Attributes:
        image_size: Side of the square input unless the caller asks for another, pixels.
        stride: The side must be a multiple of this, pixels.
        normalisation: What the image encoder was trained with.
        build_image_encoder: Makes the encoder with random weights.
        build_mask_decoder: Makes one decoder with random weights.
        shares_decoder: Whether one decoder draws both masks: token 0 the whole object, token 1 its
            visible part.
        framing: What the network sees of an image unless the caller asks for another.
    """

    image_size: int
    stride: int
    normalisation: Normalisation
    build_image_encoder: Callable[[], nn.Module]
    build_mask_decoder: Callable[[], MaskDecoder]
    shares_decoder: bool = False
    framing: Framing = IMAGE_FRAMING


PRESETS = {
    "efficient_sam_vitt": Preset(
        image_size=1024,
        stride=16,
        normalisation=IMAGENET,
        build_image_encoder=partial(VitImageEncoder, embed_dim=192, num_heads=3),
        build_mask_decoder=MaskDecoder,
    ),
    "efficient_sam_vits": Preset(
        image_size=1024,
        stride=16,
        normalisation=IMAGENET,
        build_image_encoder=partial(VitImageEncoder, embed_dim=384, num_heads=6),
        build_mask_decoder=MaskDecoder,
    ),
    "sameo_lite": Preset(
        image_size=256,
        stride=32,
        normalisation=CENTRED,
        build_image_encoder=LiteImageEncoder,
        build_mask_decoder=LiteMaskDecoder,
        shares_decoder=True,
        framing=WINDOW_FRAMING,
    ),
}


def build_sameo(preset: str, image_size: int | None = None, visible_decoder: bool = False) -> Sameo:
    """Build a network with random weights, in eval mode.

    Args:
        preset: ``efficient_sam_vitt``, ``efficient_sam_vits`` or ``sameo_lite``.
        image_size: Side of the model's square input in pixels; None takes the preset's own
            (1024 for EfficientSAM, 256 for lite's windows). A multiple of 16, of 32 for lite.
        visible_decoder: Whether to add the second decoder, which draws visible masks.
            ``sameo_lite`` needs none: its one decoder draws both masks in any case.

    Returns:
        The network; every parameter requires a gradient.

    Raises:
        ValueError: Unknown preset or an image size that its strides do not divide.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    chosen = PRESETS[preset]
    side = chosen.image_size if image_size is None else image_size
    if side <= 0 or side % chosen.stride:
        raise ValueError(
            f"image_size of {preset} must be a positive multiple of {chosen.stride}, got {side}"
        )
    has_second_decoder = visible_decoder and not chosen.shares_decoder
    model = Sameo(
        preset=preset,
        image_size=side,
        normalisation=chosen.normalisation,
        image_encoder=chosen.build_image_encoder(),
        prompt_encoder=PromptEncoder(),
        mask_decoder=chosen.build_mask_decoder(),
        visible_decoder=chosen.build_mask_decoder() if has_second_decoder else None,
        shares_decoder=chosen.shares_decoder,
        mask_selection="token0" if chosen.shares_decoder else "min_loss",
        framing=chosen.framing,
    )
    return model.eval()
