"""The one thread that owns the model: it loads, encodes, decodes and delivers."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sameo_model.runtime import load_predictor
from sameo_model.runtime.types import ImageHW
from sameo_ros.core.answer import Answer
from sameo_ros.core.frame_cache import DropCause, Frame, FrameCache
from sameo_ros.core.model_jobs import Camera, ModelJobs, Request
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.statistics import Statistics

Job = Callable[[], None]

WORKER_THREAD = "sameo_worker"
_STOP_S = 2.0

_EXPLANATIONS = {
    DropCause.UNMATCHED: "no usable image of that stamp came; the detector must copy the image's "
    "header, and images and boxes must arrive within max_wait_s",
    DropCause.LATE: "their image is not kept any more; raise max_age_s above the detector's time",
}


class ModelState(Enum):
    """Where the worker stands with its model."""

    NONE = "not loaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "not usable"


@dataclass(frozen=True)
class NodeStatus:
    """Where the node stands.

    Attributes:
        is_active: Whether it answers.
        has_failed: Whether the model could not be loaded.
        description: Where the model stands, in words.
        model: Name of the loaded model, "" without.
        backend: Name of the backend that runs it, "" without.
        device: The backend's device in words, "" without.
        engine_key: Names of the cached engines that run, "" without.
        problem: The latest recent problem, "" without.
    """

    is_active: bool
    has_failed: bool
    description: str
    model: str
    backend: str
    device: str
    engine_key: str
    problem: str


class Worker:
    """Runs the model in one thread: calls first, then waiting boxes, then encoding ahead.

    Several cameras take turns. But for `stop` all methods return at once; they may be called from
    any thread.

    Attributes:
        state: Where it stands with the model.
        reason: Why the state is FAILED, or how far LOADING is, in one sentence.
        model_name: Name of the loaded model.
        backend_name: Name of the backend that runs it.
        device: The backend's device in words.
        engine_key: Names of the cached engines that run, "" where the backend has none.
    """

    def __init__(self, parameters: SameoParameters, problems: ProblemLog) -> None:
        """Prepare; `start` starts the thread."""
        self.state = ModelState.NONE
        self.reason = ""
        self.model_name = ""
        self.backend_name = ""
        self.device = ""
        self.engine_key = ""
        self._parameters = parameters
        self._problems = problems
        self._jobs: ModelJobs | None = None
        self._loaded_values: tuple[Any, ...] | None = None
        self._cameras: list[Camera] = []
        self._turn = 0
        self._requests: deque[Request] = deque()
        self._is_stopping = False
        self._changed = threading.Condition()
        self._delivering = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=WORKER_THREAD, daemon=True)

    def start(self) -> None:
        """Start the thread, which loads the model first."""
        self.state = ModelState.LOADING
        self._thread.start()

    def stop(self) -> None:
        """Finish the job in hand, free the model and end the thread.

        A model that is being built may take minutes; it is left to itself after two seconds.
        """
        self.deactivate()
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def describe(self) -> str:
        """Say in words where it stands with the model."""
        reason = f": {self.reason}" if self.reason else ""
        return f"model {self._parameters.model} is {self.state.value}{reason}"

    def status(self) -> NodeStatus:
        """Say where the node stands."""
        return NodeStatus(
            is_active=bool(self._cameras),
            has_failed=self.state is ModelState.FAILED,
            description=self.describe(),
            model=self.model_name,
            backend=self.backend_name,
            device=self.device,
            engine_key=self.engine_key,
            problem=self._problems.recent(time.monotonic()),
        )

    def build_camera(
        self,
        name: str,
        statistics: Statistics,
        *,
        read_image: Callable[[Any], Any],
        read_depth: Callable[[Frame, ImageHW, SameoParameters], SceneDepth | None],
        deliver: Callable[[Frame, Answer, SameoParameters], None],
    ) -> Camera:
        """Make a camera whose drops are counted and explained."""

        def on_drop(cause: DropCause, stamp_ns: int) -> None:
            statistics.count(cause.value)
            if cause in _EXPLANATIONS:
                sentence = f"boxes of stamp {stamp_ns} ns are dropped: {_EXPLANATIONS[cause]}"
                self._problems.report(cause.value, sentence, time.monotonic(), source=name)

        cache = FrameCache(self._parameters.cache_rules, on_drop)
        return Camera(name, read_image, read_depth, deliver, statistics, cache)

    def activate(self, cameras: Sequence[Camera]) -> None:
        """Begin to answer for these cameras."""
        with self._changed:
            self._cameras = list(cameras)

    def deactivate(self) -> None:
        """Answer nothing more; what waits is dropped, and so is the answer in hand."""
        with self._delivering, self._changed:
            for camera in self._cameras:
                camera.cache.clear()
            self._cameras.clear()
            requests = list(self._requests)
            self._requests.clear()
        for request in requests:
            request.reply("the node was deactivated before it could answer")

    def set_parameters(self, parameters: SameoParameters) -> None:
        """Use other values from the next job on; another model is loaded in the background."""
        with self._changed:
            self._parameters = parameters
            for camera in self._cameras:
                camera.cache.rules = parameters.cache_rules
            if self._jobs is not None:
                self._jobs.parameters = parameters
            if parameters.model_values != self._loaded_values:
                self.state = ModelState.LOADING
            self._changed.notify()

    def add_image(self, camera: Camera, stamp_ns: int, message: Any) -> None:
        """Keep an image that has just come."""
        now_s = time.monotonic()
        with self._changed:
            if camera not in self._cameras:
                return
            went_back = camera.cache.add_image(stamp_ns, message, now_s)
            self._changed.notify()
        if went_back:
            camera.statistics.count("time_jumps")
            sentence = "image stamps went backwards; older frames are forgotten"
            self._problems.report("jump", sentence, now_s, source=camera.name)

    def add_boxes(self, camera: Camera, stamp_ns: int, message: Any) -> None:
        """Let boxes that have just come wait for an answer."""
        with self._changed:
            if camera not in self._cameras:
                return
            camera.statistics.count("detections_received")
            camera.cache.add_boxes(stamp_ns, message, time.monotonic())
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
        if self._parameters.model_values != self._loaded_values:
            return self._load_model
        if self._jobs is None or not self._cameras:
            return None
        if self._requests:
            request, jobs = self._requests.popleft(), self._jobs
            return lambda: jobs.answer_request(request)
        return self._next_camera_job(self._jobs)

    def _next_camera_job(self, jobs: ModelJobs) -> Job | None:
        """Find boxes to answer, else a frame to encode, beginning with the camera that is next."""
        now_s = time.monotonic()
        turn = self._turn % len(self._cameras)
        for camera in self._cameras[turn:] + self._cameras[:turn]:
            ready = camera.cache.take_ready(now_s)
            if ready is not None:
                self._turn = self._cameras.index(camera) + 1
                frame, boxes = ready
                return lambda: jobs.answer_boxes(
                    camera, frame, boxes, self._cameras, self._delivering
                )
        for camera in self._cameras[turn:] + self._cameras[:turn]:
            ahead = camera.cache.find_ahead(now_s)
            if ahead is not None:
                self._turn = self._cameras.index(camera) + 1
                return lambda: jobs.encode_ahead(camera, ahead)
        return None

    def _waiting_time_s(self) -> float | None:
        deadlines = [camera.cache.next_deadline_s() for camera in self._cameras]
        known = [deadline for deadline in deadlines if deadline is not None]
        return max(min(known) - time.monotonic(), 0.001) if known else None

    def _load_model(self) -> None:
        parameters = self._parameters
        self._close_model()
        self._loaded_values = parameters.model_values
        library, progress = logging.getLogger("sameo_model"), _LatestMessage(self)
        library.addHandler(progress)
        try:
            predictor = load_predictor(
                parameters.model, parameters.backend, **parameters.model_options
            )
        except (Exception, KeyboardInterrupt) as error:  # whatever a backend raises
            self._problems.report("model", f"model cannot be loaded: {error}", time.monotonic())
            self.reason, self.state = str(error), ModelState.FAILED
        else:
            self._jobs = ModelJobs(predictor, parameters, self._problems, self._changed)
            self.model_name, self.backend_name = predictor.name, predictor.backend.name
            self.device = predictor.backend.device
            self.engine_key = predictor.backend.engine_key
            self.reason, self.state = "", ModelState.READY
        finally:
            library.removeHandler(progress)

    def _close_model(self) -> None:
        if self._jobs is not None:
            self._jobs.close()
        self._jobs = None


class _LatestMessage(logging.Handler):
    """Keeps what the runtime logs while it loads a model, such as the progress of an engine."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(logging.INFO)
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        self._worker.reason = record.getMessage()
