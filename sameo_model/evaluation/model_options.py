"""The options that name the model and how it runs, the same for every command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.predictions import Clock, PredictionStore, fingerprint_run
from sameo_model.evaluation.predictors import (
    BACKEND_NAMES,
    PRECISIONS,
    describe_predictor,
    open_predictor,
)
from sameo_model.runtime.predictor import Predictor
from sameo_model.runtime.types import FloatArray

DEFAULT_BACKEND = "auto"
NO_MODEL = "none"  # stands for a model where the detections' own masks are scored
_OF_A_MODEL = (
    *("backend", "precision", "framing", "threads", "batch_size", "predictions", "no_rescore"),
)


def add_model_options(parser: argparse.ArgumentParser, extra_help: str = "") -> None:
    """Add `--model`, `--backend`, `--precision`, `--threads` and how predictions are made."""
    add = parser.add_argument
    add(
        "--model",
        metavar="M",
        help="bundle folder or name (default sameo_lite), with --backend torch also a checkpoint"
        + extra_help,
    )
    add("--backend", choices=BACKEND_NAMES, help=f"default: {DEFAULT_BACKEND}")
    add(
        "--precision",
        choices=PRECISIONS,
        help="precision of the model (default: the backend's choice; openvino uses bf16 where the "
        "processor has it and the masks stay the same)",
    )
    add(
        "--framing",
        choices=("image", "window"),
        help="what the model sees: the whole image, or a window around each box (default: what "
        "the model was made for)",
    )
    add("--threads", type=int, metavar="N", help="CPU threads of the model (default: its own)")
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="images encoded together with --backend torch (default: 1)",
    )
    add(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="keep predictions here in shards; an interrupted run continues from them",
    )


def check_model_options(options: argparse.Namespace) -> None:
    """Refuse options of the model that are out of range or would have no effect.

    Raises:
        ValueError: If there is one.
    """
    given = [name for name in _OF_A_MODEL if getattr(options, name, None) not in (None, False)]
    if options.model == NO_MODEL and given:
        option = given[0].replace("_", "-")
        raise ValueError(f"--{option} needs a model, got --model none; leave it out")
    if options.batch_size is not None and options.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {options.batch_size}")
    backend = options.backend or DEFAULT_BACKEND
    if backend != "torch" and (options.batch_size or 1) > 1:
        raise ValueError(f"--batch-size needs --backend torch, got backend {backend}; leave it out")
    if backend == "torch" and options.threads is not None:
        raise ValueError("--threads needs another backend than torch; leave one of them out")


@dataclass(frozen=True)
class ModelRun:
    """An opened model and how it is to be run."""

    predictor: Predictor
    description: Mapping[str, str]  # what tells this model and its way of running from others
    arguments: dict[str, Any]  # for `predict_images`: store, batch size, clock and progress bar


@contextmanager
def open_model(
    options: argparse.Namespace,
    images: Sequence[AmodalImage],
    boxes: Mapping[int, FloatArray],
    clock: Clock,
    points: Mapping[int, FloatArray] | None = None,
) -> Iterator[ModelRun]:
    """Open what the options name, for a run over the given images and boxes.

    Args:
        boxes: float32 (N, 4) by image id, x1, y1, x2, y2 in pixels.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If an option is out of range, or `--predictions` holds another run.
        BackendUnavailableError: If the backend cannot run here.
    """
    with clock.model_time():
        predictor = open_predictor(
            options.model,
            options.backend or DEFAULT_BACKEND,
            threads=options.threads,
            precision=options.precision,
            framing=options.framing,
        )
    with predictor:
        description = describe_predictor(predictor, options.model)
        store = None
        if options.predictions:
            store = PredictionStore(
                options.predictions, fingerprint_run(str(description), images, boxes, points)
            )
        yield ModelRun(
            predictor,
            description,
            {
                "store": store,
                "batch_size": options.batch_size or 1,
                "clock": clock,
                "progress": True,
            },
        )
