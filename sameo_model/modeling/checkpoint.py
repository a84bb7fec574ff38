"""Network weights on disk: our safetensors files, model bundles and official EfficientSAM files.

Our format is one safetensors file with the names of `Sameo.state_dict` and, under the header
key ``sameo``, JSON with what is needed to rebuild the network. A bundle holds the same file
with its large tensors in half precision; its ONNX graphs point into it.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.modeling.official import OFFICIAL, checkpoint_path
from sameo_model.modeling.presets import PRESETS, build_sameo
from sameo_model.modeling.sameo import Sameo
from sameo_model.runtime.bundle import load_bundle
from sameo_model.runtime.files import write_whole
from sameo_model.runtime.framing import Framing

HEADER_KEY = "sameo"
BUNDLE_WEIGHTS = "weights.safetensors"
# Smaller tensors (biases, norms, the Fourier matrix) stay float32: they are sensitive and light.
MIN_HALF_ELEMENTS = 1024
MAX_LISTED = 12
VISIBLE_PREFIX = "visible_decoder."
AMODAL_PREFIX = "mask_decoder."
# What `sameo_lite` had while it saw whole images, up to version 0.1.
FORMER_LITE_TENSOR = "mask_decoder.detail_skips.stride4.weight"

_LOGGER = logging.getLogger(__name__)


class CheckpointMismatchError(ValueError):
    """A checkpoint's tensors are not those of the network; the message lists what differs."""


def save_checkpoint(model: Sameo | BoxDetector, path: str | Path, *, half: bool = False) -> None:
    """Write a network as one safetensors file, atomically.

    Args:
        model: The network; what `describe` says of it is stored too.
        path: File to write; its folder must exist.
        half: Whether to round large tensors to float16.
    """
    tensors = {
        name: (value.half() if half and is_stored_as_half(value) else value).contiguous()
        for name, value in model.state_dict().items()
    }
    header = {HEADER_KEY: json.dumps(describe(model))}
    write_whole(path, safetensors.torch.save(tensors, header))


def describe(model: Sameo | BoxDetector) -> dict[str, Any]:
    """Return what loading needs beside the tensors, as JSON values.

    A PyTorch file may hold it beside ``model``, under the key ``sameo``.
    """
    if isinstance(model, BoxDetector):
        return {"preset": model.preset, "image_size": model.image_size}
    return {
        "preset": model.preset,
        "framing": model.framing.to_json(),
        "image_size": model.image_size,
        "has_visible_decoder": model.has_visible_decoder,
        "mask_selection": model.mask_selection,
        "visible_mask_selection": model.visible_mask_selection,
    }


def is_stored_as_half(value: Tensor) -> bool:
    """Return whether a tensor is large enough to be worth rounding to float16."""
    return value.is_floating_point() and value.ndim > 1 and value.numel() >= MIN_HALF_ELEMENTS


def load_checkpoint(
    path_or_name: str | Path,
    *,
    image_size: int | None = None,
    visible_decoder: bool | None = None,
) -> Sameo:
    """Load a network.

    Args:
        path_or_name: One of: a ``.safetensors`` file of ours; a bundle's folder, or the name of
            a bundle that came with the package; a PyTorch file with a state dict, bare or under
            ``model`` (official EfficientSAM weights, training checkpoints, whose moving average
            is taken where they have one); the name of an official file that was fetched, such as
            ``efficient_sam_vitt``.
        image_size: Side of the square input, pixels; None takes the file's own, or the
            preset's where the file has none.
        visible_decoder: Whether the network gets a second decoder, for visible masks; the one of
            `sameo_lite` draws both in any case. None keeps what the file has. True gives
            official EfficientSAM weights one: a copy of their decoder, which draws visible masks
            until it is fine-tuned.

    Returns:
        The network in float32, in eval mode.

    Raises:
        FileNotFoundError: There is no such file or model.
        ValueError: The file cannot be read, or it holds no visible decoder though one is asked.
        CheckpointMismatchError: Names or shapes are not those of the network.
    """
    path = _find_weights(path_or_name)
    description, state = read_weights(path)
    return _build(path, description, state, image_size, visible_decoder)


def stored_image_size(path_or_name: str | Path) -> int | None:
    """Return the side of the input that a file's network has, pixels; None if it does not say.

    Args:
        path_or_name: As for `load_checkpoint`.

    Raises:
        FileNotFoundError: There is no such file or model.
        ValueError: The file cannot be read.
    """
    path = _find_weights(path_or_name)
    size = _read(path)[0].get("image_size")
    return None if size is None else int(size)


def _find_weights(path_or_name: str | Path) -> Path:
    """Return the weights file of a path or a name."""
    path = Path(path_or_name)
    if path.is_file():
        return path
    if path_or_name in OFFICIAL and not path.exists():
        downloaded = checkpoint_path(str(path_or_name))
        if not downloaded.is_file():
            raise FileNotFoundError(
                f"{downloaded} does not exist; "
                f"run: python -m sameo_model.checkpoints fetch {path_or_name}"
            )
        return downloaded
    if path.suffix and not path.exists():
        raise FileNotFoundError(f"checkpoint {path} does not exist; check the path")
    weights = load_bundle(path_or_name).folder / BUNDLE_WEIGHTS
    if not weights.is_file():
        raise FileNotFoundError(
            f"bundle {weights.parent} has no {BUNDLE_WEIGHTS}, so it can run but not be "
            "loaded as a network; export it again from its checkpoint"
        )
    return weights


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `describe` said of a network, empty if the file does not say, and its tensors.

    Args:
        path: A ``.safetensors`` file of ours or a PyTorch file. Of a training checkpoint the moving
            average counts, as it is the result of the run.

    Raises:
        ValueError: The file cannot be read.
    """
    description, state, average = _read(path)
    if average:
        _LOGGER.warning("note: %s holds a moving average of the weights, which is taken", path)
    return description, state | average


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """Return description, tensors, and the moving average of those that were trained."""
    if path.suffix == ".safetensors":
        return *_read_safetensors(path), {}
    return _read_pickle(path)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error
    description = json.loads(header.get(HEADER_KEY, "{}"))
    restored = {
        name: value.float() if value.is_floating_point() else value for name, value in state.items()
    }
    return description, restored


def _read_pickle(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is not a PyTorch file of plain tensors; files that hold other objects are "
            "not read, because reading these can run code"
        ) from error
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} must hold a state dict, bare or under the key 'model'")
    if state is content:
        return {}, dict(state), {}
    return content.get(HEADER_KEY, {}), dict(state), content.get("average") or {}


def _build(
    path: Path,
    description: dict[str, Any],
    state: dict[str, Tensor],
    image_size: int | None,
    visible_decoder: bool | None,
) -> Sameo:
    preset = description.get("preset") or _most_similar_preset(state)
    if FORMER_LITE_TENSOR in state:
        raise CheckpointMismatchError(
            f"{path} is a sameo_lite of version 0.1, which had another network; run it as a "
            "bundle, or use version 0.1 to train, export or load it as a network"
        )
    has_visible = any(name.startswith(VISIBLE_PREFIX) for name in state)
    wants_visible = has_visible if visible_decoder is None else visible_decoder
    if preset in PRESETS and PRESETS[preset].shares_decoder:
        wants_visible = has_visible = False
    if wants_visible and not has_visible:
        if description or not preset.startswith("efficient_sam"):
            raise ValueError(
                f"{path} holds no visible decoder, and its decoder is not an official one that "
                "could serve as such; load it without visible_decoder=True"
            )
        state = {**state, **_as_visible_decoder(state)}
    if not wants_visible:
        state = {n: value for n, value in state.items() if not n.startswith(VISIBLE_PREFIX)}
    side = description.get("image_size") if image_size is None else image_size
    model = build_sameo(preset, side, wants_visible)
    check_tensors(path, preset, model, state)
    model.load_state_dict(state)
    model.mask_selection = description.get("mask_selection", "best_predicted")
    model.visible_mask_selection = description.get("visible_mask_selection", "best_predicted")
    if "framing" in description:
        model.framing = Framing.from_json(description["framing"])
    return model


def check_tensors(path: Path, preset: str, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raise CheckpointMismatchError unless a file holds the tensors of the network."""
    differences = _differences(model.state_dict(), state)
    if differences:
        raise CheckpointMismatchError(_mismatch_message(path, preset, differences))


def _as_visible_decoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        VISIBLE_PREFIX + name.removeprefix(AMODAL_PREFIX): value
        for name, value in state.items()
        if name.startswith(AMODAL_PREFIX)
    }


def _most_similar_preset(state: Mapping[str, Tensor]) -> str:
    """Return the preset whose tensors differ least from a state dict without description."""
    num_differences = {}
    for preset in PRESETS:
        with torch.device("meta"):
            model = build_sameo(preset)
        num_differences[preset] = len(_differences(model.state_dict(), state))
    return min(num_differences, key=num_differences.__getitem__)


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Describe how two state dicts differ in names and shapes."""
    differences = [f"{name} is missing" for name in expected if name not in found]
    differences += [f"{name} is not part of the network" for name in found if name not in expected]
    differences += [
        f"{name} must have shape {tuple(value.shape)}, has {tuple(found[name].shape)}"
        for name, value in expected.items()
        if name in found and found[name].shape != value.shape
    ]
    return differences


def _mismatch_message(path: Path, preset: str, differences: list[str]) -> str:
    listed = "; ".join(differences[:MAX_LISTED])
    more = len(differences) - MAX_LISTED
    rest = f"; and {more} more" if more > 0 else ""
    return (
        f"{path} must hold the tensors of {preset}, but {len(differences)} differ: {listed}{rest}; "
        "give a checkpoint of this network"
    )
