"""What the node takes from the messages of one camera's detector."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Sequence
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

_MIN_OTHERS = 10
_MAX_NAMES = 5


class DetectionReader:
    """Reads messages in the conventions of popular detectors; logs each note once."""

    def __init__(self, note: Callable[[str], object], problems: ProblemLog) -> None:
        """Begin without having read a message.

        Args:
            note: Logs a sentence that is worth one line, and no more.
            problems: Where boxes outside their images, and unknown classes, are reported.
        """
        self._note = note
        self._problems = problems
        self._noted: set[str] = set()
        self._finder = FrameFinder()
        # Whether a class that is asked for has come, and which classes did.
        self._asked: set[str] = set()
        self._has_asked = False
        self._others: Counter[str] = Counter()

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
            is_wanted=self._choose_classes(accepted, boxes.class_ids, settings.classes),
        )

    def _choose_classes(
        self, accepted: AcceptedDetections, class_ids: list[str], classes: Sequence[str]
    ) -> Any:
        """Return for each detection whether its class is asked for, by name or number."""
        asked = {name for name in classes if name}
        if not asked:
            return np.ones(len(class_ids), dtype=bool)
        pairs = zip(class_ids, accepted.numbers, strict=True)
        is_wanted = np.array([bool(asked & set(pair)) for pair in pairs], dtype=bool)
        if asked != self._asked:
            self._asked, self._has_asked, self._others = asked, False, Counter()
        self._has_asked |= bool(is_wanted.any())
        self._others.update(name or "(none)" for name in class_ids)
        if not self._has_asked and self._others.total() >= _MIN_OTHERS:
            names = ", ".join(name for name, _ in self._others.most_common(_MAX_NAMES))
            sentence = (
                f"no detection of the last {self._others.total()} has a class of the parameter "
                f"classes, {', '.join(sorted(asked))}; they are: {names}; set it to names that the "
                "detector sends"
            )
            self._problems.report("classes", sentence, time.monotonic())
        return is_wanted

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
