"""The network in PyTorch: EfficientSAM presets and the project's own small one."""

from sameo_model.modeling.checkpoint import (
    CheckpointMismatchError,
    load_checkpoint,
    save_checkpoint,
)
from sameo_model.modeling.presets import build_sameo
from sameo_model.modeling.sameo import Sameo

__all__ = [
    "CheckpointMismatchError",
    "Sameo",
    "build_sameo",
    "load_checkpoint",
    "save_checkpoint",
]
