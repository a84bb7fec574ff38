"""Weights of the box detector on disk: the same safetensors form as that of mask networks."""

from __future__ import annotations

from pathlib import Path

from sameo_model.modeling.box_detector import BOX_DETECTOR, IMAGE_SIZE, BoxDetector
from sameo_model.modeling.checkpoint import check_tensors, read_weights
from sameo_model.runtime.bundle import DETECTOR_WEIGHTS


def load_box_detector(path: str | Path) -> BoxDetector:
    """Load a detector, in float32 and in eval mode.

    Args:
        path: A ``.safetensors`` file of `save_checkpoint`, a training checkpoint, or the folder of
            a bundle with a detector.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read or holds another network.
        CheckpointMismatchError: Names or shapes are not those of the network.
    """
    path = Path(path)
    path = path / DETECTOR_WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist; check the path")
    description, state = read_weights(path)
    if description.get("preset") != BOX_DETECTOR:
        raise ValueError(
            f"{path} must hold a {BOX_DETECTOR}, got {description.get('preset', 'no preset')}; "
            "give a checkpoint of config/train/boxes.yaml"
        )
    model = BoxDetector(int(description.get("image_size", IMAGE_SIZE)))
    check_tensors(path, BOX_DETECTOR, model, state)
    model.load_state_dict(state)
    return model.eval()
