"""What the data sets in flat COCO form share: `images` and `annotations`, one record per object."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.instances import AbsentVisible, RawInstance, check_crowd, check_instance
from sameo_model.data.json_stream import iter_json
from sameo_model.data.readers.layout import join_name
from sameo_model.data.source import RECORD_ERRORS, ImageEntry, Source, without_fraction
from sameo_model.data.types import AmodalInstance, CrowdRegion, DatasetFormatError

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
    """A JSON file with lists of pictures, annotations and categories."""

    annotations_path: Path
    images_dir: Path  # folder that names of files are relative to
    _names: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    def files(self) -> list[Path]:
        return [self.annotations_path]

    def categories(self) -> Mapping[int, str]:
        return self._names

    def entries(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list that the file must have."""
        found = False
        for key, entry in iter_json(self.annotations_path):
            if key == name:
                found = True
                yield entry
            elif found:
                return
        if not found:
            raise DatasetFormatError(
                f"{self.annotations_path} must have a list `{name}` with at least one entry, got "
                f"none; it is not a {self.dataset} annotation file"
            )


@dataclass
class FlatCocoSource(CocoFileSource):
    """A file in flat COCO form."""

    keys: FlatKeys
    absent_visible: AbsentVisible = AbsentVisible.SKIP  # what a record without visible mask means
    has_coco_ids: bool = False  # the set's `image_id` is COCO's

    def images(self) -> Iterator[ImageEntry]:
        return map(self._image_entry, self.entries("images"))

    def _image_entry(self, entry: dict[str, Any]) -> ImageEntry:
        try:
            key = without_fraction(entry["id"])
            image_hw = self.image_hw(entry)
            path = join_name(self.images_dir, self.file_name(entry))
        except RECORD_ERRORS as error:
            raise DatasetFormatError(
                f"images in {self.annotations_path} must have id, height, width and a file name, "
                f"got {_keys(entry)}"
            ) from error
        return ImageEntry(
            key=key,
            image_id=key if isinstance(key, int) else None,
            path=path,
            image_hw=image_hw,
            coco_image_ids=self.coco_image_ids(entry),
        )

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

    def jobs(
        self, images: Mapping[int | str, tuple[int, ImageEntry]], defects: DefectLog
    ) -> Iterator[tuple[int, Any]]:
        """Yield the records of the list `annotations`."""
        self._names = {}
        probed = False
        for key, record in iter_json(self.annotations_path):
            if key == "categories":
                number = without_fraction(record["id"])
                self._names[number] = str(record.get("name", number))
            elif key == "annotations":
                if not probed:
                    self._probe(record)
                    probed = True
                if not isinstance(record, dict):
                    defects.add(Defect.MALFORMED_RECORD, record)
                    continue
                row_and_entry = find_image(images, record)
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
        if record.get("iscrowd"):
            yield check_crowd(self.raw(record), image_hw, defects)
            return
        yield check_instance(self.raw(record), image_hw, self.absent_visible, defects)

    def raw(self, record: dict[str, Any]) -> RawInstance:
        """Take the fields out of a record."""
        keys = self.keys
        category = without_fraction(record.get("category_id", 0))
        return RawInstance(
            annotation_id=without_fraction(record.get("id")),
            category_id=category if isinstance(category, int) else 0,
            category="" if isinstance(category, int) else str(category),
            amodal=_first(record, keys.amodal),
            visible=_first(record, keys.visible),
            amodal_box_xywh=_first(record, keys.amodal_box),
            visible_box_xywh=_first(record, keys.visible_box),
            is_modal=not keys.amodal,
            is_stuff=bool(record.get("isStuff", False)),
            source_id=str(record.get("source_id", "")),
            stated_rate=record.get("occlude_rate"),
        )


def find_image(
    images: Mapping[int | str, tuple[int, ImageEntry]], record: Mapping[str, Any]
) -> tuple[int, ImageEntry] | None:
    """Return row and entry of the image that a record refers to, None if it is not listed."""
    image_id = without_fraction(record.get("image_id"))
    return images.get(image_id) if isinstance(image_id, (int, str)) else None


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
