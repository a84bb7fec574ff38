"""Add the box detector to a bundle, and prove that its graph finds what the network does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sameo_model.export.graphs import detector_graph
from sameo_model.export.verify import ParityError, open_backends
from sameo_model.export.weights import attach_weights
from sameo_model.modeling.box_checkpoint import load_box_detector
from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.modeling.checkpoint import save_checkpoint
from sameo_model.runtime.backends.base import CellBoxes
from sameo_model.runtime.backends.engine_check import reference_scene, write_reference_boxes
from sameo_model.runtime.bundle import DETECTOR, DETECTOR_WEIGHTS, load_bundle

DEFAULT_MIN_SCORE = 0.5
# Single cells differ in bf16 by up to 0.05 and 5 pixels, which costs 0.4 points of AP.
MAX_SCORE_ERROR = {"f32": 1e-3, "bf16": 0.1}
# Of boxes that matter: those of the cells with the best scores.
NUM_COMPARED = 100
MAX_BOX_ERROR_PX = {"f32": 0.1, "bf16": 10.0}
RECORD_KEYS = ("min_score", "training", "scores")


@dataclass(frozen=True)
class Detector:
    """A detector on its way into a bundle."""

    model: BoxDetector  # the network
    # score from which its boxes count unless a caller says otherwise
    min_score: float = DEFAULT_MIN_SCORE
    training: dict[str, Any] = field(default_factory=dict)  # how it was trained, JSON values
    scores: dict[str, Any] = field(default_factory=dict)  # how it scored and on what, JSON values

    @classmethod
    def from_record(cls, model: BoxDetector, record: Mapping[str, Any]) -> Detector:
        """Return a detector with what a bundle's `model.json`, or a file, says of it."""
        return cls(model, **{key: record[key] for key in RECORD_KEYS if key in record})

    def info(self) -> dict[str, Any]:
        """Return what `model.json` says of it."""
        kept = {key: getattr(self, key) for key in RECORD_KEYS}
        return {"image_size": self.model.image_size, **kept}


def write_detector(detector: Detector, folder: Path) -> None:
    """Write a detector's weights, as float16, the graph that points into them, and its boxes."""
    save_checkpoint(detector.model, folder / DETECTOR_WEIGHTS, half=True)
    rounded = load_box_detector(folder / DETECTOR_WEIGHTS)
    graph = detector_graph(rounded)
    attach_weights(graph, folder / DETECTOR_WEIGHTS)
    (folder / DETECTOR).write_bytes(graph.SerializeToString())
    write_reference_boxes(folder, run_detector(rounded))


def run_detector(model: BoxDetector) -> CellBoxes:
    """Run a detector in PyTorch on the drawn image of the engines' check."""
    image, _ = reference_scene(model.image_size)
    with torch.no_grad():
        found = model(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))
    rows = (found.visible_xyxy, found.amodal_xyxy, found.scores())
    return CellBoxes(*(values[0].numpy() for values in rows))


def verify_detector(folder: Path) -> Iterator[str]:
    """Compare a bundle's detector with the network on a drawn image; nothing without one.

    Yields:
        What was measured on each backend and precision that can run here.

    Raises:
        ParityError: Scores or boxes of the best cells differ too much.
    """
    bundle = load_bundle(folder)
    if bundle.detector is None:
        return
    model = load_box_detector(bundle.folder)
    image, _ = reference_scene(model.image_size)
    expected = run_detector(model)
    for name, precision, backend in open_backends(bundle):
        actual = backend.find_boxes(image)
        score_error = float(np.abs(actual.scores - expected.scores).max())
        best = np.argsort(-expected.scores)[:NUM_COMPARED]
        box_error = max(
            float(np.abs(mine[best] - theirs[best]).max())
            for mine, theirs in zip(actual[:2], expected[:2], strict=True)
        )
        text = f"largest error of a score {score_error:.1e}, of a box {box_error:.2g} px"
        if score_error > MAX_SCORE_ERROR[precision] or box_error > MAX_BOX_ERROR_PX[precision]:
            raise ParityError(
                f"detector of bundle {bundle.info.name} failed its verification on {name} in "
                f"{precision}: {text}; at most {MAX_SCORE_ERROR[precision]} and "
                f"{MAX_BOX_ERROR_PX[precision]} px are allowed"
            )
        yield f"{name:12s} {precision:5s} detector: {text}"
