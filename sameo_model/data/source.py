"""What a reader of original files provides: images, jobs, and how to turn a job into instances."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sameo_model.data.defects import DefectLog
from sameo_model.data.types import AmodalInstance, CrowdRegion, DatasetFormatError
from sameo_model.runtime.box_fields import without_fraction

RECORD_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What code raises that meets a field of another type, size or name than is documented."""

MAX_SIDE_PX = 65_535
"""Longest side that an image or mask may claim; run lengths count pixels in 32 bits."""


def record_number(value: Any) -> Any:
    """Return 7 for 7.0 and "7", as some tools write numbers; anything else as it is."""
    value = without_fraction(value)
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def is_size(image_hw: tuple[int, int]) -> bool:
    """Return whether height and width can be those of an image."""
    return all(1 <= side <= MAX_SIDE_PX for side in image_hw) and image_hw[0] * image_hw[1] < 2**31


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image as its data set lists it."""

    # what annotations refer to it by, unique within the source; a number is its record's as well
    key: int | str
    path: Path
    image_hw: tuple[int, int] | None  # height and width in pixels; None where only the masks tell
    coco_image_ids: tuple[int, ...] = ()  # COCO photographs that it shows


class Listing:
    """What a source lists besides its objects."""

    def __init__(self) -> None:
        self.images: dict[int, ImageEntry] = {}  # by the number of the record, in order
        self.categories: dict[int, str] = {}  # names of the classes by number
        self._by_key: dict[int | str, tuple[int, ImageEntry]] = {}

    def add(self, entry: ImageEntry) -> int:
        """Append an image and return its row; a key that is a text is numbered by its place.

        Raises:
            DatasetFormatError: If an earlier image has the same number, or the size is impossible.
        """
        row = len(self.images)
        image_id = entry.key if isinstance(entry.key, int) else row + 1
        if entry.key in self._by_key or image_id in self.images:
            raise DatasetFormatError(
                f"image {entry.path.name} must have an id of its own, got {entry.key}, which an "
                f"earlier image has; the file is damaged"
            )
        if entry.image_hw is not None and not is_size(entry.image_hw):
            raise DatasetFormatError(
                f"image {entry.path.name} must have sides from 1 to {MAX_SIDE_PX} pixels, got "
                f"{entry.image_hw[0]} x {entry.image_hw[1]}; the file is damaged"
            )
        self.images[image_id] = entry
        self._by_key[entry.key] = row, entry
        return row

    def add_class(self, number: Any, name: str) -> None:
        """Name a class.

        Raises:
            DatasetFormatError: If an earlier class has the same number and another name.
        """
        if self.categories.setdefault(number, name) != name:
            raise DatasetFormatError(
                f"class {number} must have one name, got '{self.categories[number]}' and '{name}'; "
                f"the file is damaged"
            )

    def find(self, key: Any) -> tuple[int, ImageEntry] | None:
        """Return row and entry of the image that a record refers to, None if it is not listed."""
        key = without_fraction(key)
        return self._by_key.get(key) if isinstance(key, (int, str)) else None


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
    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        """Yield (row of the image, work for `parse`) pairs.

        Args:
            listing: Takes the images, each before its jobs, and the classes.
        """

    @abstractmethod
    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | CrowdRegion | None]:
        """Turn one job into instances and crowd regions, in a worker process; None is skipped.

        An `annotation_id` of 0 is numbered anew, and the empty `category` is that of the listing.
        """
