"""What other detectors send, as the vision_msgs/Detection2DArray that the node understands.

Messages are duck-typed and never changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

VISION_TYPE = "vision_msgs/msg/Detection2DArray"
YOLO_TYPE = "yolo_msgs/msg/DetectionArray"


@dataclass(frozen=True)
class AcceptedDetections:
    """Detections as a Detection2DArray has them."""

    detections: Sequence[Any]  # N objects with the fields of vision_msgs/Detection2D
    # N numbers of the classes, where the detector sends a number beside the name, else ""
    numbers: list[str]
    notes: list[str]  # one sentence for each convention that was met and accepted


def accept_detections(message: Any) -> AcceptedDetections:
    """Read a message of detections in the conventions of the popular detectors.

    Args:
        message: A vision_msgs/Detection2DArray or a yolo_msgs/DetectionArray.
    """
    detections: Sequence[Any] = message.detections
    numbers = [""] * len(detections)
    if detections and hasattr(detections[0], "class_name"):
        numbers = [str(one.class_id) for one in detections]
        detections = [_from_yolo(one) for one in detections]
    notes = []
    if detections and all(_is_unset(one) for one in detections):
        detections = [_with_score(one) for one in detections]
        notes.append(
            "all detection scores are 0, as if the detector never sets them: they count as 1"
        )
    ids = [str(one.id) for one in detections]
    # A single object may have the number of its class by chance.
    if len(detections) > 1 and all(_is_class_number(one) for one in detections):
        detections = [_with(one, id="") for one in detections]
        notes.append("detection ids are class numbers: masks get ids from the order of the boxes")
    elif len({one for one in ids if one}) < sum(map(bool, ids)):
        notes.append("detections of one message have the same id: the masks' ids tell them apart")
    return AcceptedDetections(detections, numbers, notes)


def find_stamp(message: Any) -> Any:
    """Return the stamp of the image that a message of detections is about.

    Some detectors fill the outer header alone and some those of the detections alone.

    Args:
        message: A vision_msgs/Detection2DArray or a yolo_msgs/DetectionArray.
    """
    outer = message.header.stamp
    if outer.sec or outer.nanosec:
        return outer
    headers = (getattr(one, "header", None) for one in message.detections)
    stamps = (header.stamp for header in headers if header is not None)
    return next((stamp for stamp in stamps if stamp.sec or stamp.nanosec), outer)


def _from_yolo(detection: Any) -> Any:
    name = str(detection.class_name) or str(detection.class_id)
    hypothesis = SimpleNamespace(class_id=name, score=float(detection.score))
    bbox = SimpleNamespace(
        center=detection.bbox.center, size_x=detection.bbox.size.x, size_y=detection.bbox.size.y
    )
    result = SimpleNamespace(hypothesis=hypothesis)
    return SimpleNamespace(id=str(detection.id), results=[result], bbox=bbox)


def _is_unset(detection: Any) -> bool:
    """Tell whether there are hypotheses, none with a score."""
    scores = [result.hypothesis.score for result in detection.results]
    return bool(scores) and all(score == 0 for score in scores)


def _is_class_number(detection: Any) -> bool:
    """Tell whether the id is nothing but the number of the most likely class."""
    hypotheses = [result.hypothesis for result in detection.results]
    if not str(detection.id).isdecimal() or not hypotheses:
        return False
    best = max(hypotheses, key=lambda one: -math.inf if math.isnan(one.score) else one.score)
    return str(best.class_id) == str(detection.id)


def _with_score(detection: Any) -> Any:
    first, *others = detection.results
    hypothesis = SimpleNamespace(class_id=first.hypothesis.class_id, score=1.0)
    return _with(detection, results=[SimpleNamespace(hypothesis=hypothesis), *others])


def _with(detection: Any, **changes: Any) -> Any:
    fields = {name: getattr(detection, name) for name in ("id", "results", "bbox")}
    return SimpleNamespace(**fields | changes)
