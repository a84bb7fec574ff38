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

_MIN_OTHERS = 50
_MAX_NAMES = 5
_MAX_COUNTED = 1000


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
        # Whether a class that is asked for has come; before that, what did in how many messages.
        self._asked: set[str] = set()
        self._has_asked = False
        self._num_others = 0
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
            self._problems.resolve("classes")
            return np.ones(len(class_ids), dtype=bool)
        pairs = zip(class_ids, accepted.numbers, strict=True)
        is_wanted = np.array([bool(asked & set(pair)) for pair in pairs], dtype=bool)
        if asked != self._asked:
            self._asked, self._has_asked = asked, False
            self._num_others, self._others = 0, Counter()
        self._has_asked |= bool(is_wanted.any())
        sentence = "" if self._has_asked else self._note_others(class_ids)
        self._problems.update("classes", sentence, time.monotonic())
        return is_wanted

    def _note_others(self, class_ids: list[str]) -> str:
        """Count classes that nobody asked for; name them where others never come."""
        self._num_others += bool(class_ids)
        for name in class_ids:
            if name in self._others or len(self._others) < _MAX_COUNTED:
                self._others[name or "(none)"] += 1
        if self._num_others < _MIN_OTHERS:
            return ""
        names = ", ".join(name for name, _ in self._others.most_common(_MAX_NAMES))
        return (
            f"none of the last {self._num_others} detection messages has a class of the parameter "
            f"classes, {', '.join(sorted(self._asked))}; they are: {names}; set it to names that "
            "the detector sends"
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
