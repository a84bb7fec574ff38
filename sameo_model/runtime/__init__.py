"""Amodal masks from an image and boxes, with NumPy and OpenCV but without PyTorch.

Start with `load_predictor`; `Predictor.encode` takes an image, `Predictor.decode` its boxes.
`Predictor.segment_all` finds the boxes itself.
"""

from sameo_model.runtime.backends.base import BackendUnavailableError
from sameo_model.runtime.images import decode_image, read_image
from sameo_model.runtime.predictor import Predictor, load_predictor
from sameo_model.runtime.types import Detections, Embedding, FoundObjects, MaskCrop, Prediction

__all__ = [
    "BackendUnavailableError",
    "Detections",
    "Embedding",
    "FoundObjects",
    "MaskCrop",
    "Prediction",
    "Predictor",
    "decode_image",
    "load_predictor",
    "read_image",
]
