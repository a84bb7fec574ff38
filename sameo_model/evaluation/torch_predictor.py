"""PyTorch as one more backend of the runtime's predictor, to score checkpoints without export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sameo_model.modeling import load_checkpoint
from sameo_model.modeling.sameo import DecoderName, Sameo
from sameo_model.runtime import Predictor
from sameo_model.runtime.backends.base import Backend, DecoderOutput
from sameo_model.runtime.types import FloatArray, Uint8Array


class TorchBackend(Backend):
    """Runs a network in PyTorch on the device that its parameters are on."""

    name = "torch"

    def __init__(self, model: Sameo) -> None:
        """Wrap a network; it is called in inference mode and otherwise left as it is."""
        self.model = model
        parameter = next(model.parameters())
        self.device = f"{parameter.device} {parameter.dtype}"
        self.has_visible_decoder = model.has_visible_decoder

    @torch.inference_mode()
    def encode(self, image: Uint8Array) -> Tensor:
        """Encode uint8 (S, S, 3) RGB to an embedding float (1, 256, S/16, S/16)."""
        device = next(self.model.parameters()).device
        pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None]
        return self.model.encode(pixels.float() / 255)

    @torch.inference_mode()
    def decode(self, handle: Any, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Decode boxes, float32 (N, 4) in model pixels; see `Backend.decode`."""
        amodal_logits, predicted_iou = self._decode(handle, boxes, "amodal")
        visible_logits = self._decode(handle, boxes, "visible")[0] if visible else None
        return DecoderOutput(amodal_logits, predicted_iou, visible_logits)

    def _decode(
        self, embedding: Tensor, boxes: FloatArray, decoder: DecoderName
    ) -> tuple[FloatArray, FloatArray]:
        side = self.model.image_size
        boxes_xyxy = torch.from_numpy(np.ascontiguousarray(boxes)).to(embedding.device)
        logits, iou = self.model.decode_boxes(embedding, boxes_xyxy[None], (side, side), decoder)
        return logits[0].float().cpu().numpy(), iou[0].float().cpu().numpy()


def wrap_model(model: Sameo) -> Predictor:
    """Return a predictor that runs a network in PyTorch; training validates with it."""
    return Predictor(TorchBackend(model), image_size=model.image_size, name=model.preset)


def load_torch_predictor(model: str | Path | None, device: str = "auto") -> Predictor:
    """Load a checkpoint into PyTorch.

    Args:
        model: What `load_checkpoint` accepts: a checkpoint file, a bundle's folder or name; None
            is the bundled `sameo_lite`.
        device: A PyTorch device, or `auto`: the first GPU if there is one, else the CPU.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If the file is not a checkpoint of this network.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_checkpoint("sameo_lite" if model is None else model).to(device).eval()
    return wrap_model(network)
