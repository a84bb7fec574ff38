"""LV-VIS (Wang et al., ICCV 2023): modal masks in videos, one record per object and video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.instances import AbsentVisible, RawInstance, check_instance
from sameo_model.data.readers.flat_coco import CocoFileSource
from sameo_model.data.readers.layout import choose_splits, find
from sameo_model.data.source import ImageEntry, Listing, Source, record_number
from sameo_model.data.types import AmodalInstance

SPLITS = {
    name: [f"{name}_instances.json", f"annotations/{name}_instances.json"]
    for name in ("train", "val")
}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the annotation files; frames lie in `JPEGImages/<split>/<video>/<frame>.jpg`."""
    files = choose_splits(root, split, SPLITS, "lvvis")
    return [
        LvvisSource(
            "lvvis",
            name,
            path,
            find(root, [f"JPEGImages/{name}", f"{name}/JPEGImages", "JPEGImages"], "lvvis"),
        )
        for name, path in files.items()
    ]


@dataclass
class LvvisSource(CocoFileSource):
    """One annotation file in YouTube-VIS form; each frame of a video counts as an image."""

    images_key: ClassVar[str] = "videos"

    def image_entries(self, record: dict[str, Any]) -> Iterator[ImageEntry]:
        """Yield the frames of a video."""
        image_hw = (int(record["height"]), int(record["width"]))
        for frame, name in enumerate(record["file_names"]):
            # Names were written on Windows; only folder and file name are reliable.
            parts = str(name).replace("\\", "/").split("/")[-2:]
            yield ImageEntry(f"{record['id']}/{frame}", self.images_dir.joinpath(*parts), image_hw)

    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        """Yield the mask of each object in each frame where it is seen."""
        for record in self.annotations(listing):
            if not _is_record(record):
                defects.add(Defect.MALFORMED_RECORD, str(record)[:80])
                continue
            if record_number(record.get("iscrowd")):
                defects.add(Defect.CROWD, record.get("id"))
                continue
            for frame, segmentation in enumerate(record["segmentations"]):
                if segmentation is None:
                    continue
                row_and_entry = listing.find(f"{record['video_id']}/{frame}")
                if row_and_entry is None:
                    defects.add(Defect.UNKNOWN_IMAGE, f"{record.get('id')}/{frame}")
                    continue
                row, entry = row_and_entry
                source_id = f"{record.get('id')}/{frame}"
                number = record_number(record["category_id"])
                yield row, (segmentation, number, source_id, entry.image_hw)

    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | None]:
        segmentation, category_id, source_id, image_hw = job
        raw = RawInstance(
            annotation_id=None,
            category_id=category_id,
            amodal=None,
            visible=segmentation,
            is_modal=True,
            source_id=source_id,
        )
        yield check_instance(raw, image_hw, AbsentVisible.SKIP, defects)


def _is_record(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and isinstance(record.get("segmentations"), list)
        and isinstance(record_number(record.get("category_id")), int)
        and "video_id" in record
    )
