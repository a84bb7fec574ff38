"""Build what a training run needs from its configuration: images, network, validation."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sameo_model.data.collection import open_dataset
from sameo_model.modeling.checkpoint import load_checkpoint
from sameo_model.modeling.lite_encoder import LiteImageEncoder, load_imagenet_weights
from sameo_model.modeling.presets import build_sameo
from sameo_model.modeling.sameo import Sameo
from sameo_model.training.config import DataSource, TrainConfig
from sameo_model.training.samples import Source


def open_sources(sources: Sequence[DataSource]) -> list[Source]:
    """Open data sets.

    Raises:
        FileNotFoundError: If one of them does not exist.
        ValueError: If a name is unknown or they hold no image.
    """
    opened = [
        Source(open_dataset(source.name, source.root, source.split), source.weight)
        for source in sources
    ]
    if not any(len(source.images) for source in opened):
        roots = ", ".join(source.root for source in sources)
        raise ValueError(f"data sets must hold at least one image, got none in {roots}")
    return opened


def build_model(config: TrainConfig) -> Sameo:
    """Build the network with the weights that the run starts from.

    Raises:
        FileNotFoundError: If `config.init` names no checkpoint.
        ValueError: If the checkpoint is of another preset, or has no decoder to copy.
    """
    torch.manual_seed(config.seed)
    image_size = config.image_size or None
    needs_visible = "visible_decoder" in (*config.decoders, *config.trainable)
    if not config.init:
        model = build_sameo(config.preset, image_size, visible_decoder=needs_visible)
        if isinstance(model.image_encoder, LiteImageEncoder):
            load_imagenet_weights(model.image_encoder)
    else:
        model = load_checkpoint(
            config.init, image_size=image_size, visible_decoder=needs_visible or None
        )
        if model.preset != config.preset:
            raise ValueError(
                f"init must hold a {config.preset} network, got {model.preset} in {config.init}; "
                "change preset or init"
            )
    if config.copy_visible_decoder:
        if model.visible_decoder is None:
            raise ValueError(
                f"copy_visible_decoder needs a visible decoder, {config.init} has none"
            )
        model.mask_decoder.load_state_dict(model.visible_decoder.state_dict())
    if "mask_decoder" in config.decoders:
        model.mask_selection = config.mask_selection
    if "visible_decoder" in config.decoders:
        model.visible_mask_selection = config.mask_selection
    # Convolutions of the CPU and of recent GPUs are faster on this layout.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
