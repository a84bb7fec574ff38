"""COCOA (Zhu et al., CVPR 2017): one annotation per image and annotator, with nested regions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.instances import AbsentVisible, RawInstance, check_instance
from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import choose_splits
from sameo_model.data.source import Listing, Source, record_number
from sameo_model.data.types import AmodalInstance, DatasetFormatError

KEYS = FlatKeys(amodal=("regions",), visible=())
SPLITS = {
    name: [f"annotations/COCO_amodal_{name}2014.json", f"COCO_amodal_{name}2014.json"]
    for name in ("train", "val", "test")
}
BSDS_SPLITS = {
    f"bsds_{name}": [f"annotations/BSDS_amodal_{name}.json", f"BSDS_amodal_{name}.json"]
    for name in ("train", "val", "test")
}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the annotation files; without a split, those of the COCO photographs.

    The sets of BSDS photographs, which the paper does not use, are the splits `bsds_train`,
    `bsds_val` and `bsds_test`. `root` may be one annotation file with its images beside it.
    """
    if root.is_file():
        return [CocoaSource("cocoa", split or "", root, root.parent)]
    known = SPLITS if split is None else {**SPLITS, **BSDS_SPLITS}
    files = choose_splits(root, split, known, "cocoa")
    return [
        CocoaSource("cocoa", name, path, _images_dir(root, name)) for name, path in files.items()
    ]


def _images_dir(root: Path, split: str) -> Path:
    if split.startswith("bsds_"):
        return root / "BSDS" / split.removeprefix("bsds_")
    return root / f"{split}2014"


@dataclass
class CocoaSource(FlatCocoSource):
    """One COCOA file: the image list is COCO's, the annotations hold a list of regions."""

    keys: FlatKeys = KEYS
    absent_visible: AbsentVisible = AbsentVisible.UNOCCLUDED

    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        """Yield the annotations, the first annotator's for each image."""
        seen: set[int] = set()
        for record in self.annotations(listing):
            self._require_regions(record)
            row_and_entry = listing.find(record.get("image_id"))
            if row_and_entry is None:
                defects.add(Defect.UNKNOWN_IMAGE, record.get("id"), len(record["regions"]))
                continue
            row, entry = row_and_entry
            if row in seen:
                defects.add(Defect.SECOND_ANNOTATOR, record.get("id"), len(record["regions"]))
                continue
            seen.add(row)
            yield row, (record, entry.image_hw)

    def _require_regions(self, record: Any) -> None:
        if not isinstance(record, dict) or not isinstance(record.get("regions"), list):
            found = ", ".join(sorted(record)) if isinstance(record, dict) else type(record).__name__
            raise DatasetFormatError(
                f"annotations of cocoa in {self.annotations_path} must have a list `regions`, got "
                f"{found}; for the flat form use cocoa_cls"
            )

    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | None]:
        record, image_hw = job
        for number, region in enumerate(record["regions"], start=1):
            source_id = f"{record.get('id', record['image_id'])}/{number}"
            if not isinstance(region, dict):
                defects.add(Defect.MALFORMED_RECORD, source_id)
                continue
            raw = region_to_raw(region, source_id)
            if isinstance(region.get("segmentation"), list):
                # A flat list is this data set's own form, not a defect.
                raw = _wrap_polygon(raw)
            yield check_instance(raw, image_hw, self.absent_visible, defects)


def region_to_raw(region: dict[str, Any], source_id: str) -> RawInstance:
    """Take the fields out of a region of COCOA or MP3D-Amodal."""
    number = record_number(region.get("category_id"))
    if isinstance(number, Integral):
        # A number says nothing to rules about class names, so a name beside it counts.
        name, category_id = region.get("name", str(number)), int(number)
    else:
        name, category_id = region.get("name", "") if number is None else number, 0
    return RawInstance(
        annotation_id=None,
        category_id=category_id,
        category=str(name).strip().lower(),
        amodal=region.get("segmentation"),
        visible=region.get("visible_mask"),
        is_stuff=bool(record_number(region.get("isStuff"))),
        source_id=source_id,
    )


def _wrap_polygon(raw: RawInstance) -> RawInstance:
    if raw.amodal and isinstance(raw.amodal[0], (int, float)):
        return replace(raw, amodal=[raw.amodal])
    return raw
