"""Model bundles: a folder with `model.json` and the ONNX graphs that it names and checks.

`image_encoder.onnx` maps `image` uint8 (1, S, S, 3) RGB to `embedding` float32
(1, 256, S/16, S/16); `mask_decoder.onnx` maps `embedding` and `boxes` float32 (N, 4) in model
pixels to `amodal_logits` float32 (N, S/4, S/4) and `predicted_iou` float32 (N,); the optional
`visible_decoder.onnx` maps the same inputs to `visible_logits`.

A bundle of windows has one graph in their place, `window_segmenter.onnx`: `images` uint8
(N, S, S, 3) RGB and `boxes` float32 (N, 4) in window pixels to `amodal_logits` and
`visible_logits` float32 (N, S/2, S/2) and `predicted_iou` float32 (N,).

Clicks beside boxes have a graph of their own, where the bundle was exported with it:
`click_decoder.onnx` maps `embedding`, `boxes`, `points_xy` float32 (N, 4, 2) in model pixels and
`point_labels` float32 (N, 4), 1 for a click and -1 for none, to `amodal_logits`, `predicted_iou`
and, where the model can, `visible_logits`; `click_segmenter.onnx` does so from `images` of windows.

A bundle may bring a detector: `detector.onnx` maps `image` uint8 (1, D, D, 3) RGB, the whole
image squashed to a square, to `boxes` and `amodal_boxes` float32 (A, 4), x1, y1, x2, y2 in pixels
of that square, and `scores` float32 (A,), one row for each of its cells, duplicates included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from sameo_model.runtime.files import write_json
from sameo_model.runtime.framing import IMAGE_FRAMING, Framing

LOGIT_STRIDE = 4
WINDOW_LOGIT_STRIDE = 2
"""Side of a logit in pixels of the model's input, for images and for windows."""
DEFAULT_MODEL = "sameo_lite"
WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "weights"
MODEL_JSON = "model.json"
IMAGE_ENCODER = "image_encoder.onnx"
MASK_DECODER = "mask_decoder.onnx"
VISIBLE_DECODER = "visible_decoder.onnx"
WINDOW_SEGMENTER = "window_segmenter.onnx"
CLICK_DECODER = "click_decoder.onnx"
CLICK_SEGMENTER = "click_segmenter.onnx"
CLICK_GRAPHS = (CLICK_DECODER, CLICK_SEGMENTER)
"""What OpenVINO and ONNX Runtime alone run; TensorRT has no part in it."""
DETECTOR = "detector.onnx"
DETECTOR_WEIGHTS = "detector.safetensors"
DETECTOR_STRIDES = (8, 16, 32)
"""Sides of the detector's cells in pixels of its square, finest first."""


@dataclass(frozen=True)
class BundleInfo:
    """The content of `model.json`; its keys are the names of the fields."""

    name: str  # name of the model
    preset: str  # architecture, such as `sameo_lite`
    # what the network sees of an image, see `Framing.to_json`; bundles from before there were
    # windows have none, which means image framing
    framing: dict[str, Any]
    image_size: int  # side S of the square input, pixels
    # what the encoder graph does to the pixels, for readers; it is in the graph
    normalisation: dict[str, Any]
    opset: int  # ONNX opset of the graphs
    mask_selection: str  # how the decoder graph chooses one mask per box, for readers
    has_visible_decoder: bool  # whether the graphs draw visible masks
    files: dict[str, str]  # SHA-256 in hexadecimal of each file of the bundle, by file name
    licence: str  # terms of the weights
    training: dict[str, Any]  # how the weights were trained
    scores: dict[str, Any]  # how the model scored, and on what
    # of the detector, empty without one: `image_size`, its side D in pixels; `min_score`, from
    # which its boxes count; `training` and `scores`
    detector: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files were checked against `model.json`."""

    folder: Path
    info: BundleInfo

    @property
    def framing(self) -> Framing:
        """What the network sees of an image."""
        return Framing.from_json(self.info.framing)

    @property
    def window_segmenter(self) -> Path | None:
        """Path of the graph for windows; None if the bundle has an encoder and decoders."""
        has_windows = WINDOW_SEGMENTER in self.info.files
        return self.folder / WINDOW_SEGMENTER if has_windows else None

    @property
    def click_graph(self) -> Path | None:
        """Path of the graph for clicks beside boxes; None if the bundle has none."""
        name = CLICK_DECODER if self.window_segmenter is None else CLICK_SEGMENTER
        return self.folder / name if name in self.info.files else None

    @property
    def detector(self) -> Path | None:
        """Path of the detector's graph; None if the bundle has none."""
        return self.folder / DETECTOR if DETECTOR in self.info.files else None

    @property
    def detector_size(self) -> int:
        """Side D of the detector's square input, pixels; 0 without a detector."""
        return int(self.info.detector.get("image_size", 0))

    @property
    def image_encoder(self) -> Path:
        """Path of the encoder graph."""
        return self.folder / IMAGE_ENCODER

    @property
    def mask_decoder(self) -> Path:
        """Path of the amodal decoder graph."""
        return self.folder / MASK_DECODER

    @property
    def visible_decoder(self) -> Path | None:
        """Path of the visible decoder graph; None if the model has none."""
        return self.folder / VISIBLE_DECODER if self.info.has_visible_decoder else None


def load_bundle(model: str | Path | None = None) -> Bundle:
    """Find a bundle and check it.

    Args:
        model: Name of a model that came with the package, or path of a bundle folder; None is
            the bundled `sameo_lite`.

    Raises:
        FileNotFoundError: If there is no such model, or a file of its bundle is missing.
        ValueError: If `model.json` breaks its format or a file differs from its checksum.
    """
    folder = find_bundle(model)
    info = _read_info(folder / MODEL_JSON)
    for name, expected in info.files.items():
        _check_file(folder / name, expected)
    return Bundle(folder, info)


def find_bundle(model: str | Path | None = None) -> Path:
    """Return the folder of a bundle by name or path.

    Raises:
        FileNotFoundError: If there is no such model.
    """
    name = str(DEFAULT_MODEL if model is None else model)
    for folder in (WEIGHTS_FOLDER / name, Path(name)):
        if (folder / MODEL_JSON).is_file():
            return folder
    known = ", ".join(bundled_models()) or "none"
    raise FileNotFoundError(
        f"model '{name}' is neither a bundled model (there are: {known}) nor a folder with "
        f"{MODEL_JSON}; give one of these, or export one with 'python -m sameo_model.export'"
    )


def bundled_models() -> list[str]:
    """Return the names of the models that came with the package, sorted."""
    return sorted(path.parent.name for path in WEIGHTS_FOLDER.glob(f"*/{MODEL_JSON}"))


def write_bundle_info(folder: str | Path, **info: Any) -> BundleInfo:
    """Write `model.json` for the graphs in a folder; every other file there gets its checksum.

    Args:
        folder: The bundle's folder, with its graphs and their data files alone.
        **info: The fields of `BundleInfo` but `files`.

    Raises:
        ValueError: If a graph is missing or a field is missing, unknown or of the wrong type.
    """
    folder = Path(folder)
    paths = sorted(path for path in folder.iterdir() if path.name != MODEL_JSON and path.is_file())
    content = {**info, "files": {path.name: sha256_of(path) for path in paths}}
    checked = _parse_info(content, folder / MODEL_JSON)
    write_json(folder / MODEL_JSON, asdict(checked), indent=2)
    return checked


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"model file {path} is missing; fetch or export the bundle {path.parent.name} again"
        )
    actual = sha256_of(path)
    if actual != expected:
        raise ValueError(
            f"model file {path} is corrupted: {MODEL_JSON} gives SHA-256 {expected[:12]}..., the "
            f"file has {actual[:12]}...; fetch or export the bundle {path.parent.name} again"
        )


def _read_info(path: Path) -> BundleInfo:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{path} is not JSON ({error}); fetch or export the bundle again"
        ) from error
    return _parse_info(content, path)


def _parse_info(content: Any, path: Path) -> BundleInfo:
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} must hold a JSON object; export the bundle again")
    content = {"framing": IMAGE_FRAMING.to_json(), "detector": {}, **content}
    faults = [
        f"'{key}' must be {expected.__name__}"
        for key, expected in _TYPES.items()
        if type(content.get(key)) is not expected
    ]
    faults += [f"'{key}' is unknown" for key in content if key not in _TYPES]
    if not faults:
        info = BundleInfo(**content)
        needed = [IMAGE_ENCODER, MASK_DECODER]
        needed += [VISIBLE_DECODER] if info.has_visible_decoder else []
        needed = [] if WINDOW_SEGMENTER in info.files else needed
        faults += [f"'files' must name {name}" for name in needed if name not in info.files]
        faults += [
            f"'files' holds '{name}', which is no plain file name"
            for name in info.files
            if Path(name).name != name
        ]
        if info.image_size <= 0 or info.image_size % 16:
            faults.append(f"'image_size' must be a multiple of 16, not {info.image_size}")
        faults += _framing_faults(info.framing)
        faults += _detector_faults(info)
    if faults:
        raise ValueError(f"{path} breaks its format: {', '.join(faults)}; export the bundle again")
    return info


def _framing_faults(content: dict[str, Any]) -> list[str]:
    try:
        Framing.from_json(content)
    except ValueError as error:
        return [str(error)]
    return []


def _detector_faults(info: BundleInfo) -> list[str]:
    if DETECTOR not in info.files:
        return ["'detector' needs detector.onnx among 'files'"] if info.detector else []
    faults = []
    size, score = info.detector.get("image_size"), info.detector.get("min_score")
    if type(size) is not int or size <= 0 or size % 32:
        faults.append(f"'detector.image_size' must be a multiple of 32, not {size}")
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        faults.append(f"'detector.min_score' must be a number from 0 to 1, not {score}")
    return faults


_TYPES: dict[str, type] = {
    name: get_origin(hint) or hint for name, hint in get_type_hints(BundleInfo).items()
}
