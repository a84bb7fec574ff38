"""Detections as a file has them, before images, classes and boxes are understood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

BoxFormat = Literal["xywh", "xyxy"]


@dataclass(frozen=True, slots=True)
class RawDetection:
    """One record of a front end's file."""

    # what the file calls its image: a number or a file name; None if `name` says it
    image: int | str | None
    # what the file calls its class: a number or a name; None if it has none
    category: int | str | None
    score: float  # confidence; not checked yet
    box: Sequence[float] | None  # four numbers in the file's box format; None if there is no box
    mask: Any = None  # COCO segmentation (RLE or polygons) of the object; None if there is none
    visible: Any = None  # the same of its visible part; None if there is none
    name: str | None = None  # file name of the image, where the record has one beside a number
    class_name: str | None = None  # name of the class, where the record has one beside a number
    # visible over amodal area as the front end states it, NaN for an empty mask; None if it does
    # not
    visible_share: float | None = None


@dataclass(frozen=True)
class RawFile:
    """The content of a front end's file."""

    format: str
    detections: Sequence[RawDetection]
    box_format: BoxFormat  # what the four numbers of a box are
    # classes are numbered 0, 1, ... in the order of the detector's classes, not as in the
    # annotations
    has_class_positions: bool = False
    # images are numbered 0, 1, ... in the order of the annotations
    has_image_positions: bool = False
    # images that the file speaks of, where it lists those without detections too
    num_images: int | None = None
