"""Boxes in the pixels of a detector's network, mapped back to the pixels of the camera image.

Some detectors answer in the frame of their network's input: the image resized into, say, 640x640
by one scale with bars on both sides (letterbox), with one bar at the right or bottom (corner), or
by a scale for each side (stretch).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import ImageHW

FloatArray = npt.NDArray[np.float32]

KINDS = ("letterbox", "corner", "stretch")
_PATTERN = re.compile(rf"({'|'.join(KINDS)}):(\d+)x(\d+)")
_EDGE_PX = 2.0
# Boxes are rounded, and some detectors reach a little beyond the image: only centres count that
# lie outside by more than this share of the side.
_OUTSIDE_SHARE = 0.01
_MIN_OUTSIDE = 3
# Trackers foresee boxes that leave the image: few of many mean no other frame.
_MIN_OUTSIDE_SHARE = 0.05
_MIN_BOXES = 10
_MIN_FILLING = 200
_POPULAR_HW = (640, 640)


@dataclass(frozen=True)
class BoxFrame:
    """How the camera image lies in a network's input."""

    kind: str  # one of `KINDS`
    network_hw: ImageHW  # height and width of the network's input, pixels

    def __str__(self) -> str:
        """Return it as the parameter `detections_frame` has it."""
        height, width = self.network_hw
        return f"{self.kind}:{width}x{height}"


def parse_box_frame(text: str) -> BoxFrame | None:
    """Read a value of the parameter `detections_frame`.

    Args:
        text: `image` or `auto`, or `letterbox:WxH`, `corner:WxH` or `stretch:WxH` with the width
            and height of the network's input, pixels.

    Returns:
        The frame; None for `image` and `auto`.

    Raises:
        ValueError: If the text is none of these.
    """
    if text in ("auto", "image"):
        return None
    match = _PATTERN.fullmatch(text)
    if match is None or "0" in (match[2].strip("0") or "0", match[3].strip("0") or "0"):
        raise ValueError(
            "parameter detections_frame must be auto, image, or one of letterbox, corner and "
            f"stretch with the network's width and height, as in letterbox:640x640; got {text!r}"
        )
    return BoxFrame(match[1], (int(match[3]), int(match[2])))


def map_boxes(boxes_xyxy: FloatArray, frame: BoxFrame, image_hw: ImageHW) -> FloatArray:
    """Map boxes from a network's input to the camera image.

    Args:
        boxes_xyxy: float32 (N, 4), x1, y1, x2, y2, pixels of the network's input.
        frame: How the image lies in it.
        image_hw: Height and width of the image, pixels.

    Returns:
        float32 (N, 4), pixels of the image; beyond it where a box lies on a bar.
    """
    scale_xy, offset_xy = _placement(frame, image_hw)
    mapped = (boxes_xyxy.reshape(-1, 2, 2) - offset_xy) / scale_xy
    return mapped.reshape(-1, 4).astype(np.float32)


class FrameFinder:
    """Recognises from the boxes of one camera that they are not in the pixels of its image.

    A box that lies wholly outside the image was never drawn in it; one that overlaps it may be
    foreseen by a tracker, of an object that leaves. Of the frames in question the popular one is
    tried, 640x640: letterbox, unless boxes lie on its bars; then stretch.

    Attributes:
        frame: What was recognised, None while the boxes may be those of the image.
        warning: What was guessed or cannot be decided, in one sentence, "" if nothing.
    """

    def __init__(self) -> None:
        self.frame: BoxFrame | None = None
        self.warning = ""
        self._image_hw: ImageHW = (0, 0)
        self._extent: npt.NDArray[np.float64] = np.zeros(4)
        self._forget()

    def add(self, boxes_xyxy: FloatArray, image_hw: ImageHW) -> None:
        """Take the boxes of one more image into account.

        Args:
            boxes_xyxy: float32 (N, 4), as the detector sent them; those that are not finite or
                have no area do not count.
            image_hw: Height and width of the image, pixels.
        """
        if image_hw != self._image_hw:
            self._image_hw = image_hw
            self._forget()
        x1, y1, x2, y2 = boxes_xyxy.T
        usable = np.isfinite(boxes_xyxy).all(axis=1) & (x2 > x1) & (y2 > y1)
        if not usable.any():
            return
        boxes = boxes_xyxy[usable]
        self._num_boxes += len(boxes)
        self._num_leaving += int(_has_centre_outside(boxes, image_hw).sum())
        self._num_outside += int(_is_outside(boxes, image_hw).sum())
        self._extent = np.concatenate(
            [
                np.minimum(self._extent[:2], boxes[:, :2].min(axis=0)),
                np.maximum(self._extent[2:], boxes[:, 2:].max(axis=0)),
            ]
        )
        self._decide()

    def _forget(self) -> None:
        self._num_boxes = self._num_leaving = self._num_outside = 0
        # x1, y1, x2, y2 of what all boxes together cover.
        self._extent = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self.frame, self.warning = None, ""

    def _decide(self) -> None:
        candidates = [BoxFrame(kind, _POPULAR_HW) for kind in ("letterbox", "stretch")]
        height, width = self._image_hw
        fitting = [
            one for one in candidates if _holds(_image_in(one, self._image_hw), self._extent)
        ]
        if self.frame in fitting:
            return
        self.frame, self.warning = None, ""
        min_outside = max(_MIN_OUTSIDE, _MIN_OUTSIDE_SHARE * self._num_boxes)
        if self._num_outside >= _MIN_OUTSIDE or self._num_leaving >= min_outside:
            if fitting and self._num_outside >= min_outside and self._num_boxes >= _MIN_BOXES:
                self.frame = fitting[0]
                self.warning = (
                    f"boxes lie outside the {width}x{height} image and fit {self.frame}, the frame "
                    "of a detector's network: they are mapped back by this guess; set "
                    f"detections_frame to {self.frame} if it is right, else to image"
                )
                return
            self.warning = f"boxes lie outside the {width}x{height} image"
        elif self._num_boxes >= _MIN_FILLING and any(
            _is_filled(_image_in(one, self._image_hw), self._extent, self._image_hw)
            for one in candidates
        ):
            covered = "x".join(str(round(side)) for side in self._extent[2:] - self._extent[:2])
            self.warning = f"all boxes lie in {covered} pixels of the {width}x{height} image"
        elif self._num_boxes >= _MIN_BOXES and (self._extent[2:] <= 1).all():
            self.warning = (
                "all boxes lie in the first pixel of the image, as those of a detector that "
                "answers in fractions of it; let the detector send pixels"
            )
            return
        if self.warning:
            self.warning += (
                ", as those of a detector that answers in the pixels of its network; set "
                "detections_frame to its frame, such as letterbox:640x640 or stretch:640x640, or "
                "to image"
            )


def _placement(
    frame: BoxFrame, image_hw: ImageHW
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the scales from image to network and the image's corner in it, both x before y."""
    image_wh = np.array(image_hw[::-1], dtype=np.float64)
    network_wh = np.array(frame.network_hw[::-1], dtype=np.float64)
    scale_xy = network_wh / image_wh
    if frame.kind != "stretch":
        scale_xy = np.full(2, scale_xy.min())
    offset_xy = np.zeros(2)
    if frame.kind == "letterbox":
        offset_xy = (network_wh - image_wh * scale_xy) / 2
    return scale_xy, offset_xy


def _image_in(frame: BoxFrame, image_hw: ImageHW) -> npt.NDArray[np.float64]:
    """Return the box that the image covers in the network's input, x1, y1, x2, y2."""
    scale_xy, offset_xy = _placement(frame, image_hw)
    return np.concatenate([offset_xy, offset_xy + scale_xy * np.array(image_hw[::-1])])


def _holds(outer_xyxy: npt.NDArray[np.float64], inner_xyxy: npt.NDArray[np.float64]) -> bool:
    return bool(
        (inner_xyxy[:2] >= outer_xyxy[:2] - _EDGE_PX).all()
        and (inner_xyxy[2:] <= outer_xyxy[2:] + _EDGE_PX).all()
    )


def _is_filled(
    area_xyxy: npt.NDArray[np.float64], extent_xyxy: npt.NDArray[np.float64], image_hw: ImageHW
) -> bool:
    """Tell whether boxes fill an area, much smaller than the image, to three sides or more."""
    is_small = bool((area_xyxy[2:] < 0.8 * np.array(image_hw[::-1])).any())
    num_sides = int((np.abs(area_xyxy - extent_xyxy) <= _EDGE_PX).sum())
    return is_small and _holds(area_xyxy, extent_xyxy) and num_sides >= 3


def _is_outside(boxes_xyxy: FloatArray, image_hw: ImageHW) -> npt.NDArray[np.bool_]:
    outside = (boxes_xyxy[:, 2:] <= 0) | (boxes_xyxy[:, :2] >= np.array(image_hw[::-1]))
    return np.asarray(outside.any(axis=1))


def _has_centre_outside(boxes_xyxy: FloatArray, image_hw: ImageHW) -> npt.NDArray[np.bool_]:
    centres_xy = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    image_wh = np.array(image_hw[::-1])
    slack = _OUTSIDE_SHARE * image_wh
    return np.asarray(((centres_xy < -slack) | (centres_xy > image_wh + slack)).any(axis=1))
