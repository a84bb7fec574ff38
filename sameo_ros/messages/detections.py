"""Boxes out of and into vision_msgs/Detection2DArray.

Messages are duck-typed, and the constructors of those to fill are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.box_source import BoxPrompt
from sameo_model.runtime.clicks import CLICK, MAX_CLICKS, Clicks
from sameo_model.runtime.scores import scores_to_fractions
from sameo_ros.core.answer import DetectedBoxes


@dataclass(frozen=True)
class DetectionMessageTypes:
    """Constructors, without arguments, of the messages to fill."""

    detection: Callable[[], Any]
    result: Callable[[], Any]


def detections_to_boxes(message: Any) -> DetectedBoxes:
    """Take boxes, classes, scores and ids from a vision_msgs/Detection2DArray.

    A rotated box becomes its axis-aligned hull; one whose angle is not finite becomes NaN. The
    hypothesis with the highest score counts; percentages become fractions.

    Args:
        message: A vision_msgs/Detection2DArray; centres and sizes in pixels, theta in radians.
    """
    detections = message.detections
    hypotheses = [_best_hypothesis(detection.results) for detection in detections]
    boxes = [_box_to_xyxy(detection.bbox) for detection in detections]
    given = [score for _, score in hypotheses if score is not None]
    fractions, has_percent = scores_to_fractions(given)
    known = iter(fractions)
    return DetectedBoxes(
        boxes_xyxy=_to_float32(boxes).reshape(-1, 4),
        class_ids=[class_id for class_id, _ in hypotheses],
        scores=_to_float32([1.0 if score is None else next(known) for _, score in hypotheses]),
        detection_ids=[str(detection.id) for detection in detections],
        has_percent=has_percent,
    )


def points_to_clicks(
    points: Sequence[Any], point_boxes: Sequence[int], num_boxes: int
) -> Clicks | None:
    """Take the clicks out of a call of the service.

    Args:
        points: vision_msgs/Point2D, pixels of the image.
        point_boxes: For each of them the position of its box in the detections.

    Returns:
        The clicks of all detections; None if there are none.

    Raises:
        ValueError: If a point has no box, or a box more points than a prompt can hold.
    """
    if len(points) != len(point_boxes):
        raise ValueError(
            f"point_boxes must name the box of each of the {len(points)} points, got "
            f"{len(point_boxes)}"
        )
    if not len(points):
        return None
    clicks, counts = Clicks.none(num_boxes), [0] * num_boxes
    for point, box in zip(points, point_boxes, strict=True):
        if box >= num_boxes:
            raise ValueError(
                f"point_boxes must be below {num_boxes}, the number of boxes; got {box}"
            )
        if counts[box] == MAX_CLICKS:
            raise ValueError(f"a box may have at most {MAX_CLICKS} points, but box {box} has more")
        clicks.points_xy[box, counts[box]] = point.x, point.y
        clicks.labels[box, counts[box]] = CLICK
        counts[box] += 1
    return clicks


def fill_detections(
    message: Any, types: DetectionMessageTypes, prompts: Sequence[BoxPrompt], name: str, header: Any
) -> None:
    """Fill a vision_msgs/Detection2DArray.

    Args:
        message: The vision_msgs/Detection2DArray to fill.
        name: Beginning of the detections' ids: the i-th is `<name>#<i>`.
        header: std_msgs/Header of the image; shared, not copied.
    """
    message.header = header
    for i, prompt in enumerate(prompts):
        x1, y1, x2, y2 = prompt.box_xyxy
        detection = types.detection()
        detection.header = header
        detection.id = f"{name}#{i}"
        detection.bbox.center.position.x = (x1 + x2) / 2
        detection.bbox.center.position.y = (y1 + y2) / 2
        detection.bbox.size_x, detection.bbox.size_y = x2 - x1, y2 - y1
        result = types.result()
        result.hypothesis.class_id, result.hypothesis.score = prompt.class_id, prompt.score
        detection.results.append(result)
        message.detections.append(detection)


def _best_hypothesis(results: Sequence[Any]) -> tuple[str, float | None]:
    """Return class and score, NaN as 0; no score where there is no hypothesis."""
    hypotheses = [result.hypothesis for result in results]
    if not hypotheses:
        return "", None
    best = max(hypotheses, key=_score)
    return str(best.class_id), _score(best)


def _score(hypothesis: Any) -> float:
    score = float(hypothesis.score)
    return 0.0 if math.isnan(score) else score


def _box_to_xyxy(bbox: Any) -> tuple[float, float, float, float]:
    x, y, theta = bbox.center.position.x, bbox.center.position.y, bbox.center.theta
    half_w, half_h = bbox.size_x / 2, bbox.size_y / 2
    if not math.isfinite(theta):
        x = math.nan
    elif theta != 0 and half_w > 0 and half_h > 0:  # else turning would hide a wrong size
        cos, sin = abs(math.cos(theta)), abs(math.sin(theta))
        half_w, half_h = half_w * cos + half_h * sin, half_w * sin + half_h * cos
    return x - half_w, y - half_h, x + half_w, y + half_h


def _to_float32(values: Sequence[Any]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float64).astype(np.float32)
