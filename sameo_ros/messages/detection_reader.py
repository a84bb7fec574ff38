"""What the node takes from the messages of one camera's detector."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from sameo_model.runtime.types import ImageHW
from sameo_ros.core.answer import DetectedBoxes
from sameo_ros.core.box_frame import FrameFinder, map_boxes, parse_box_frame
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.settings import SameoParameters
from sameo_ros.messages.detections import detections_to_boxes
from sameo_ros.messages.detector_conventions import AcceptedDetections, accept_detections


class DetectionReader:
    """Reads messages in the conventions of popular detectors; logs each note once."""

    def __init__(self, note: Callable[[str], object], problems: ProblemLog) -> None:
        """Begin without having read a message.

        Args:
            note: Logs a sentence that is worth one line, and no more.
            problems: Where boxes that lie outside their images are reported.
        """
        self._note = note
        self._problems = problems
        self._noted: set[str] = set()
        self._finder = FrameFinder()

    def read(self, message: Any, image_hw: ImageHW, settings: SameoParameters) -> DetectedBoxes:
        """Return the boxes of a message, in pixels of the image.

        Args:
            message: A vision_msgs/Detection2DArray or a yolo_msgs/DetectionArray.
            image_hw: Height and width of the image, pixels.
            settings: `detections_frame` and `classes` count.
        """
        accepted = accept_detections(message)
        for sentence in accepted.notes:
            self._say_once(sentence)
        boxes = detections_to_boxes(SimpleNamespace(detections=accepted.detections))
        return dataclasses.replace(
            boxes,
            boxes_xyxy=self._to_image(boxes.boxes_xyxy, image_hw, settings.detections_frame),
            is_wanted=_choose_classes(accepted, boxes.class_ids, settings.classes),
        )

    def _to_image(self, boxes_xyxy: Any, image_hw: ImageHW, frame_name: str) -> Any:
        frame, warning = parse_box_frame(frame_name), ""
        if frame_name == "auto":
            self._finder.add(boxes_xyxy, image_hw)
            frame, warning = self._finder.frame, self._finder.warning
        self._problems.update("frame", warning, time.monotonic())
        return boxes_xyxy if frame is None else map_boxes(boxes_xyxy, frame, image_hw)

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._noted:
            self._noted.add(sentence)
            self._note(sentence)


def _choose_classes(accepted: AcceptedDetections, class_ids: list[str], classes: Any) -> Any:
    """Return for each detection whether its class is asked for, by name or number."""
    asked = {name for name in classes if name}
    pairs = zip(class_ids, accepted.numbers, strict=True)
    return np.array([not asked or bool(asked & set(pair)) for pair in pairs], dtype=bool)
