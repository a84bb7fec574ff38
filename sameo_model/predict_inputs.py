"""What `predict` works with: boxes in any form, clicks, and the model."""

from __future__ import annotations

import argparse
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from sameo_model.runtime import Predictor, load_predictor
from sameo_model.runtime.box_parsing import parse_points, read_boxes
from sameo_model.runtime.box_source import BoxSource
from sameo_model.runtime.image_boxes import BoxedImages

FRONT_END_SUFFIXES = (".pkl", ".pickle", ".pth", ".pt")
CHECKPOINT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth")


def read_source(options: argparse.Namespace) -> BoxSource:
    """Read the boxes, those of front ends' own files among them.

    Raises:
        OSError: If a file does not exist.
        ValueError: If it has none of the known forms.
        RuntimeError: If its form needs a package that is not installed.
    """
    if Path(options.boxes).suffix.lower() in FRONT_END_SUFFIXES:
        _check_form(options, "a front end's file", names="a front end's file")
        front_ends = _import_extra("sameo_model.evaluation.front_ends.boxes", "reading that file")
        return front_ends.read_front_end_boxes(Path(options.boxes), options.annotations)
    source = read_boxes(options.boxes, options.prompts or "visible", options.box_format or "xywh")
    _check_form(options, source.form)
    if options.annotations is None:
        return source
    front_ends = _import_extra("sameo_model.evaluation.front_ends.boxes", "--annotations")
    labels = front_ends.read_labels(options.annotations)
    return source.name_images(labels.images, labels.categories)


def _check_form(options: argparse.Namespace, form: str, names: str = "COCO results") -> None:
    """Refuse options that these boxes would ignore."""
    users = {"prompts": "amodal COCO", "box_format": "COCO results", "annotations": names}
    for name, user in users.items():
        if getattr(options, name) is not None and form != user:
            raise ValueError(
                f"--{name.replace('_', '-')} belongs to boxes in the form of {user}, but these are "
                f"{form}; leave it out"
            )


def _import_extra(module: str, need: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeError(
            f"{need} needs the package {error.name}, which is not installed; install sameo_model "
            "with the extra 'train'"
        ) from error


def open_model(options: argparse.Namespace) -> Predictor:
    """Open the model that the options name, a checkpoint with PyTorch."""
    if Path(options.model or "").suffix.lower() in CHECKPOINT_SUFFIXES:
        if options.backend not in ("auto", "torch"):
            raise ValueError(
                f"--backend must be torch for a checkpoint, got {options.backend}; export "
                f"{options.model} to a bundle first (python -m sameo_model.export)"
            )
        predictors = _import_extra("sameo_model.evaluation.predictors", "a checkpoint")
        _import_extra("torch", f"checkpoint {options.model}")
        return predictors.open_predictor(
            options.model,
            "torch",
            threads=options.threads,
            precision=options.precision,
            framing=options.framing,
        )
    return load_predictor(
        options.model,
        options.backend,
        precision=options.precision,
        threads=options.threads,
        framing=options.framing,
    )


def add_points(matched: BoxedImages, text: str, *, is_alone: bool) -> BoxedImages:
    """Give the boxes of the only image their clicks.

    Raises:
        ValueError: If there are several images, or the clicks do not fit the boxes.
    """
    if not is_alone:
        raise ValueError(
            "--points belongs to the boxes of one image; for a folder write them with the boxes "
            'in the JSON file: {"box": [...], "points": [[x, y], ...]}'
        )
    images = [replace(image, prompts=parse_points(text, image.prompts)) for image in matched.images]
    return replace(matched, images=images)
