"""Records that every data set is read into: images with amodal instances, masks decoded lazily."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from pycocotools import mask as coco_mask

from sameo_model.data.similar_names import hint_of_similar_name
from sameo_model.runtime.box_source import PromptKind
from sameo_model.runtime.images import read_decoded_image

_LOGGER = logging.getLogger(__name__)

BoxXywh = tuple[float, float, float, float]


class DatasetFormatError(ValueError):
    """Files of a data set do not have the layout or the keys that its reader knows."""


class Rle(TypedDict):
    """Compressed COCO run-length encoding: `size` is [H, W], `counts` run down the columns."""

    size: list[int]
    counts: bytes


def decode_rle(rle: Rle) -> np.ndarray:
    """Return the mask of an encoding, bool (H, W)."""
    return coco_mask.decode(rle).view(bool)


@dataclass(frozen=True, slots=True)
class AmodalInstance:
    """One object: its whole (amodal) extent and the part of it that is visible."""

    annotation_id: int  # number of the annotation, at least 1, unique within its data set
    category: str  # class name, "" where the data set has none
    # whole extent in pixels of the image; None in modal data sets (LVIS, LV-VIS)
    amodal_rle: Rle | None
    # visible part, equal to `amodal_rle` for an object that nothing covers; None where it is not
    # known
    visible_rle: Rle | None
    amodal_box_xywh: BoxXywh | None  # tight box of the amodal mask, x, y, width, height in pixels
    visible_box_xywh: BoxXywh | None  # tight box of the visible mask in the same form
    # hidden area over amodal area, in [0, 1]; None if a mask is unknown
    occlusion_rate: float | None
    category_id: int = 0  # number of the class in the source, 0 where it has none
    # identity of the record in its source; empty if `annotation_id` is the same
    source_id: str = ""
    # `occlude_rate` of the record as its file has it, which may differ from the masks; None without
    stated_occlusion_rate: float | None = None
    is_stuff: bool = False  # marked as a region without a shape of its own (sky, grass)

    def box_xywh(self, kind: PromptKind) -> BoxXywh | None:
        """Return the tight box of the visible or the amodal mask; None if that is unknown."""
        return self.visible_box_xywh if kind == "visible" else self.amodal_box_xywh

    def amodal_mask(self) -> np.ndarray:
        """Decode the whole extent.

        Returns:
            bool (H, W), True on the object, hidden parts included, in pixels of the image.

        Raises:
            ValueError: If the data set is modal.
        """
        return self._decode(self.amodal_rle, "amodal")

    def visible_mask(self) -> np.ndarray:
        """Decode the visible part.

        Returns:
            bool (H, W), True where the object can be seen, in pixels of the image.

        Raises:
            ValueError: If the visible part is not known.
        """
        return self._decode(self.visible_rle, "visible")

    def _decode(self, rle: Rle | None, kind: str) -> np.ndarray:
        if rle is None:
            raise ValueError(
                f"instance {self.annotation_id} has no {kind} mask; use a data set that "
                f"annotates it or leave the instance out"
            )
        return decode_rle(rle)


@dataclass(frozen=True, slots=True)
class CrowdRegion:
    """Objects that were annotated together: detections there are neither right nor wrong."""

    annotation_id: int  # number of the annotation, different from those of all objects
    category: str  # class name, "" where the data set has none
    rle: Rle  # the region in pixels of the image
    category_id: int = 0  # number of the class in the source, 0 where it has none


@dataclass(frozen=True, slots=True)
class AmodalImage:
    """One photograph or rendering and its annotated objects."""

    image_id: int
    path: Path
    image_hw: tuple[int, int]  # height and width in pixels, as the annotations have it
    instances: Sequence[AmodalInstance]  # annotated objects, in the order of the source
    dataset: str  # name of the data set in the registry
    # numbers of the COCO photographs that the image shows, so that a held-out photograph can be
    # left out of every set; two for a composite, none for other sources
    coco_image_ids: tuple[int, ...] = ()
    crowds: tuple[CrowdRegion, ...] = ()  # crowd regions, which are no objects

    def load_rgb(self) -> np.ndarray:
        """Read the image file.

        An orientation tag is applied only where the annotated size is that of the upright image
        alone; see `sameo_model.runtime.images`. The first image with a tag is logged.

        Returns:
            uint8 (H, W, 3), RGB, 0 to 255.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a readable image or has another size than the annotations.
        """
        if not self.path.is_file():
            raise FileNotFoundError(
                f"image {self.image_id} of {self.dataset} must lie at {self.path}, but there is no "
                f"such file; {hint_of_similar_name(self.path) or 'check the image folder'}"
            )
        decoded = read_decoded_image(self.path, self.image_hw)
        if decoded.orientation != 1:
            _warn_of_orientation(self.dataset, f"{self.path.name} {decoded.notes()[0]}")
        return decoded.image_rgb


_warned_datasets: set[str] = set()


def _warn_of_orientation(dataset: str, note: str) -> None:
    if dataset not in _warned_datasets:
        _warned_datasets.add(dataset)
        _LOGGER.warning("%s; `datasets check %s` names every such image", note, dataset)
