"""Load a model and report its state and progress."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sameo_model.runtime import load_predictor
from sameo_ros.core.segmenter import Segmenter
from sameo_ros.core.settings import SameoParameters


class ModelState(Enum):
    """State of the worker's model."""

    NONE = "not loaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "not usable"


@dataclass(frozen=True)
class ModelStatus:
    """A model that is being loaded, is ready, or cannot be used; replaced as a whole."""

    values: tuple[Any, ...] | None = None  # the settings that it depends on; None before the first
    state: ModelState = ModelState.NONE  # its state
    reason: str = ""  # why the state is FAILED, or how far LOADING is, in one sentence
    name: str = ""  # its name, "" until it is loaded
    backend: str = ""  # name of the backend that runs it
    device: str = ""  # the backend's device
    engine_key: str = ""  # names of the cached engines that run, "" where the backend has none
    encodes_image: bool = True  # whether images can be encoded before their boxes come


def load_segmenter(
    settings: SameoParameters, on_progress: Callable[[str], None]
) -> tuple[Segmenter, ModelStatus]:
    """Load the model of the settings.

    Args:
        settings: Model, backend and its options count.
        on_progress: Called with what the runtime logs meanwhile, such as the progress of an engine.

    Raises:
        Exception: Whatever a backend raises if the model cannot be used.
    """
    library, progress = logging.getLogger("sameo_model"), _Forwarder(on_progress)
    library.addHandler(progress)
    try:
        predictor = load_predictor(settings.model, settings.backend, **settings.model_options)
    finally:
        library.removeHandler(progress)
    if settings.detector == "builtin" and not predictor.has_detector:
        predictor.close()
        raise ValueError(
            f"detector is builtin, but model {predictor.name} has no detector; choose another "
            "model, or set detector to topic"
        )
    segmenter, backend = Segmenter(predictor), predictor.backend
    return segmenter, ModelStatus(
        values=settings.model_values,
        state=ModelState.READY,
        name=predictor.name,
        backend=backend.name,
        device=backend.device,
        engine_key=backend.engine_key,
        encodes_image=segmenter.encodes_image,
    )


class _Forwarder(logging.Handler):
    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(record.getMessage())
