"""The pictures that people opened, and the objects that they found in them."""

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
"""Pixels of all pictures that are kept at once; the ones not used for longest go first."""
MAX_KEPT = 100
"""Pictures, of any size, that are kept at once."""
MAX_PIXELS = 100_000_000
MAX_SHOWN_SIDE = 1600
CLICK_SHARES = (0.08, 0.16, 0.32)
"""Sides of the boxes that a click tries, as shares of the picture's shorter side."""
MIN_CLICKED_SCORE = 0.1


class UnknownPictureError(KeyError):
    """A picture is not kept, or not any more."""


class NothingFoundError(ValueError):
    """There is no object where somebody looked for one; the message says what to do."""


@dataclass
class OpenPicture:
    """One picture and its objects so far."""

    image_rgb: Uint8Array  # uint8 (H, W, 3), RGB
    name: str  # file name, for downloads
    embedding: Embedding  # what the predictor made of it
    # boxes of the detector, those of low scores too, once it has run
    found: Detections | None = None
    prompts: list[BoxPrompt] = field(default_factory=list)  # boxes of the objects
    # predictions of one object each, in the same order
    objects: list[Prediction] = field(default_factory=list)


class PictureTable:
    """Opens pictures and finds objects in them; may be used from several threads.

    One worker thread loads the model and handles all requests in order, as GPU backends require.
    """

    def __init__(self, load: Callable[[], Predictor]) -> None:
        """Load the model; what `load` raises is raised here."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._pictures: OrderedDict[str, OpenPicture] = OrderedDict()
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
        """Open the content of a picture file, find everything in it if the model can, and describe.

        Raises:
            ValueError: If it is not a whole picture, or has too many pixels.
        """
        image_rgb = decode_image(content)
        height, width = image_rgb.shape[:2]
        if height * width > MAX_PIXELS:
            raise ValueError(
                f"it has {width} x {height} pixels, and at most {MAX_PIXELS // 1_000_000} million "
                "are taken; make it smaller"
            )
        return self._worker.submit(self._open, image_rgb, Path(name).name or "picture").result()

    def find(self, key: str) -> dict[str, Any]:
        """Replace the objects of a picture by everything that the detector finds, and describe.

        Raises:
            UnknownPictureError: If the picture is not kept.
            ValueError: If the model has no detector.
        """
        return self._worker.submit(self._find, key).result()

    def segment_box(self, key: str, box_xyxy: Sequence[float]) -> dict[str, Any]:
        """Add the object in a box, pixels of the picture, and describe the picture.

        Raises:
            UnknownPictureError: If the picture is not kept.
            ValueError: If the box cannot be used.
        """
        return self._worker.submit(self._segment_box, key, box_xyxy).result()

    def segment_click(self, key: str, point_xy: Sequence[float]) -> dict[str, Any]:
        """Add the object under a point, pixels of the picture, and describe the picture.

        Boxes around the point are tried, and those of the detector that hold it. Of the masks that
        hold the point the one with the highest predicted IoU is drawn once more, from the box of
        its own visible part.

        Raises:
            UnknownPictureError: If the picture is not kept.
            ValueError: If the point lies outside the picture.
            NothingFoundError: If no mask holds the point.
        """
        return self._worker.submit(self._segment_click, key, point_xy).result()

    def clear(self, key: str) -> dict[str, Any]:
        """Forget the objects of a picture, and describe it.

        Raises:
            UnknownPictureError: If the picture is not kept.
        """
        return self._worker.submit(self._clear, key).result()

    def overlay(self, key: str, suffix: str, *, is_shown: bool) -> bytes:
        """Return the picture with its objects drawn over it, as the content of a file.

        Args:
            suffix: `.jpg` or `.png`.
            is_shown: Whether to shrink a large picture to what a page shows.

        Raises:
            UnknownPictureError: If the picture is not kept.
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
            UnknownPictureError: If the picture is not kept.
        """
        return self._worker.submit(self._records, key).result()

    def file_stem(self, key: str) -> str:
        """Return the picture's name without suffix, for downloads.

        Raises:
            UnknownPictureError: If the picture is not kept.
        """
        return self._worker.submit(self._file_stem, key).result()

    def _open(self, image_rgb: Uint8Array, name: str) -> dict[str, Any]:
        key = secrets.token_urlsafe(12)
        embedding = self._predictor.encode(image_rgb)
        self._pictures[key] = OpenPicture(image_rgb, name, embedding)
        self._forget_old()
        if not self._predictor.has_detector:
            return self._describe(key, 0.0)
        return self._find(key)

    def _segment_box(self, key: str, box_xyxy: Sequence[float]) -> dict[str, Any]:
        picture = self._get(key)
        start_s = time.perf_counter()
        checked = check_boxes([list(box_xyxy)], picture.image_rgb.shape[:2])
        if checked.faults[0] != BoxFault.NONE:
            raise ValueError(f"the box {BoxFault(checked.faults[0]).reason}; drag another one")
        prediction = self._predictor.decode(picture.embedding, checked.boxes_xyxy)
        x1, y1, x2, y2 = checked.boxes_xyxy[0].tolist()
        self._add(picture, prediction, 0, BoxPrompt((x1, y1, x2, y2)))
        return self._describe(key, time.perf_counter() - start_s)

    def _segment_click(self, key: str, point_xy: Sequence[float]) -> dict[str, Any]:
        picture = self._get(key)
        start_s = time.perf_counter()
        height, width = picture.image_rgb.shape[:2]
        x, y = (float(value) for value in point_xy)
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"the point must lie inside the picture of {width} x {height} pixels, got "
                f"{x:g}, {y:g}"
            )
        tried = self._predictor.decode(picture.embedding, self._boxes_around(picture, x, y))
        rows = [row for row in range(len(tried)) if _holds(_seen(tried, row), x, y)]
        if not rows:
            raise NothingFoundError("no object was found there; drag a box around it")
        best = max(rows, key=lambda row: float(tried.predicted_iou[row]))
        box = _seen(tried, best).box_xyxy
        refined = self._predictor.decode(picture.embedding, [box])
        self._add(picture, refined, 0, BoxPrompt(box))
        return self._describe(key, time.perf_counter() - start_s)

    def _clear(self, key: str) -> dict[str, Any]:
        picture = self._get(key)
        picture.prompts.clear()
        picture.objects.clear()
        return self._describe(key, 0.0)

    def _drawn(self, key: str) -> Uint8Array:
        return _draw(self._get(key))

    def _records(self, key: str) -> list[dict[str, Any]]:
        picture = self._get(key)
        height, width = picture.image_rgb.shape[:2]
        pairs = zip(picture.prompts, picture.objects, strict=True)
        return [
            {
                "file_name": picture.name,
                **prediction_record(prediction, 0, prompt, (height, width)),
            }
            for prompt, prediction in pairs
        ]

    def _file_stem(self, key: str) -> str:
        return Path(self._get(key).name).stem

    def _get(self, key: str) -> OpenPicture:
        if key not in self._pictures:
            raise UnknownPictureError("this picture is no longer kept; open it again")
        self._pictures.move_to_end(key)
        return self._pictures[key]

    def _forget_old(self) -> None:
        while len(self._pictures) > 1:
            total = sum(picture.image_rgb.nbytes for picture in self._pictures.values())
            if total <= MAX_KEPT_BYTES and len(self._pictures) <= MAX_KEPT:
                return
            self._pictures.popitem(last=False)

    def _find(self, key: str) -> dict[str, Any]:
        picture = self._get(key)
        start_s = time.perf_counter()
        detections = self._detect(picture)
        likely = np.flatnonzero(detections.scores >= self._predictor.min_score)
        found = self._predictor.segment_found(picture.embedding, detections.select(likely))
        picture.prompts.clear()
        picture.objects.clear()
        for row, prompt in enumerate(detections_to_prompts(found.detections)):
            self._add(picture, found.prediction, row, prompt)
        return self._describe(key, time.perf_counter() - start_s)

    def _detect(self, picture: OpenPicture) -> Detections:
        if picture.found is None:
            least = min(MIN_CLICKED_SCORE, self._predictor.min_score)
            picture.found = self._predictor.detect(picture.image_rgb, min_score=least)
        return picture.found

    def _add(
        self, picture: OpenPicture, prediction: Prediction, row: int, prompt: BoxPrompt
    ) -> None:
        picture.prompts.append(prompt)
        picture.objects.append(prediction.select(np.array([row])))

    def _boxes_around(self, picture: OpenPicture, x: float, y: float) -> FloatArray:
        height, width = picture.image_rgb.shape[:2]
        half = np.array(CLICK_SHARES)[:, None] * max(min(height, width), 8) / 2
        point = np.array([[x, y]])
        squares = np.concatenate((point - half, point + half), axis=1)
        boxes = [squares.clip(0, [width, height] * 2)]
        if self._predictor.has_detector:
            found = self._detect(picture)
            low, high = found.boxes_xyxy[:, :2], found.boxes_xyxy[:, 2:]
            boxes.append(found.boxes_xyxy[((low <= point) & (point < high)).all(axis=1)])
        return np.concatenate(boxes).astype(np.float32)

    def _describe(self, key: str, elapsed_s: float) -> dict[str, Any]:
        picture = self._get(key)
        height, width = picture.image_rgb.shape[:2]
        objects = []
        for prompt, prediction in zip(picture.prompts, picture.objects, strict=True):
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
            "name": picture.name,
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


def _draw(picture: OpenPicture) -> Uint8Array:
    visible = [one.visible_masks[0] for one in picture.objects if one.visible_masks]
    labels = [
        format_label(i, "", float(one.occlusion_ratio[0])) for i, one in enumerate(picture.objects)
    ]
    return draw_overlay(
        picture.image_rgb,
        [one.amodal_masks[0] for one in picture.objects],
        visible if len(visible) == len(picture.objects) else None,
        prompts_to_boxes(picture.prompts),
        labels,
    )
