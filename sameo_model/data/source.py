"""What a reader of original files provides: images, jobs, and how to turn a job into instances."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sameo_model.data.defects import DefectLog
from sameo_model.data.types import AmodalInstance, CrowdRegion

RECORD_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What code raises that meets a field of another type, size or name than is documented."""

MAX_SIDE_PX = 65_535
"""Longest side that an image or mask may claim; run lengths count pixels in 32 bits."""


def is_size(image_hw: tuple[int, int]) -> bool:
    """Return whether height and width can be those of an image."""
    return all(1 <= side <= MAX_SIDE_PX for side in image_hw) and image_hw[0] * image_hw[1] < 2**31


def without_fraction(value: Any) -> Any:
    """Return 7 for 7.0, as tables with gaps write numbers; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image as its data set lists it."""

    key: int | str  # what annotations refer to it by, unique within the source
    image_id: int | None  # number for the record; None numbers it by its place in the list
    path: Path
    image_hw: tuple[int, int] | None  # height and width in pixels; None where only the masks tell
    coco_image_ids: tuple[int, ...] = ()  # COCO photographs that it shows


@dataclass
class Source(ABC):
    """One split of one data set in its original files.

    A source is pickled to worker processes, so it holds paths and settings, not data.
    """

    dataset: str
    split: str

    @abstractmethod
    def files(self) -> list[Path]:
        """Return the files or folders whose change makes an index out of date."""

    @abstractmethod
    def images(self) -> Iterable[ImageEntry]:
        """Yield the images in order."""

    def jobs(
        self, images: Mapping[int | str, tuple[int, ImageEntry]], defects: DefectLog
    ) -> Iterator[tuple[int, Any]]:
        """Yield (row of the image, work for `parse`) pairs; by default each image's key.

        Args:
            images: Row and entry of each image by its key.
        """
        for key, (row, _) in images.items():
            yield row, key

    @abstractmethod
    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | CrowdRegion | None]:
        """Turn one job into instances and crowd regions, in a worker process; None is skipped.

        An `annotation_id` of 0 is numbered anew, and the empty `category` is that of `categories`.
        """

    def categories(self) -> Mapping[int, str]:
        """Return the names of the classes by number, known once all jobs are drawn."""
        return {}
