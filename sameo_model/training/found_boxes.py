"""Prompts that a detector finds in training images, with the mistakes that it makes in use."""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from sameo_model.runtime import Predictor, load_predictor
from sameo_model.runtime.boxes import box_ious
from sameo_model.runtime.bundle import load_bundle

MIN_SCORE = 0.3
MIN_IOU = 0.5


class PromptFinder:
    """The detector of a bundle; each process loads it at its first image."""

    def __init__(self, model: str) -> None:
        """Check the bundle.

        Args:
            model: Name of a bundled model or path of a bundle folder.

        Raises:
            FileNotFoundError: If the model or one of its files does not exist.
            ValueError: If it is damaged or has no detector.
        """
        if load_bundle(model).detector is None:
            raise ValueError(
                f"samples.found_boxes needs a detector, but model {model} contains none; name a "
                "bundle with detector.onnx in samples.detector"
            )
        self.model = model

    @cached_property
    def _predictor(self) -> Predictor:
        # On the CPU, also beside a GPU: many processes prepare samples.
        backend = "openvino" if find_spec("openvino") else "onnxruntime"
        return load_predictor(self.model, backend, precision="f32", threads=1)

    def find(
        self, image_rgb: NDArray[np.uint8], visible_xyxy: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the box that the detector finds for each object.

        Args:
            image_rgb: uint8 (H, W, 3), RGB.
            visible_xyxy: float32 (N, 4), true boxes of the visible parts, pixels of the image.

        Returns:
            float32 (N, 4), pixels of the image; NaN for an object that it does not find.
        """
        found = self._predictor.detect(image_rgb, min_score=MIN_SCORE)
        return match_found(found.boxes_xyxy, visible_xyxy)


def match_found(
    found_xyxy: NDArray[np.float32], true_xyxy: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give each found box, best first, to the object that it fits best and that has none yet.

    Args:
        found_xyxy: float32 (M, 4), best first.
        true_xyxy: float32 (N, 4), at least one, in the same pixels.

    Returns:
        float32 (N, 4), NaN for an object without a found box of IoU 0.5 or more.
    """
    matched = np.full_like(true_xyxy, np.nan)
    ious = box_ious(found_xyxy, true_xyxy)
    for box, row in zip(found_xyxy, ious, strict=True):
        best = int(row.argmax())
        if row[best] >= MIN_IOU:
            matched[best] = box
            ious[:, best] = 0.0
    return matched
