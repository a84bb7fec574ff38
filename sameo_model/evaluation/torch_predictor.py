"""PyTorch as one more backend of the runtime's predictor, to score checkpoints without export."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sameo_model.modeling import load_checkpoint
from sameo_model.modeling.lite_encoder import Pyramid
from sameo_model.modeling.sameo import Features, Sameo
from sameo_model.runtime import Predictor
from sameo_model.runtime.backends.base import Backend, DecoderOutput
from sameo_model.runtime.clicks import Clicks
from sameo_model.runtime.framing import choose_framing
from sameo_model.runtime.preprocess import resize_image
from sameo_model.runtime.types import Embedding, FloatArray, Uint8Array


class TorchBackend(Backend):
    """Runs a network in PyTorch on the device that its parameters are on."""

    name = "torch"

    def __init__(self, model: Sameo) -> None:
        """Wrap a network; it is called in inference mode and otherwise left as it is."""
        self.model = model
        parameter = next(model.parameters())
        self.device = f"{parameter.device} {parameter.dtype}"
        self.has_visible_decoder = model.has_visible_decoder
        self.max_boxes = 16

    def weights_sha256(self) -> str:
        """Return the SHA-256 of the weights in hexadecimal."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()

    def encode(self, image: Uint8Array) -> Features:
        """Encode uint8 (S, S, 3) RGB; see `Sameo.encode`."""
        return self.encode_batch(image[None])

    @torch.inference_mode()
    def encode_batch(self, images: Uint8Array) -> Features:
        """Encode uint8 (B, S, S, 3) RGB; see `Sameo.encode`."""
        pixels = self._to_device(images).permute(0, 3, 1, 2)
        return self.model.encode(pixels.float() / 255)

    @torch.inference_mode()
    def decode(self, handle: Any, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Decode boxes, float32 (N, 4) in model pixels; see `Backend.decode`."""
        return self._draw(handle, np.asarray(boxes)[np.newaxis], visible)

    @torch.inference_mode()
    def segment(self, images: Uint8Array, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Draw the masks of windows; see `Backend.segment`."""
        return self._draw(self.encode_batch(images), boxes[:, np.newaxis], visible)

    @torch.inference_mode()
    def decode_clicks(
        self, handle: Any, boxes: FloatArray, clicks: Clicks, visible: bool
    ) -> DecoderOutput:
        """Decode boxes with clicks beside them; see `Backend.decode_clicks`."""
        prompts = Clicks(*(values[np.newaxis] for values in clicks))
        return self._draw(handle, np.asarray(boxes)[np.newaxis], visible, prompts)

    @torch.inference_mode()
    def segment_clicks(
        self, images: Uint8Array, boxes: FloatArray, clicks: Clicks, visible: bool
    ) -> DecoderOutput:
        """Draw the masks of windows with clicks; see `Backend.segment_clicks`."""
        prompts = Clicks(*(values[:, np.newaxis] for values in clicks))
        return self._draw(self.encode_batch(images), boxes[:, np.newaxis], visible, prompts)

    def _draw(
        self, embeddings: Features, boxes: FloatArray, visible: bool, clicks: Clicks | None = None
    ) -> DecoderOutput:
        """Draw boxes (B, N, 4) of B embeddings, to arrays of B * N rows."""
        side = self.model.image_size
        drawn = self.model.draw_masks(
            embeddings,
            self._to_device(boxes),
            (side, side),
            visible=visible,
            points_xy=None if clicks is None else self._to_device(clicks.points_xy),
            point_labels=None if clicks is None else self._to_device(clicks.labels),
        )
        seen = drawn.visible_logits
        return DecoderOutput(
            _to_rows(drawn.amodal_logits),
            _to_rows(drawn.predicted_iou),
            None if seen is None else _to_rows(seen),
        )

    def _to_device(self, values: np.ndarray) -> Tensor:
        device = next(self.model.parameters()).device
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)


def _to_rows(values: Tensor) -> FloatArray:
    """Return (B, N, ...) as float32 (B * N, ...)."""
    return values.flatten(0, 1).float().cpu().numpy()


def _row(features: Features, row: int) -> Features:
    """Return what the encoder saw of one image of a batch."""
    if isinstance(features, Pyramid):
        return Pyramid(*(part[row : row + 1] for part in features))
    return features[row : row + 1]


class TorchPredictor(Predictor):
    """The runtime's predictor on a network in PyTorch, which can encode several images at once."""

    backend: TorchBackend

    def encode_batch(self, images_rgb: Sequence[Uint8Array]) -> list[Embedding]:
        """Encode B images, each uint8 (H, W, 3) RGB of any size, in one pass."""
        if not self.encodes_image:
            return [self.encode(image) for image in images_rgb]
        squashed = np.stack([resize_image(image, self.image_size) for image in images_rgb])
        features = self.backend.encode_batch(squashed)
        return [
            Embedding((image.shape[0], image.shape[1]), _row(features, i), self.backend)
            for i, image in enumerate(images_rgb)
        ]


def wrap_model(model: Sameo, framing: str | None = None) -> TorchPredictor:
    """Return a predictor that runs a network in PyTorch; training validates with it.

    Args:
        framing: `image`, `window`, or None for the network's own.
    """
    return TorchPredictor(
        TorchBackend(model),
        image_size=model.image_size,
        name=model.preset,
        framing=choose_framing(model.framing, framing),
    )


def load_torch_predictor(model: str | Path | None, framing: str | None = None) -> TorchPredictor:
    """Load a checkpoint into PyTorch, on the first GPU if there is one, else on the CPU.

    Args:
        model: What `load_checkpoint` accepts: a checkpoint file, a bundle's folder or name; None
            is the bundled `sameo_lite`.
        framing: `image`, `window`, or None for the network's own.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If the file is not a checkpoint of this network.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_checkpoint("sameo_lite" if model is None else model).to(device).eval()
    return wrap_model(network, framing)
