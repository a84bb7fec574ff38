"""One loaded model: images and boxes in, answers out. The node, its service and `bag` use it."""

from __future__ import annotations

import dataclasses
import time

from sameo_model.runtime import Embedding, Predictor
from sameo_model.runtime.clicks import Clicks, find_strays
from sameo_model.runtime.types import Detections, Uint8Array
from sameo_ros.core.answer import Answer, DetectedBoxes
from sameo_ros.core.answering import build_answer, choose_boxes
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters


class Segmenter:
    """Answers boxes; belongs to one thread and knows nothing of cameras and topics."""

    def __init__(self, predictor: Predictor) -> None:
        """Take over a model.

        Args:
            predictor: The model; `close` closes it.
        """
        self._predictor = predictor

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._predictor.name

    @property
    def encodes_image(self) -> bool:
        """Whether `encode` does work that is worth doing before the boxes come."""
        return self._predictor.encodes_image

    def encode(self, image_rgb: Uint8Array) -> Embedding:
        """Encode an image.

        Args:
            image_rgb: uint8 (H, W, 3), RGB; any size and strides.

        Raises:
            ValueError: If the image is not such an array with at least one pixel.
        """
        return self._predictor.encode(image_rgb)

    def find(self, image_rgb: Uint8Array, settings: SameoParameters) -> Detections:
        """Find the boxes of an image with the model's own detector.

        Args:
            image_rgb: uint8 (H, W, 3), RGB; any size and strides.
            settings: `max_boxes` and `min_detection_score` count; a score of 0 leaves the choice to
                the model.

        Raises:
            ValueError: If the model has no detector.
        """
        return self._predictor.detect(
            image_rgb,
            max_boxes=settings.max_boxes,
            min_score=settings.min_detection_score or None,
        )

    def answer(
        self,
        embedding: Embedding,
        detections: DetectedBoxes,
        settings: SameoParameters,
        depth: SceneDepth | None = None,
        clicks: Clicks | None = None,
    ) -> Answer:
        """Answer the boxes of an image.

        Args:
            embedding: What `encode` returned for the image.
            detections: Boxes in pixels of the image; those that cannot be used are left out.
            settings: `min_detection_score`, `max_boxes` and `visible` count.
            depth: Depth of the image, where there is any; it rules out some occluders.
            clicks: Clicks beside all of the boxes, pixels of the image, where there are any.

        Returns:
            The masks, with the time that the decoder took.

        Raises:
            ValueError: If a click is not on its box, or the model takes none.
        """
        image_hw = embedding.image_hw
        chosen = choose_boxes(detections, image_hw, settings)
        prompts = {}
        if clicks is not None:
            clicks = Clicks(clicks.points_xy[chosen.indices], clicks.labels[chosen.indices])
            strays = find_strays(clicks, chosen.boxes_xyxy, self._predictor.framing, image_hw)
            if strays:
                row = min(strays)
                raise ValueError(f"box {chosen.indices[row]} {strays[row]}; check point_boxes")
            prompts = {"points_xy": clicks.points_xy, "point_labels": clicks.labels}
        started_s = time.monotonic()
        prediction = self._predictor.decode(
            embedding, chosen.boxes_xyxy, visible=settings.visible, **prompts
        )
        decode_ms = (time.monotonic() - started_s) * 1e3
        answer = build_answer(detections, chosen.indices, prediction, image_hw, depth)
        return dataclasses.replace(answer, complaints=tuple(chosen.complaints), decode_ms=decode_ms)

    def close(self) -> None:
        """Free the model."""
        self._predictor.close()
