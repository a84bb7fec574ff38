"""The jobs of the worker's thread: answer boxes, answer a call, encode ahead."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sameo_model.runtime import Embedding, Predictor
from sameo_model.runtime.types import ImageHW
from sameo_ros.core.answer import Answer
from sameo_ros.core.answering import build_answer, choose_boxes
from sameo_ros.core.frame_cache import Boxes, DropCause, Frame, FrameCache
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.statistics import Statistics
from sameo_ros.messages.conversions import image_to_rgb
from sameo_ros.messages.detections import detections_to_boxes

_LOGGER = logging.getLogger(__name__)


class UnreadableImageError(ValueError):
    """An image message that cannot be turned into pixels."""


@dataclass(eq=False)
class Camera:
    """One camera's share of the work.

    Attributes:
        name: Its name, "" where there is only one.
        read_image: Turns an image message into uint8 (H, W, 3), RGB, or raises ValueError.
        read_depth: Finds the depth of a frame of a size, if there is any; never raises.
        deliver: Publishes an answer to a frame, with the parameters of that moment.
        statistics: Its counters.
        cache: Its frames and waiting boxes.
    """

    name: str
    read_image: Callable[[Any], Any]
    read_depth: Callable[[Frame, ImageHW, SameoParameters], SceneDepth | None]
    deliver: Callable[[Frame, Answer, SameoParameters], None]
    statistics: Statistics
    cache: FrameCache


@dataclass(frozen=True, eq=False)
class Request:
    """A call of the service.

    Attributes:
        camera: Whose statistics and latest frame to use.
        image: The image message, or None for the latest frame.
        detections: The detections message.
        reply: Called once, from any thread, with image message and answer, or with one sentence
            about what went wrong.
    """

    camera: Camera
    image: Any | None
    detections: Any
    reply: Callable[[tuple[Any, Answer] | str], None]


class ModelJobs:
    """Runs one loaded model; all methods belong to the worker's thread and never raise.

    Attributes:
        parameters: Replace it as a whole to change what the next job does.
    """

    def __init__(
        self,
        predictor: Predictor,
        parameters: SameoParameters,
        problems: ProblemLog,
        lock: threading.Condition,
    ) -> None:
        """Take over a model.

        Args:
            predictor: The model.
            parameters: Values that count from the next job on.
            problems: Where complaints go.
            lock: Guards the cameras' caches.
        """
        self.parameters = parameters
        self._predictor = predictor
        self._problems = problems
        self._lock = lock

    def answer_boxes(
        self,
        camera: Camera,
        frame: Frame,
        boxes: Boxes,
        active: Collection[Camera],
        delivering: threading.Lock,
    ) -> None:
        """Answer boxes of a frame and deliver the answer.

        Args:
            camera: Whose frame it is.
            frame: The image.
            boxes: Its boxes.
            active: The cameras that are answered at the moment of delivery; may change meanwhile.
            delivering: Held while the answer goes out, so that a deactivated node stays quiet.
        """
        try:
            embedding, encode_ms = self._embedding_of(camera, frame)
            answer, decode_ms = self._decode(camera, embedding, boxes.message, frame)
            with delivering:
                if camera not in active:
                    camera.statistics.count(DropCause.LATE.value)
                    return
                started_s = time.monotonic()
                camera.deliver(frame, answer, self.parameters)
            ended_s = time.monotonic()
        except UnreadableImageError as error:
            camera.statistics.count(DropCause.UNMATCHED.value)
            self._report("image", f"boxes are dropped: {error}", camera)
        except Exception as error:  # one bad message must not end the thread
            _LOGGER.exception("boxes cannot be answered")
            camera.statistics.count(DropCause.FAILED.value)
            self._report("failed", f"boxes cannot be answered: {error}", camera)
        else:
            camera.statistics.count("masks_published")
            camera.statistics.record("latency_publish", (ended_s - started_s) * 1e3)
            answer_ms = (ended_s - max(frame.received_s, boxes.received_s)) * 1e3
            camera.statistics.record("latency_answer", answer_ms)
            camera.statistics.record("overhead", answer_ms - encode_ms - decode_ms)

    def answer_request(self, request: Request) -> None:
        """Answer a call of the service."""
        camera = request.camera
        with self._lock:
            latest = camera.cache.latest
        try:
            if request.image is not None:
                image = request.image
                embedding, frame = self._predictor.encode(image_to_rgb(image)), None
            elif latest is not None:
                image = latest.message
                embedding, frame = self._embedding_of(camera, latest)[0], latest
            else:
                request.reply("no image was given and no camera frame has come yet")
                return
            answer, _ = self._decode(camera, embedding, request.detections, frame)
        except Exception as error:  # the caller hears about it; the thread goes on
            request.reply(f"the image cannot be segmented: {error}")
        else:
            request.reply((image, answer))

    def encode_ahead(self, camera: Camera, frame: Frame) -> None:
        """Encode a frame before its boxes come."""
        try:
            self._embedding_of(camera, frame)
        except UnreadableImageError as error:
            self._report("image", str(error), camera)
        except Exception as error:  # one bad message must not end the thread
            _LOGGER.exception("an image cannot be encoded")
            self._forget(camera, frame)
            self._report("failed", f"an image cannot be encoded: {error}", camera)

    def close(self) -> None:
        """Free the model."""
        self._predictor.close()

    def _embedding_of(self, camera: Camera, frame: Frame) -> tuple[Embedding, float]:
        """Return a frame's embedding and what it cost now, milliseconds."""
        if frame.embedding is not None:
            return frame.embedding, 0.0
        try:
            image_rgb = camera.read_image(frame.message)
        except ValueError as error:
            self._forget(camera, frame)
            camera.statistics.count("images_rejected")
            raise UnreadableImageError(str(error)) from error
        started_s = time.monotonic()
        embedding = self._predictor.encode(image_rgb)
        encode_ms = (time.monotonic() - started_s) * 1e3
        camera.statistics.record("latency_encode", encode_ms)
        with self._lock:
            camera.cache.keep_embedding(frame, embedding)
        return embedding, encode_ms

    def _decode(
        self, camera: Camera, embedding: Embedding, message: Any, frame: Frame | None
    ) -> tuple[Answer, float]:
        """Answer a detections message; also return the milliseconds inside the model."""
        parameters = self.parameters
        detections = detections_to_boxes(message)
        chosen = choose_boxes(detections, embedding.image_hw, parameters)
        if chosen.complaints:
            camera.statistics.count("boxes_rejected", len(chosen.complaints))
            self._report("boxes", chosen.complaints[0], camera)
        started_s = time.monotonic()
        prediction = self._predictor.decode(
            embedding, chosen.boxes_xyxy, visible=parameters.visible
        )
        decode_ms = (time.monotonic() - started_s) * 1e3
        camera.statistics.record("latency_decode", decode_ms)
        image_hw = embedding.image_hw
        depth = camera.read_depth(frame, image_hw, parameters) if frame else None
        return build_answer(detections, chosen.indices, prediction, image_hw, depth), decode_ms

    def _forget(self, camera: Camera, frame: Frame) -> None:
        with self._lock:
            camera.cache.remove(frame)

    def _report(self, kind: str, sentence: str, camera: Camera) -> None:
        self._problems.report(kind, sentence, time.monotonic(), source=camera.name)
