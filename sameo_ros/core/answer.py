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
    """What the node takes from a Detection2DArray of N detections, in their order.

    Attributes:
        boxes_xyxy: float32 (N, 4), x1, y1, x2, y2, pixels of the image; as the detector sent them,
            in any range and maybe not finite.
        class_ids: N classes of the best hypotheses, "" without any.
        scores: float32 (N,), scores of the best hypotheses, in [0, 1]; 1 without any, 0 for NaN,
            NaN for a score that is neither a probability nor a percentage.
        detection_ids: N different names, none empty: the detector's ids, made unique.
        has_percent: The scores of the message are percentages, here divided by 100.
        is_wanted: bool (N,), whether the detection's class is asked for; None if every one is.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    class_ids: list[str]
    scores: npt.NDArray[np.float32]
    detection_ids: list[str]
    has_percent: bool = False
    is_wanted: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Make the detector's ids unique."""
        object.__setattr__(self, "detection_ids", make_unique_ids(self.detection_ids))

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, eq=False)
class Answer:
    """Masks for the K usable boxes of one image, rows in the order of the detections.

    Attributes:
        image_hw: Height and width of the image, pixels.
        detections: All N detections that were asked for.
        indices: K positions in `detections`, ascending.
        prediction: Masks and scores of the K boxes.
        occluded_by: For each of the K boxes the positions in `detections` of what hides it.
        depth: Depth of the image, where there is any.
        complaints: One sentence for each box that was rejected.
        encode_ms: Time in the encoder for this answer, milliseconds; 0 if it had run before.
        decode_ms: Time in the decoder, milliseconds.
    """

    image_hw: ImageHW
    detections: DetectedBoxes
    indices: list[int]
    prediction: Prediction
    occluded_by: list[list[int]]
    depth: SceneDepth | None = None
    complaints: tuple[str, ...] = ()
    encode_ms: float = 0.0
    decode_ms: float = 0.0
