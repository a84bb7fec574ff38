"""The thread that owns the model: it loads, encodes, decodes and delivers."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sameo_model.runtime.clicks import Clicks
from sameo_ros.core.answer import Answer
from sameo_ros.core.camera import (
    Camera,
    answer_frame,
    count_drops,
    encode_frame,
    errors_reported,
    failures_counted,
    pixels_of,
)
from sameo_ros.core.frame_cache import Boxes, DropCause, Frame
from sameo_ros.core.model_loading import ModelState, ModelStatus, load_segmenter
from sameo_ros.core.segmenter import Segmenter
from sameo_ros.core.settings import SameoParameters, SettingsHolder

Job = Callable[[], None]

WORKER_THREAD = "sameo_worker"
_STOP_S = 2.0
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Request:
    """A call of the service."""

    camera: Camera  # whose port and latest frame to use
    frame: Frame | None  # the image that was given, or None for the latest frame
    detections: Any  # the detections message
    # called once, from any thread, with frame and answer, or with one sentence about what went
    # wrong
    reply: Callable[[tuple[Frame, Answer] | str], None]
    clicks: Clicks | None = None  # clicks beside the boxes, pixels of the image, or None


class Worker:
    """Runs the model in one thread: calls first, then waiting boxes, then encoding ahead.

    The built-in detector, where it is asked for, searches the latest frame when no boxes wait.

    Several cameras take turns. But for `stop` all methods return at once; they may be called from
    any thread. Its thread alone changes the model's state, and reads the settings once for each
    job, when it starts.
    """

    def __init__(self, settings: SettingsHolder) -> None:
        """Prepare; `start` starts the thread.

        Args:
            settings: The current settings; call `wake` after a change.
        """
        self._settings = settings
        self._model = ModelStatus()
        self._segmenter: Segmenter | None = None
        self._cameras: list[Camera] = []
        self._turn = 0
        self._requests: deque[Request] = deque()
        self._is_started = False
        self._is_stopping = False
        self._changed = threading.Condition()
        self._delivering = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=WORKER_THREAD, daemon=True)

    @property
    def is_active(self) -> bool:
        """Whether it answers for any camera."""
        return bool(self._cameras)

    @property
    def model(self) -> ModelStatus:
        """State of the model that the settings name."""
        model = self._model
        if not self._is_started:
            return ModelStatus()
        if model.values != self._settings.current.model_values:
            return ModelStatus(state=ModelState.LOADING)
        return model

    def start(self) -> None:
        """Start the thread, which loads the model first."""
        self._is_started = True
        self._thread.start()

    def stop(self) -> None:
        """Finish the current job, free the model and end the thread.

        Building a model may take minutes; after two seconds `stop` returns without waiting for it.
        """
        self.deactivate()
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def describe(self) -> str:
        """Describe the state of the model."""
        model = self.model
        reason = f": {model.reason}" if model.reason else ""
        return f"model {self._settings.current.model} is {model.state.value}{reason}"

    def wake(self) -> None:
        """Look at the settings again; another model is loaded in the background."""
        with self._changed:
            self._changed.notify()

    def activate(self, cameras: Sequence[Camera]) -> None:
        """Begin to answer for these cameras."""
        with self._changed:
            self._cameras = list(cameras)

    def deactivate(self) -> None:
        """Answer nothing more; what waits is dropped, and so is the current answer."""
        with self._delivering, self._changed:
            for camera in self._cameras:
                camera.cache.clear()
                self._count_drops(camera)
            self._cameras.clear()
            requests = list(self._requests)
            self._requests.clear()
        for request in requests:
            request.reply("the node was deactivated before it could answer")

    def add_image(self, camera: Camera, stamp_ns: int, message: Any) -> None:
        """Keep an image that has just come."""
        with self._changed:
            if camera not in self._cameras:
                return
            settings = self._settings.current
            went_back = camera.cache.add_image(stamp_ns, message, time.monotonic(), settings)
            self._count_drops(camera)
            self._changed.notify()
        if went_back:
            camera.record.statistics.count("time_jumps")

    def add_boxes(self, camera: Camera, stamp_ns: int, message: Any) -> None:
        """Let boxes that have just come wait for an answer."""
        with self._changed:
            if camera not in self._cameras:
                return
            camera.record.statistics.count("detections_received")
            settings = self._settings.current
            camera.cache.add_boxes(stamp_ns, message, time.monotonic(), settings)
            self._count_drops(camera)
            self._changed.notify()

    def add_depth(self, camera: Camera, stamp_ns: int | None) -> None:
        """Note depth that has just come, or None if boxes need not wait for depth."""
        with self._changed:
            camera.cache.add_depth(stamp_ns)
            self._changed.notify()

    def add_request(self, request: Request) -> None:
        """Let a call wait for its turn."""
        with self._changed:
            if request.camera in self._cameras:
                self._requests.append(request)
                self._changed.notify()
                return
        request.reply(f"the node is not active ({self.describe()}); activate it first")

    def _run(self) -> None:
        while True:
            with self._changed:
                job = self._next_job()
                while job is None and not self._is_stopping:
                    self._changed.wait(self._waiting_time_s())
                    job = self._next_job()
                if job is None:
                    break
            job()
        self._close_model()

    def _next_job(self) -> Job | None:
        if self._is_stopping:
            return None
        settings = self._settings.current
        if settings.model_values != self._model.values:
            return lambda: self._load_model(settings)
        segmenter = self._segmenter
        if segmenter is None or not self._cameras:
            return None
        if self._requests:
            request = self._requests.popleft()
            return lambda: self._answer_request(segmenter, request, settings)
        return self._next_camera_job(segmenter, settings)

    def _next_camera_job(self, segmenter: Segmenter, settings: SameoParameters) -> Job | None:
        """Find boxes to answer, else a frame to encode, beginning with the camera that is next."""
        now_s = time.monotonic()
        turn = self._turn % len(self._cameras)
        in_turn = self._cameras[turn:] + self._cameras[:turn]
        for camera in in_turn:
            ready = camera.cache.take_ready(now_s, settings)
            self._count_drops(camera)
            if ready is not None:
                self._turn = self._cameras.index(camera) + 1
                frame, boxes = ready
                return lambda: self._answer_boxes(segmenter, camera, frame, boxes, settings)
        for camera in in_turn if settings.detector == "builtin" else ():
            unsearched = camera.cache.take_unsearched(now_s, settings)
            if unsearched is not None:
                self._turn = self._cameras.index(camera) + 1
                return lambda: self._find_boxes(segmenter, camera, unsearched, settings)
        for camera in in_turn if segmenter.encodes_image else ():
            ahead = camera.cache.find_ahead(now_s, settings)
            if ahead is not None:
                self._turn = self._cameras.index(camera) + 1
                return lambda: self._encode_ahead(segmenter, camera, ahead, settings)
        return None

    def _waiting_time_s(self) -> float | None:
        settings = self._settings.current
        deadlines = [camera.cache.next_deadline_s(settings) for camera in self._cameras]
        known = [deadline for deadline in deadlines if deadline is not None]
        return max(min(known) - time.monotonic(), 0.001) if known else None

    def _answer_boxes(
        self,
        segmenter: Segmenter,
        camera: Camera,
        frame: Frame,
        boxes: Boxes,
        settings: SameoParameters,
    ) -> None:
        """Answer boxes of a frame and deliver the answer, unless the node was deactivated."""
        statistics = camera.record.statistics
        with failures_counted(camera.record):
            answer = answer_frame(segmenter, camera.port, frame, boxes.message, settings)
            with self._delivering:
                if camera not in self._cameras:
                    statistics.count(DropCause.LATE.value)
                    return
                started_s = time.monotonic()
                camera.port.deliver(frame, answer, settings)
            ended_s = time.monotonic()
            statistics.count("masks_published")
            statistics.record("latency_publish", (ended_s - started_s) * 1e3)
            answer_ms = (ended_s - max(frame.received_s, boxes.received_s)) * 1e3
            statistics.record("latency_answer", answer_ms)
            statistics.record("overhead", answer_ms - answer.encode_ms - answer.decode_ms)
        frame.image_rgb = None
        self._trim(camera, settings)

    def _answer_request(
        self, segmenter: Segmenter, request: Request, settings: SameoParameters
    ) -> None:
        """Answer a call of the service."""
        camera = request.camera
        with self._changed:
            frame = request.frame or camera.cache.latest
        if frame is None:
            request.reply("no image was given and no camera frame has come yet")
            return
        age_s = time.monotonic() - frame.received_s
        if request.frame is None and age_s > settings.segment_max_age_s:
            request.reply(
                f"the latest frame came {age_s:.1f} s ago, longer than segment_max_age_s, "
                f"{settings.segment_max_age_s:g} s; check the camera, or raise it"
            )
            return
        # The caller's boxes are in pixels of its image, and all of them are wanted.
        settings = dataclasses.replace(
            settings, detections_frame="image", classes=("",), min_detection_score=0.0
        )
        try:
            answer = answer_frame(
                segmenter, camera.port, frame, request.detections, settings, request.clicks
            )
        except Exception as error:  # reported to the caller; the thread goes on
            request.reply(f"the image cannot be segmented: {error}")
        else:
            request.reply((frame, answer))
        self._trim(camera, settings)

    def _find_boxes(
        self, segmenter: Segmenter, camera: Camera, frame: Frame, settings: SameoParameters
    ) -> None:
        """Search a frame; what is found comes back as boxes that wait."""
        with errors_reported(camera.record, "searched"):
            found = segmenter.find(pixels_of(camera.port, frame), settings)
            with self._delivering:
                if camera in self._cameras:
                    with self._changed:
                        camera.cache.await_found(frame.stamp_ns, time.monotonic())
                    camera.port.publish_found(frame, found)

    def _encode_ahead(
        self, segmenter: Segmenter, camera: Camera, frame: Frame, settings: SameoParameters
    ) -> None:
        """Encode a frame before its boxes come."""
        with errors_reported(camera.record, "encoded"):
            encode_frame(segmenter, camera.port, frame)
        self._trim(camera, settings)

    def _trim(self, camera: Camera, settings: SameoParameters) -> None:
        with self._changed:
            camera.cache.trim(settings)

    def _count_drops(self, camera: Camera) -> None:
        count_drops(camera.record, camera.cache.take_drops(), self._settings.current)

    def _load_model(self, settings: SameoParameters) -> None:
        loading = ModelStatus(settings.model_values, ModelState.LOADING)
        self._model = loading

        def note(progress: str) -> None:
            self._model = replace(loading, reason=progress)

        try:
            self._close_model()
            self._segmenter, self._model = load_segmenter(settings, note)
        except (Exception, KeyboardInterrupt) as error:  # any error of a backend
            _LOGGER.warning("model cannot be loaded: %s", error)
            self._model = replace(loading, state=ModelState.FAILED, reason=str(error))

    def _close_model(self) -> None:
        segmenter, self._segmenter = self._segmenter, None
        if segmenter is not None:
            segmenter.close()
