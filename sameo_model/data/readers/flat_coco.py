"""What the data sets in flat COCO form share: `images` and `annotations`, one record per object."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.instances import AbsentVisible, RawInstance, check_crowd, check_instance
from sameo_model.data.json_stream import iter_json
from sameo_model.data.readers.layout import join_name
from sameo_model.data.source import RECORD_ERRORS, ImageEntry, Listing, Source, record_number
from sameo_model.data.types import AmodalInstance, CrowdRegion, DatasetFormatError
from sameo_model.runtime.box_fields import without_fraction

_COCO_2014_NAME = re.compile(r"COCO_(?:train|val|test)2014_(\d{12})\.")


@dataclass(frozen=True)
class FlatKeys:
    """Names that a data set gives to the fields; the first key that a record has counts."""

    amodal: tuple[str, ...]  # keys of the whole extent; empty for a modal set
    visible: tuple[str, ...]  # keys of the visible part
    # keys of the box x, y, width, height around the whole extent
    amodal_box: tuple[str, ...] = ("bbox",)
    visible_box: tuple[str, ...] = ("visible_bbox",)  # the same around the visible part


@dataclass
class CocoFileSource(Source):
    """A JSON file with lists of images, annotations and categories."""

    images_key: ClassVar[str] = "images"  # name of the list of images

    annotations_path: Path
    images_dir: Path  # folder that names of files are relative to

    def files(self) -> list[Path]:
        return [self.annotations_path]

    @abstractmethod
    def image_entries(self, record: dict[str, Any]) -> Iterator[ImageEntry]:
        """Yield the images that a record of the list `images_key` stands for."""

    def annotations(self, listing: Listing) -> Iterator[Any]:
        """List images and classes, and yield the records of the list `annotations`.

        Records that come before the images are left for a second reading of that part.
        """
        has_images = has_earlier = False
        for key, record in iter_json(self.annotations_path):
            if key == self.images_key:
                has_images = True
                for entry in self.image_entries(record):
                    listing.add(entry)
            elif key == "categories":
                number = record_number(record["id"])
                listing.add_class(number, str(record.get("name", number)))
            elif key == "annotations" and has_images:
                yield record
            elif key == "annotations":
                has_earlier = True
        if not has_images:
            raise DatasetFormatError(
                f"{self.annotations_path} must have a list `{self.images_key}` with at least one "
                f"entry, got none; it is not a {self.dataset} annotation file"
            )
        if has_earlier:
            parts = iter_json(self.annotations_path)
            for key, record in takewhile(lambda part: part[0] != self.images_key, parts):
                if key == "annotations":
                    yield record


@dataclass
class FlatCocoSource(CocoFileSource):
    """A file in flat COCO form."""

    keys: FlatKeys
    absent_visible: AbsentVisible = AbsentVisible.SKIP  # what a record without visible mask means
    has_coco_ids: bool = False  # the set's `image_id` is COCO's

    def image_entries(self, record: dict[str, Any]) -> Iterator[ImageEntry]:
        try:
            key = without_fraction(record["id"])
            image_hw = self.image_hw(record)
            path = join_name(self.images_dir, self.file_name(record))
        except RECORD_ERRORS as error:
            raise DatasetFormatError(
                f"images in {self.annotations_path} must have id, height, width and a file name, "
                f"got {_keys(record)}"
            ) from error
        yield ImageEntry(key, path, image_hw, self.coco_image_ids(record))

    def image_hw(self, entry: dict[str, Any]) -> tuple[int, int] | None:
        """Return the size of an image; None takes it from the annotations."""
        return int(entry["height"]), int(entry["width"])

    def file_name(self, entry: dict[str, Any]) -> str:
        """Return the image file relative to the image folder."""
        return entry["file_name"]

    def coco_image_ids(self, entry: dict[str, Any]) -> tuple[int, ...]:
        """Return the COCO photographs that an image shows."""
        if "coco_image_ids" in entry:
            return tuple(entry["coco_image_ids"])
        if match := _COCO_2014_NAME.search(str(entry.get("file_name", ""))):
            return (int(match[1]),)
        return (entry["id"],) if self.has_coco_ids else ()

    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        for place, record in enumerate(self.annotations(listing)):
            if place == 0:
                self._probe(record)
            if not isinstance(record, dict):
                defects.add(Defect.MALFORMED_RECORD, record)
                continue
            row_and_entry = listing.find(record.get("image_id"))
            if row_and_entry is None:
                defects.add(Defect.UNKNOWN_IMAGE, record.get("id"))
                continue
            row, entry = row_and_entry
            yield row, (record, entry.image_hw)

    def _probe(self, record: dict[str, Any]) -> None:
        """Check the first record's keys, so that a wrong file fails with a sentence."""
        needed = [self.keys.amodal] if self.keys.amodal else [self.keys.visible]
        if self.keys.amodal and self.absent_visible is AbsentVisible.SKIP:
            needed.append(self.keys.visible)
        for names in needed:
            if not isinstance(record, dict) or not any(name in record for name in names):
                raise DatasetFormatError(
                    f"annotations of {self.dataset} in {self.annotations_path} must have one of "
                    f"{', '.join(names)}; the first one has {_keys(record)}"
                )

    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | CrowdRegion | None]:
        record, image_hw = job
        if image_hw is None:
            image_hw = _size_hw(record)
        if image_hw is None:
            defects.add(Defect.MALFORMED_RECORD, record.get("id"))
            return
        if record_number(record.get("iscrowd")):
            yield check_crowd(self.raw(record), image_hw, defects)
            return
        yield check_instance(self.raw(record), image_hw, self.absent_visible, defects)

    def raw(self, record: dict[str, Any]) -> RawInstance:
        """Take the fields out of a record."""
        keys = self.keys
        category = record_number(record.get("category_id"))
        return RawInstance(
            annotation_id=without_fraction(record.get("id")),
            category_id=category if isinstance(category, int) else 0,
            category="" if category is None or isinstance(category, int) else str(category),
            amodal=_first(record, keys.amodal),
            visible=_first(record, keys.visible),
            amodal_box_xywh=_first(record, keys.amodal_box),
            visible_box_xywh=_first(record, keys.visible_box),
            is_modal=not keys.amodal,
            is_stuff=bool(record_number(record.get("isStuff"))),
            source_id=str(record.get("source_id", "")),
            stated_rate=record.get("occlude_rate"),
        )


def _first(record: dict[str, Any], names: Iterable[str]) -> Any:
    for name in names:
        if name in record:
            return record[name]
    return None


def _size_hw(record: dict[str, Any]) -> tuple[int, int] | None:
    height, width = record.get("height"), record.get("width")
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    return None


def _keys(record: Any) -> str:
    if isinstance(record, dict):
        return "the keys " + ", ".join(sorted(map(str, record)))
    return f"a {type(record).__name__}"
