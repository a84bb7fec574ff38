"""TensorRT for bundles of windows: one engine, and copies of windows and masks chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np

from sameo_model.runtime.backends.base import DecoderOutput
from sameo_model.runtime.backends.gpu import DeviceBlock
from sameo_model.runtime.backends.tensorrt import EmbeddingHandle, TensorRtBackend
from sameo_model.runtime.bundle import WINDOW_LOGIT_STRIDE
from sameo_model.runtime.types import FloatArray, Uint8Array

ENGINE = "window_segmenter"


class TensorRtWindows(TensorRtBackend):
    """Runs `window_segmenter`; memory and threads are as in `TensorRtBackend`."""

    encodes_images = False

    def segment(self, images: Uint8Array, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Draw the masks of windows, in chunks where there are more than fit.

        Args:
            images: uint8 (N, S, S, 3), RGB; any N, 0 included.
            boxes: float32 (N, 4), x1, y1, x2, y2 in pixels of its window.
            visible: Whether visible masks are wanted.
        """
        self._check_call()
        side = self._image_size // WINDOW_LOGIT_STRIDE
        outputs = {
            "amodal_logits": np.empty((len(boxes), side, side), np.float32),
            "predicted_iou": np.empty(len(boxes), np.float32),
        }
        if visible:
            outputs["visible_logits"] = np.empty((len(boxes), side, side), np.float32)
        with self._gpu.current():
            for start in range(0, len(boxes), self._chunk):
                rows = slice(start, start + self._chunk)
                self._segment_chunk(
                    images[rows], boxes[rows], {name: out[rows] for name, out in outputs.items()}
                )
        return DecoderOutput(
            outputs["amodal_logits"], outputs["predicted_iou"], outputs.get("visible_logits")
        )

    def encode(self, image: Uint8Array) -> EmbeddingHandle:
        """Refuse: a bundle of windows has no image encoder.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("a bundle of windows has no image encoder; call segment")

    def decode(self, handle: Any, boxes: FloatArray, visible: bool) -> DecoderOutput:
        """Refuse, as `encode` does.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("a bundle of windows has no decoder of its own; call segment")

    def _load(self, engines: dict[str, bytes]) -> None:
        self._engines[ENGINE] = self._gpu.load_engine(engines[ENGINE])
        self._allocate_chunk()

    def _allocate_for(self, chunk: int) -> None:
        side = self._image_size
        logits_bytes = (side // WINDOW_LOGIT_STRIDE) ** 2 * 4
        row_bytes = {
            "images": side * side * 3,
            "boxes": 16,
            "amodal_logits": logits_bytes,
            "visible_logits": logits_bytes,
            "predicted_iou": 4,
        }
        engine = self._engines[ENGINE]
        engine.set_num_boxes(chunk)
        self._scratch = self._allocate(max(engine.scratch_bytes(), 1))
        self._device: dict[str, DeviceBlock] = {
            name: self._allocate(chunk * size) for name, size in row_bytes.items()
        }
        self._host = {name: self._pin(chunk * size) for name, size in row_bytes.items()}
        engine.use_scratch(self._scratch)
        for name, block in self._device.items():
            engine.bind(name, block)

    def _warm_up(self, cuda_graph: bool) -> None:
        side = self._image_size
        boxes = np.tile(np.array([[0, 0, 16, 16]], np.float32), (self._chunk, 1))
        for count in {1, self._chunk}:
            self.segment(np.zeros((count, side, side, 3), np.uint8), boxes[:count], True)

    def _segment_chunk(
        self, images: Uint8Array, boxes: FloatArray, targets: dict[str, FloatArray]
    ) -> None:
        """Run up to a chunk of windows into arrays whose rows they fill."""
        inputs = {"images": images, "boxes": np.asarray(boxes, np.float32)}
        for name, array in inputs.items():
            flat = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
            self._host[name].array[: flat.size] = flat
            self._gpu.upload(self._device[name], self._host[name], flat.size)
        engine = self._engines[ENGINE]
        engine.set_num_boxes(len(boxes))
        engine.enqueue()
        self._collect(targets)
