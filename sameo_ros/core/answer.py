"""What the node is asked about an image, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import ImageHW, Prediction
from sameo_ros.core.detection_ids import make_unique_ids
from sameo_ros.core.scene_depth import SceneDepth


@dataclass(frozen=True, eq=False)
class DetectedBoxes:
    """What the node takes from a Detection2DArray of N detections, in their order."""

    # float32 (N, 4), x1, y1, x2, y2, pixels of the image; as the detector sent them, in any range
    # and maybe not finite
    boxes_xyxy: npt.NDArray[np.float32]
    class_ids: list[str]  # N classes of the best hypotheses, "" without any
    # float32 (N,), scores of the best hypotheses, in [0, 1]; 1 without any, 0 for NaN, NaN for a
    # score that is neither a probability nor a percentage
    scores: npt.NDArray[np.float32]
    detection_ids: list[str]  # N different names, none empty: the detector's ids, made unique
    has_percent: bool = False  # the scores of the message are percentages, here divided by 100
    # bool (N,), whether the detection's class is asked for; None if every one is
    is_wanted: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Make the detector's ids unique."""
        object.__setattr__(self, "detection_ids", make_unique_ids(self.detection_ids))

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, eq=False)
class Answer:
    """Masks for the K usable boxes of one image, rows in the order of the detections."""

    image_hw: ImageHW  # height and width of the image, pixels
    detections: DetectedBoxes  # all N detections that were asked for
    indices: list[int]  # K positions in `detections`, ascending
    prediction: Prediction  # masks and scores of the K boxes
    # for each of the K boxes the positions in `detections` of what hides it
    occluded_by: list[list[int]]
    depth: SceneDepth | None = None  # depth of the image, where there is any
    complaints: tuple[str, ...] = ()  # one sentence for each box that was rejected
    # time in the encoder for this answer, milliseconds; 0 if it had run before
    encode_ms: float = 0.0
    decode_ms: float = 0.0  # time in the decoder, milliseconds
