"""The images that people opened, and the objects that they found in them."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sameo_model.runtime import Prediction, Predictor, decode_image
from sameo_model.runtime.box_source import BoxPrompt, detections_to_prompts, prompts_to_boxes
from sameo_model.runtime.boxes import BoxFault, check_boxes
from sameo_model.runtime.overlay import draw_overlay, format_label
from sameo_model.runtime.records import prediction_record
from sameo_model.runtime.types import (
    Detections,
    Embedding,
    FloatArray,
    MaskCrop,
    Uint8Array,
)

MAX_KEPT_BYTES = 600_000_000
"""Pixels of all images that are kept at once; the ones not used for longest go first."""
MAX_KEPT = 100
"""Images, of any size, that are kept at once."""
MAX_PIXELS = 100_000_000
MAX_SHOWN_SIDE = 1600
CLICK_SHARES = (0.08, 0.16, 0.32)
"""Sides of the boxes that a click tries, as shares of the image's shorter side."""
MIN_CLICKED_SCORE = 0.1


class UnknownImageError(KeyError):
    """An image is not kept, or not any more."""


class NothingFoundError(ValueError):
    """There is no object where somebody looked for one; the message says what to do."""


@dataclass
class OpenImage:
    """One image and its objects so far."""

    image_rgb: Uint8Array  # uint8 (H, W, 3), RGB
    name: str  # file name, for downloads
    embedding: Embedding  # what the predictor made of it
    # boxes of the detector, those of low scores too, once it has run
    found: Detections | None = None
    prompts: list[BoxPrompt] = field(default_factory=list)  # boxes of the objects
    # predictions of one object each, in the same order
    objects: list[Prediction] = field(default_factory=list)


class ImageTable:
    """Opens images and finds objects in them; may be used from several threads.

    One worker thread loads the model and handles all requests in order, as GPU backends require.
    """

    def __init__(self, load: Callable[[], Predictor]) -> None:
        """Load the model; what `load` raises is raised here."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._images: OrderedDict[str, OpenImage] = OrderedDict()
        try:
            self._predictor = self._worker.submit(load).result()
        except BaseException:
            self._worker.shutdown()
            raise

    def close(self) -> None:
        """Finish the current request and free the model."""
        self._worker.submit(self._predictor.close)
        self._worker.shutdown()

    def describe(self) -> dict[str, Any]:
        """Say what the model is and can."""
        backend = self._predictor.backend
        return {
            "model": self._predictor.name,
            "backend": f"{backend.name} ({backend.device})",
            "has_detector": self._predictor.has_detector,
        }

    def open(self, content: bytes, name: str) -> dict[str, Any]:
        """Open the content of an image file, find everything in it if the model can, and describe.

        Raises:
            ValueError: If it is not a whole image, or has too many pixels.
        """
        image_rgb = decode_image(content)
        height, width = image_rgb.shape[:2]
        if height * width > MAX_PIXELS:
            raise ValueError(
                f"it has {width} x {height} pixels, and at most {MAX_PIXELS // 1_000_000} million "
                "are taken; make it smaller"
            )
        return self._worker.submit(self._open, image_rgb, Path(name).name or "image").result()

    def find(self, key: str) -> dict[str, Any]:
        """Replace the objects of an image by everything that the detector finds, and describe.

        Raises:
            UnknownImageError: If the image is not kept.
            ValueError: If the model has no detector.
        """
        return self._worker.submit(self._find, key).result()

    def segment_box(self, key: str, box_xyxy: Sequence[float]) -> dict[str, Any]:
        """Add the object in a box, pixels of the image, and describe the image.

        Raises:
            UnknownImageError: If the image is not kept.
            ValueError: If the box cannot be used.
        """
        return self._worker.submit(self._segment_box, key, box_xyxy).result()

    def segment_click(self, key: str, point_xy: Sequence[float]) -> dict[str, Any]:
        """Add the object under a point, pixels of the image, and describe the image.

        Boxes around the point are tried, and those of the detector that hold it. Of the masks that
        hold the point the one with the highest predicted IoU is drawn once more, from the box of
        its own visible part.

        Raises:
            UnknownImageError: If the image is not kept.
            ValueError: If the point lies outside the image.
            NothingFoundError: If no mask holds the point.
        """
        return self._worker.submit(self._segment_click, key, point_xy).result()

    def clear(self, key: str) -> dict[str, Any]:
        """Forget the objects of an image, and describe it.

        Raises:
            UnknownImageError: If the image is not kept.
        """
        return self._worker.submit(self._clear, key).result()

    def overlay(self, key: str, suffix: str, *, is_shown: bool) -> bytes:
        """Return the image with its objects drawn over it, as the content of a file.

        Args:
            suffix: `.jpg` or `.png`.
            is_shown: Whether to shrink a large image to what a page shows.

        Raises:
            UnknownImageError: If the image is not kept.
        """
        overlay = self._worker.submit(self._drawn, key).result()
        longest = max(overlay.shape[:2])
        if is_shown and longest > MAX_SHOWN_SIDE:
            scale = MAX_SHOWN_SIDE / longest
            wh = [max(1, round(side * scale)) for side in overlay.shape[1::-1]]
            overlay = np.asarray(cv2.resize(overlay, wh, interpolation=cv2.INTER_AREA), np.uint8)
        _, data = cv2.imencode(suffix, cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
        return data.tobytes()

    def records(self, key: str) -> list[dict[str, Any]]:
        """Return the objects as `predict` writes them.

        Raises:
            UnknownImageError: If the image is not kept.
        """
        return self._worker.submit(self._records, key).result()

    def file_stem(self, key: str) -> str:
        """Return the image's name without suffix, for downloads.

        Raises:
            UnknownImageError: If the image is not kept.
        """
        return self._worker.submit(self._file_stem, key).result()

    def _open(self, image_rgb: Uint8Array, name: str) -> dict[str, Any]:
        key = secrets.token_urlsafe(12)
        embedding = self._predictor.encode(image_rgb)
        self._images[key] = OpenImage(image_rgb, name, embedding)
        self._forget_old()
        if not self._predictor.has_detector:
            return self._describe(key, 0.0)
        return self._find(key)

    def _segment_box(self, key: str, box_xyxy: Sequence[float]) -> dict[str, Any]:
        image = self._get(key)
        start_s = time.perf_counter()
        checked = check_boxes([list(box_xyxy)], image.image_rgb.shape[:2])
        if checked.faults[0] != BoxFault.NONE:
            raise ValueError(f"the box {BoxFault(checked.faults[0]).reason}; drag another one")
        prediction = self._predictor.decode(image.embedding, checked.boxes_xyxy)
        x1, y1, x2, y2 = checked.boxes_xyxy[0].tolist()
        self._add(image, prediction, 0, BoxPrompt((x1, y1, x2, y2)))
        return self._describe(key, time.perf_counter() - start_s)

    def _segment_click(self, key: str, point_xy: Sequence[float]) -> dict[str, Any]:
        image = self._get(key)
        start_s = time.perf_counter()
        height, width = image.image_rgb.shape[:2]
        x, y = (float(value) for value in point_xy)
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"the point must lie inside the image of {width} x {height} pixels, got "
                f"{x:g}, {y:g}"
            )
        tried = self._predictor.decode(image.embedding, self._boxes_around(image, x, y))
        rows = [row for row in range(len(tried)) if _holds(_seen(tried, row), x, y)]
        if not rows:
            raise NothingFoundError("no object was found there; drag a box around it")
        best = max(rows, key=lambda row: float(tried.predicted_iou[row]))
        box = _seen(tried, best).box_xyxy
        refined = self._predictor.decode(image.embedding, [box])
        self._add(image, refined, 0, BoxPrompt(box))
        return self._describe(key, time.perf_counter() - start_s)

    def _clear(self, key: str) -> dict[str, Any]:
        image = self._get(key)
        image.prompts.clear()
        image.objects.clear()
        return self._describe(key, 0.0)

    def _drawn(self, key: str) -> Uint8Array:
        return _draw(self._get(key))

    def _records(self, key: str) -> list[dict[str, Any]]:
        image = self._get(key)
        height, width = image.image_rgb.shape[:2]
        pairs = zip(image.prompts, image.objects, strict=True)
        return [
            {
                "file_name": image.name,
                **prediction_record(prediction, 0, prompt, (height, width)),
            }
            for prompt, prediction in pairs
        ]

    def _file_stem(self, key: str) -> str:
        return Path(self._get(key).name).stem

    def _get(self, key: str) -> OpenImage:
        if key not in self._images:
            raise UnknownImageError("this image is no longer kept; open it again")
        self._images.move_to_end(key)
        return self._images[key]

    def _forget_old(self) -> None:
        while len(self._images) > 1:
            total = sum(image.image_rgb.nbytes for image in self._images.values())
            if total <= MAX_KEPT_BYTES and len(self._images) <= MAX_KEPT:
                return
            self._images.popitem(last=False)

    def _find(self, key: str) -> dict[str, Any]:
        image = self._get(key)
        start_s = time.perf_counter()
        detections = self._detect(image)
        likely = np.flatnonzero(detections.scores >= self._predictor.min_score)
        found = self._predictor.segment_found(image.embedding, detections.select(likely))
        image.prompts.clear()
        image.objects.clear()
        for row, prompt in enumerate(detections_to_prompts(found.detections)):
            self._add(image, found.prediction, row, prompt)
        return self._describe(key, time.perf_counter() - start_s)

    def _detect(self, image: OpenImage) -> Detections:
        if image.found is None:
            least = min(MIN_CLICKED_SCORE, self._predictor.min_score)
            image.found = self._predictor.detect(image.image_rgb, min_score=least)
        return image.found

    def _add(self, image: OpenImage, prediction: Prediction, row: int, prompt: BoxPrompt) -> None:
        image.prompts.append(prompt)
        image.objects.append(prediction.select(np.array([row])))

    def _boxes_around(self, image: OpenImage, x: float, y: float) -> FloatArray:
        height, width = image.image_rgb.shape[:2]
        half = np.array(CLICK_SHARES)[:, None] * max(min(height, width), 8) / 2
        point = np.array([[x, y]])
        squares = np.concatenate((point - half, point + half), axis=1)
        boxes = [squares.clip(0, [width, height] * 2)]
        if self._predictor.has_detector:
            found = self._detect(image)
            low, high = found.boxes_xyxy[:, :2], found.boxes_xyxy[:, 2:]
            boxes.append(found.boxes_xyxy[((low <= point) & (point < high)).all(axis=1)])
        return np.concatenate(boxes).astype(np.float32)

    def _describe(self, key: str, elapsed_s: float) -> dict[str, Any]:
        image = self._get(key)
        height, width = image.image_rgb.shape[:2]
        objects = []
        for prompt, prediction in zip(image.prompts, image.objects, strict=True):
            ratio = float(prediction.occlusion_ratio[0])
            objects.append(
                {
                    "box": [round(value, 1) for value in prompt.box_xyxy],
                    "detection_score": round(prompt.score, 3),
                    "predicted_iou": round(float(prediction.predicted_iou[0]), 3),
                    "occlusion_ratio": None if np.isnan(ratio) else round(ratio, 3),
                }
            )
        return {
            "id": key,
            "name": image.name,
            "width": width,
            "height": height,
            "objects": objects,
            "time_ms": round(1e3 * elapsed_s, 1),
        }


def _seen(prediction: Prediction, row: int) -> MaskCrop:
    """Return the visible mask of an object, or the whole one where the model draws no other."""
    return (prediction.visible_masks or prediction.amodal_masks)[row]


def _holds(crop: MaskCrop, x: float, y: float) -> bool:
    row, column = int(y) - crop.y, int(x) - crop.x
    height, width = crop.mask.shape
    return 0 <= row < height and 0 <= column < width and bool(crop.mask[row, column])


def _draw(image: OpenImage) -> Uint8Array:
    visible = [one.visible_masks[0] for one in image.objects if one.visible_masks]
    labels = [
        format_label(i, "", float(one.occlusion_ratio[0])) for i, one in enumerate(image.objects)
    ]
    return draw_overlay(
        image.image_rgb,
        [one.amodal_masks[0] for one in image.objects],
        visible if len(visible) == len(image.objects) else None,
        prompts_to_boxes(image.prompts),
        labels,
    )
