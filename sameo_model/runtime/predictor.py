"""The predictor: encode an image once, decode any number of boxes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.backends.base import (
    Backend,
    BackendOptions,
    DecoderOutput,
    build_backend,
)
from sameo_model.runtime.box_suppression import choose_masks, to_detections
from sameo_model.runtime.boxes import are_shares, check_boxes
from sameo_model.runtime.bundle import load_bundle
from sameo_model.runtime.clicks import Clicks, check_clicks, clicks_in_frames
from sameo_model.runtime.framing import (
    IMAGE_FRAMING,
    Framing,
    IntArray,
    boxes_in_frames,
    choose_framing,
    cut_window,
    find_frames,
    resize_window,
)
from sameo_model.runtime.postprocess import (
    drop_specks_and_holes,
    logits_to_crops,
    occlusion_ratios,
)
from sameo_model.runtime.preprocess import check_image, resize_image
from sameo_model.runtime.types import (
    BoolArray,
    Detections,
    Embedding,
    FloatArray,
    FoundObjects,
    ImageHW,
    MaskCrop,
    Prediction,
    Uint8Array,
)

MAX_FOUND = 100
"""Objects that `Predictor.detect` returns at most unless the caller says otherwise."""

_LOGGER = logging.getLogger(__name__)


def load_predictor(
    model: str | Path | None = None,
    backend: str = "auto",
    *,
    precision: str | None = None,
    threads: int | None = None,
    cache_dir: str | Path | None = None,
    cuda_graph: bool | None = None,
    decoder_streams: int = 0,
    pin_threads: str = "auto",
    framing: str | None = None,
) -> Predictor:
    """Load a model bundle into a backend.

    Args:
        model: Name of a bundled model or path of a bundle folder; None is `sameo_lite`.
        backend: `openvino`, `onnxruntime`, `tensorrt`, or `auto`, which takes the first that can
            run here (TensorRT before OpenVINO before ONNX Runtime) and logs its choice.
        precision: `f32`, `bf16` or `f16` where the backend can choose; None lets openvino measure
            once whether bf16 is faster here and keeps the masks, and is `f32` for onnxruntime.
        threads: Number of CPU threads; None leaves it to the backend.
        cache_dir: Folder where the backend keeps compiled models; None is the backend's default.
        cuda_graph: Whether TensorRT starts the encoder as one CUDA graph; None does where the GPU
            can.
        decoder_streams: In how many parts openvino decodes boxes at once, from 1 to the number of
            threads; 0 leaves it to the backend.
        pin_threads: `on` binds each CPU thread of the model to a core, `off` lets the system move
            them, `auto` leaves it to the backend.
        framing: `image` shows the model the whole image, `window` a window around each box; None
            does what the bundle was made for.

    Raises:
        FileNotFoundError: If the model or one of its files does not exist.
        ValueError: If the bundle is damaged, or a backend name or option is unknown.
        BackendUnavailableError: If the backend cannot run on this machine.
    """
    bundle = load_bundle(model)
    folder = None if cache_dir is None else Path(cache_dir)
    options = BackendOptions(precision, threads, folder, cuda_graph, decoder_streams, pin_threads)
    runner = build_backend(backend, bundle, options)
    _LOGGER.info("model %s on backend %s (%s)", bundle.info.name, runner.name, runner.device)
    return Predictor(
        runner,
        image_size=bundle.info.image_size,
        name=bundle.info.name,
        framing=choose_framing(bundle.framing, framing),
        detector=bundle.info.detector,
    )


class Predictor:
    """Predicts amodal and visible masks for boxes; holds one model on one backend.

    Use it from one thread at a time; with a GPU backend from the thread that loaded it.

    Attributes:
        backend: The backend that runs the graphs.
        image_size: Side S of the model's square input, pixels.
        name: Name of the model.
        framing: What the model sees of an image.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        image_size: int,
        name: str,
        framing: Framing = IMAGE_FRAMING,
        detector: Mapping[str, Any] | None = None,
    ) -> None:
        """Wrap a backend; `load_predictor` is the usual way here."""
        self.backend = backend
        self.image_size = image_size
        self.name = name
        self.framing = framing
        self._detector = detector or {}
        self._has_warned = False

    @property
    def has_detector(self) -> bool:
        """Whether the bundle brings a detector, so that `detect` and `segment_all` work."""
        return bool(self._detector)

    @property
    def min_score(self) -> float:
        """Score below which `detect` leaves boxes out unless the caller says otherwise."""
        return float(self._detector.get("min_score", 1.0))

    @property
    def encodes_image(self) -> bool:
        """Whether `encode` runs the model; with windows all of it runs in `decode`."""
        return self.backend.encodes_images and not self.framing.is_window

    @property
    def has_visible_decoder(self) -> bool:
        """Whether predictions can hold visible masks and occlusion ratios."""
        return self.backend.has_visible_decoder

    def encode(self, image_rgb: Uint8Array) -> Embedding:
        """Encode an image; with windows only keep it for `decode`.

        Args:
            image_rgb: uint8 (H, W, 3), RGB; any size and strides. With windows it is not copied:
                leave it unchanged until its boxes are decoded.

        Returns:
            The embedding, which stays on the backend's device until it is dropped.

        Raises:
            ValueError: If the image is not uint8 of shape (H, W, 3) with at least one pixel.
        """
        check_image(image_rgb)
        image_hw = (image_rgb.shape[0], image_rgb.shape[1])
        handle: Any = image_rgb
        if self.encodes_image:
            handle = self.backend.encode(resize_image(image_rgb, self.image_size))
        return Embedding(image_hw, handle, self.backend)

    def decode(
        self,
        embedding: Embedding,
        boxes_xyxy: npt.ArrayLike,
        *,
        visible: bool = True,
        points_xy: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
    ) -> Prediction:
        """Predict the masks of the objects in boxes.

        Args:
            embedding: What `encode` of this predictor returned.
            boxes_xyxy: float (N, 4), x1, y1, x2, y2 in pixels of the encoded image; any N, 0
                included. Boxes are clipped to the image; a box that cannot be used (see
                `boxes.check_boxes`) keeps its row with empty masks and a predicted IoU of 0.
                Boxes that all lie in the first pixel, as shares of the image do, are drawn there;
                the first time is logged.
            visible: Whether to draw visible masks, where the model can.
            points_xy: float (N, P, 2), clicks on the visible part of each box's object, x and y in
                pixels of the encoded image, P at most 4; None prompts with the boxes alone. One
                outside the box's window is left out (see `clicks.find_strays`).
            point_labels: (N, P), 1 for a click, -1 for none; None takes every point for a click.

        Raises:
            ValueError: If the boxes are not numbers of shape (N, 4), the clicks do not fit (see
                `clicks.check_clicks`) or the model cannot take any, or the embedding does not
                come from this predictor.
        """
        owner = getattr(embedding, "owner", None)
        if owner is not self.backend:
            got = type(embedding).__name__ if owner is None else "that of another predictor"
            raise ValueError(
                f"embedding must come from this predictor's encode, got {got}; encode the image "
                "with it and pass the result"
            )
        checked = check_boxes(boxes_xyxy, embedding.image_hw)
        usable = checked.boxes_xyxy[checked.usable]
        self._warn_of_shares(usable, embedding.image_hw)
        clicks = check_clicks(points_xy, point_labels, len(checked.usable), embedding.image_hw)
        if clicks is not None:
            clicks = clicks.rows(checked.usable)
        wants_visible = visible and self.has_visible_decoder
        found = self._decode_usable(embedding, usable, wants_visible, clicks)
        return _fill_rows(checked.usable, found)

    def _warn_of_shares(self, boxes: FloatArray, image_hw: ImageHW) -> None:
        if self._has_warned or max(image_hw) == 1:
            return
        if (boxes <= 1).all() and are_shares(boxes).any():
            self._has_warned = True
            _LOGGER.warning(
                "boxes_xyxy must be in pixels, but all boxes lie in the first pixel of the image, "
                "as shares of it do: %s; multiply x by the width and y by the height",
                boxes[0].tolist(),
            )

    def _decode_usable(
        self, embedding: Embedding, boxes: FloatArray, visible: bool, clicks: Clicks | None
    ) -> Prediction:
        amodal_masks: list[MaskCrop] = []
        visible_masks: list[MaskCrop] = []
        predicted_iou = np.zeros(len(boxes), dtype=np.float32)
        frames = find_frames(self.framing, boxes, embedding.image_hw)
        model_boxes = boxes_in_frames(boxes, frames, self.image_size)
        if clicks is not None:
            clicks = clicks_in_frames(clicks, frames, self.image_size)
        for start in range(0, len(boxes), self.backend.max_boxes):
            rows = slice(start, min(start + self.backend.max_boxes, len(boxes)))
            part = None if clicks is None else clicks.rows(rows)
            output = self._run(embedding, frames[rows], model_boxes[rows], visible, part)
            amodal_masks += self._draw(output.amodal_logits, embedding.image_hw, frames[rows])
            predicted_iou[rows] = output.predicted_iou
            if output.visible_logits is not None:
                visible_masks += self._draw(output.visible_logits, embedding.image_hw, frames[rows])
        known = visible_masks if visible else None
        ratios = occlusion_ratios(amodal_masks, known)
        return Prediction(amodal_masks, known, predicted_iou, ratios)

    def _draw(self, logits: FloatArray, image_hw: ImageHW, frames: IntArray) -> list[MaskCrop]:
        # A window is about one object; official weights on whole images stay as they are.
        if self.framing.is_window:
            logits = drop_specks_and_holes(logits)
        return logits_to_crops(logits, image_hw, frames)

    def _run(
        self,
        embedding: Embedding,
        frames: IntArray,
        boxes: FloatArray,
        visible: bool,
        clicks: Clicks | None,
    ) -> DecoderOutput:
        if self.encodes_image:
            if clicks is not None:
                return self.backend.decode_clicks(embedding.handle, boxes, clicks, visible)
            return self.backend.decode(embedding.handle, boxes, visible)
        image = embedding.handle
        if self.framing.is_window:
            windows = np.stack([cut_window(image, frame, self.image_size) for frame in frames])
        else:
            whole = resize_image(image, self.image_size)
            windows = np.repeat(whole[np.newaxis], len(boxes), axis=0)
        if clicks is not None:
            return self.backend.segment_clicks(windows, boxes, clicks, visible)
        return self.backend.segment(windows, boxes, visible)

    def detect(
        self, image_rgb: Uint8Array, *, max_boxes: int = MAX_FOUND, min_score: float | None = None
    ) -> Detections:
        """Find things, whatever their class, with the detector of the bundle.

        Args:
            image_rgb: uint8 (H, W, 3), RGB; any size and strides.
            max_boxes: Most boxes to return.
            min_score: Boxes with a lower score are left out; None is what the bundle says.

        Raises:
            ValueError: If the image is not uint8 of shape (H, W, 3) with at least one pixel, an
                option is out of range, or the bundle has no detector.
        """
        check_image(image_rgb)
        if not self.has_detector:
            raise ValueError(self.backend.no_detector)
        if min_score is None:
            min_score = self.min_score
        if max_boxes < 0 or not 0 <= min_score <= 1:
            raise ValueError(
                f"detect needs max_boxes of at least 0 and min_score from 0 to 1, got {max_boxes} "
                f"and {min_score:g}"
            )
        side = int(self._detector["image_size"])
        cells = self.backend.find_boxes(resize_window(image_rgb, side))
        image_hw = image_rgb.shape[0], image_rgb.shape[1]
        return to_detections(cells, side, image_hw, min_score=min_score, max_boxes=max_boxes)

    def segment_all(
        self, image_rgb: Uint8Array, *, max_boxes: int = MAX_FOUND, min_score: float | None = None
    ) -> FoundObjects:
        """Find things and draw their masks, as `segment_found` does.

        Args:
            image_rgb: As for `detect`.
            max_boxes: As for `detect`.
            min_score: As for `detect`.

        Raises:
            ValueError: As for `detect`.
        """
        detections = self.detect(image_rgb, max_boxes=max_boxes, min_score=min_score)
        return self.segment_found(self.encode(image_rgb), detections)

    def segment_found(self, embedding: Embedding, detections: Detections) -> FoundObjects:
        """Draw the masks of things that were found.

        Of two objects whose visible masks are nearly the same part of the image, the one with the
        better score stays.

        Args:
            embedding: What `encode` of this predictor returned.
            detections: What `detect` found in the same image.

        Raises:
            ValueError: If the embedding does not come from this predictor.
        """
        prediction = self.decode(embedding, detections.boxes_xyxy)
        masks = prediction.visible_masks or prediction.amodal_masks
        rows = choose_masks(masks)
        return FoundObjects(detections.select(rows), prediction.select(rows))

    def close(self) -> None:
        """Free what the backend holds on its device; the predictor cannot be used afterwards."""
        self.backend.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _fill_rows(usable: BoolArray, found: Prediction) -> Prediction:
    """Spread the results of the usable boxes over the rows of all boxes."""
    if usable.all():
        return found
    rows = np.flatnonzero(usable)
    predicted_iou = np.zeros(len(usable), dtype=np.float32)
    occlusion_ratio = np.full(len(usable), np.nan, dtype=np.float32)
    predicted_iou[rows] = found.predicted_iou
    occlusion_ratio[rows] = found.occlusion_ratio

    def spread(masks: list[MaskCrop]) -> list[MaskCrop]:
        spread_masks = [MaskCrop.empty() for _ in usable]
        for row, mask in zip(rows, masks, strict=True):
            spread_masks[row] = mask
        return spread_masks

    visible_masks = None if found.visible_masks is None else spread(found.visible_masks)
    return Prediction(spread(found.amodal_masks), visible_masks, predicted_iou, occlusion_ratio)
