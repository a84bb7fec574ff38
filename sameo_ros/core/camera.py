"""One camera: its port, its frames, and how a frame is answered."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sameo_model.runtime import Embedding
from sameo_model.runtime.clicks import Clicks
from sameo_model.runtime.types import Detections, ImageHW, Uint8Array
from sameo_ros.core.answer import Answer, DetectedBoxes
from sameo_ros.core.frame_cache import MAX_CACHED_MIB, Drop, DropCause, Frame, FrameCache, Loss
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.segmenter import Segmenter
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.statistics import Statistics

_LOGGER = logging.getLogger(__name__)


class UnreadableMessageError(ValueError):
    """An image message that cannot be turned into pixels."""


@dataclass(frozen=True, eq=False)
class CameraRecord:
    """What is counted and complained about for one camera."""

    name: str  # the camera's name, "" where there is only one
    statistics: Statistics  # its counters
    problems: ProblemLog  # its complaints


class CameraPort(Protocol):
    """What reads a camera's messages and delivers its answers; the worker's thread calls it."""

    record: CameraRecord

    def read_image(self, message: Any) -> Uint8Array:
        """Return the pixels of an image message as RGB; ValueError says why it cannot."""
        ...

    def read_detections(
        self, message: Any, image_hw: ImageHW, settings: SameoParameters
    ) -> DetectedBoxes:
        """Return the boxes of a detections message, in pixels of the image."""
        ...

    def read_depth(
        self, frame: Frame, image_hw: ImageHW, settings: SameoParameters
    ) -> SceneDepth | None:
        """Return the depth of a frame, or None if there is none that can be used."""
        ...

    def deliver(self, frame: Frame, answer: Answer, settings: SameoParameters) -> None:
        """Hand out an answer."""
        ...


class SearchedCameraPort(CameraPort, Protocol):
    """A port of a camera whose frames the built-in detector may search."""

    def publish_found(self, frame: Frame, found: Detections) -> None:
        """Publish what was found; it comes back as a detections message."""
        ...


@dataclass(eq=False)
class Camera:
    """A camera that the worker serves."""

    port: SearchedCameraPort  # what reads and delivers
    cache: FrameCache = field(default_factory=FrameCache)  # its frames and waiting boxes

    @property
    def record(self) -> CameraRecord:
        """What is counted and complained about."""
        return self.port.record


def pixels_of(port: CameraPort, frame: Frame) -> Uint8Array:
    """Return the pixels of a frame, which keeps them until it is delivered.

    Raises:
        UnreadableMessageError: If the message cannot be read; the frame remembers it.
    """
    if frame.fault:
        raise UnreadableMessageError(frame.fault)
    if frame.image_rgb is None:
        try:
            frame.image_rgb = port.read_image(frame.message)
        except ValueError as error:
            frame.fault = str(error)
            port.record.statistics.count("images_rejected")
            raise UnreadableMessageError(frame.fault) from error
    return frame.image_rgb


def encode_frame(segmenter: Segmenter, port: CameraPort, frame: Frame) -> tuple[Embedding, float]:
    """Return the embedding of a frame, which keeps it, and what it cost now, milliseconds.

    Raises:
        UnreadableMessageError: If the message cannot be read.
    """
    if frame.embedding is not None:
        return frame.embedding, 0.0
    image_rgb = pixels_of(port, frame)
    started_s = time.monotonic()
    try:
        frame.embedding = segmenter.encode(image_rgb)
    except Exception as error:
        frame.fault = f"it cannot be encoded: {error}"
        raise
    encode_ms = (time.monotonic() - started_s) * 1e3
    port.record.statistics.record("latency_encode", encode_ms)
    return frame.embedding, encode_ms


def answer_frame(
    segmenter: Segmenter,
    port: CameraPort,
    frame: Frame,
    message: Any,
    settings: SameoParameters,
    clicks: Clicks | None = None,
) -> Answer:
    """Answer a detections message about a frame, with clicks beside its boxes or without.

    Raises:
        UnreadableMessageError: If the image message cannot be read.
        ValueError: If the clicks cannot be used.
    """
    embedding, encode_ms = encode_frame(segmenter, port, frame)
    detections = port.read_detections(message, embedding.image_hw, settings)
    depth = port.read_depth(frame, embedding.image_hw, settings)
    answer = segmenter.answer(embedding, detections, settings, depth, clicks)
    record = port.record
    record.statistics.record("latency_decode", answer.decode_ms)
    image_frame, boxes_frame = frame.message.header.frame_id, message.header.frame_id
    if image_frame and boxes_frame and image_frame != boxes_frame:
        sentence = (
            f"detections must have the frame_id of their image, {image_frame!r}, got "
            f"{boxes_frame!r}; they may be of another camera: check the topics, or let the "
            "detector copy the header of its image"
        )
        record.problems.report("frame_id", sentence, time.monotonic())
    if depth is not None and depth.complaint:
        record.problems.report("depth", depth.complaint, time.monotonic())
    if answer.detections.has_percent:
        sentence = "detection scores above 1 count as percentages and are divided by 100"
        record.problems.report("scores", sentence, time.monotonic())
    if answer.complaints:
        record.statistics.count("boxes_rejected", len(answer.complaints))
        record.problems.report("boxes", answer.complaints[0], time.monotonic())
    return dataclasses.replace(answer, encode_ms=encode_ms)


@contextmanager
def failures_counted(record: CameraRecord) -> Iterator[None]:
    """Catch, count and report errors of a block that answers boxes."""
    try:
        yield
    except UnreadableMessageError as error:
        record.statistics.count(DropCause.UNMATCHED.value)
        record.problems.report("image", f"boxes are dropped: {error}", time.monotonic())
    except Exception as error:  # one bad message must not end the thread
        record.statistics.count(DropCause.FAILED.value)
        _report_failure(record, "boxes cannot be answered", error)


@contextmanager
def errors_reported(record: CameraRecord, what: str) -> Iterator[None]:
    """Catch and report errors of a block in which an image is "encoded" or "searched"."""
    try:
        yield
    except UnreadableMessageError as error:
        record.problems.report("image", str(error), time.monotonic())
    except Exception as error:  # one bad message must not end the thread
        _report_failure(record, f"an image cannot be {what}", error)


def _report_failure(record: CameraRecord, failure: str, error: Exception) -> None:
    """Report the error that is being handled; the traceback is logged as often as the sentence."""
    if record.problems.report("failed", f"{failure}: {error}", time.monotonic()):
        _LOGGER.exception(failure)


def count_drops(record: CameraRecord, drops: list[Drop], settings: SameoParameters) -> None:
    """Count boxes that were given up, and say why."""
    for drop in drops:
        record.statistics.count(drop.cause.value)
        reason = _explain(drop, settings)
        if reason:
            sentence = f"boxes of stamp {drop.stamp_ns} ns are dropped: {reason}"
            record.problems.report(drop.cause.value, sentence, time.monotonic())


def _explain(drop: Drop, settings: SameoParameters) -> str:
    """Return why boxes were given up, or "" where that needs no explanation."""
    if drop.is_early:
        return ""
    if drop.cause is DropCause.UNMATCHED:
        return (
            f"no usable image of that stamp came within max_wait_s, {settings.max_wait_s:g} s: it "
            "was not sent, is lost or late, or the detector does not copy its header"
        )
    if drop.loss is Loss.JUMP:
        return "their image was dropped when the stamps of images went backwards"
    if drop.loss is Loss.MEMORY:
        return (
            f"their image was dropped because {MAX_CACHED_MIB} MiB of images were waiting; lower "
            "the rate or size of images, or use compressed images"
        )
    if drop.loss is Loss.AGE:
        return (
            f"they came {drop.behind_s:.1f} s after their image, which is kept for max_age_s, "
            f"{settings.max_age_s:g} s; raise max_age_s above the detector's latency"
        )
    return ""
