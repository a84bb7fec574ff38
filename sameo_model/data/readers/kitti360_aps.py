"""KITTI-360-APS (Mohan and Valada, CVPR 2022) in either of its candidate forms, told by content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.instances import AbsentVisible, RawInstance, check_instance
from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import choose_splits, find_optional, only_split
from sameo_model.data.rle import encode_mask
from sameo_model.data.source import ImageEntry, Listing, Source
from sameo_model.data.types import AmodalInstance
from sameo_model.runtime.images import read_values, without_hidden

KEYS = FlatKeys(amodal=("segmentation",), visible=("i_segm",), amodal_box=(), visible_box=())
SPLITS = {name: [f"annotations/{name}.json", f"{name}.json"] for name in ("train", "val")}

PANOPTIC_FOLDER = "amodal_panoptic_seg"
_PANOPTIC_ENDING = "_ampano"
_IMAGE_FOLDERS = ("images", "image", "Image", "rgb")

CLASS_NAMES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky"),
    *("pedestrian", "cyclist", "car", "truck", "other vehicle", "van", "two-wheeler"),
)
FIRST_THING = 11
CITYSCAPES_NAMES = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    29: "caravan",
    30: "trailer",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find polygon files (`annotations/<split>.json`) or panoptic images.

    The panoptic form is `amodal_panoptic_seg/<split>/.../*_ampano.{png,json}`.
    """
    folder = next((path for path in [root, *root.glob("*")] if path.name == PANOPTIC_FOLDER), None)
    if folder is None:
        files = choose_splits(root, split, SPLITS, "kitti360_aps")
        return [PolygonSource(root, name, path) for name, path in files.items()]
    known = sorted(path.name for path in without_hidden(folder.iterdir(), folder) if path.is_dir())
    names = only_split(split, known, "kitti360_aps")
    return [PanopticSource("kitti360_aps", name, folder) for name in names]


class PolygonSource(FlatCocoSource):
    """A flat COCO file with polygons and Cityscapes-like label numbers."""

    def __init__(self, root: Path, split: str, annotations_path: Path) -> None:
        images_dir = find_optional(root, [f"Image/{split}", f"images/{split}", "Image", "images"])
        super().__init__(
            "kitti360_aps", split, annotations_path, images_dir or root / "Image" / split, KEYS
        )

    def image_hw(self, entry: dict[str, Any]) -> tuple[int, int] | None:
        """Return the size of an image, which some copies have with the annotations only."""
        if "height" in entry and "width" in entry:
            return int(entry["height"]), int(entry["width"])
        return None

    def _probe(self, record: dict[str, Any]) -> None:
        """Check the first record's keys, unless it needs no amodal mask."""
        if not (isinstance(record, dict) and _is_whole(record)):
            super()._probe(record)

    def raw(self, record: dict[str, Any]) -> RawInstance:
        """Mark road, buildings and the like as stuff."""
        raw = super().raw(record)
        if raw.amodal is None and _is_whole(record):
            raw = replace(raw, amodal=raw.visible)
        is_known = 0 <= raw.category_id < len(CLASS_NAMES)
        return replace(
            raw,
            category=CLASS_NAMES[raw.category_id] if is_known else str(raw.category_id),
            is_stuff=raw.category_id < FIRST_THING,
        )


def _is_whole(record: dict[str, Any]) -> bool:
    """Return whether a record says that nothing covers its object."""
    return record.get("occluded") is False


@dataclass
class PanopticSource(Source):
    """Pairs of a label image (class * 1000 + instance) and a JSON with the amodal masks."""

    folder: Path

    def files(self) -> list[Path]:
        top = self.folder / self.split
        return [top, *sorted(path for path in top.rglob("*") if path.is_dir())]

    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        """Yield the JSON of each pair."""
        folder = self.folder / self.split
        for path in sorted(without_hidden(folder.rglob(f"*{_PANOPTIC_ENDING}.json"), folder)):
            yield listing.add(ImageEntry(str(path), self._image_path(path), None)), path

    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | None]:
        path: Path = job
        identity = path.relative_to(self.folder / self.split).as_posix()
        labels_path = path.with_suffix(".png")
        labels = _read_labels(labels_path)
        if labels is None:
            known = Defect.UNREADABLE_FILE if labels_path.exists() else Defect.INCOMPLETE_SAMPLE
            defects.add(known, identity)
            return
        try:
            records = json.loads(path.read_bytes())
            numbered = [(int(number), record) for number, record in records.items()]
        except (ValueError, AttributeError):
            defects.add(Defect.UNREADABLE_FILE, identity)
            return
        for number, record in numbered:
            category_id = number // 1000
            if category_id == 0:
                continue
            if not isinstance(record, dict):
                defects.add(Defect.MALFORMED_RECORD, f"{identity}:{number}")
                continue
            visible = encode_mask(labels == number)
            amodal = record.get("amodal_mask")
            raw = RawInstance(
                annotation_id=None,
                category_id=category_id,
                category=CITYSCAPES_NAMES.get(category_id, str(category_id)),
                amodal=visible if amodal is None and _is_whole(record) else amodal,
                visible=visible,
                source_id=f"{identity}:{number}",
            )
            image_hw = (labels.shape[0], labels.shape[1])
            yield check_instance(raw, image_hw, AbsentVisible.SKIP, defects)

    def _image_path(self, json_path: Path) -> Path:
        relative = json_path.relative_to(self.folder)
        stem = relative.stem.removesuffix(_PANOPTIC_ENDING)
        candidates = [
            self.folder.parent / folder / relative.parent / f"{stem}{ending}{suffix}"
            for folder in _IMAGE_FOLDERS
            for ending in ("", "_rgb")
            for suffix in (".png", ".jpg")
        ]
        return next((path for path in candidates if path.is_file()), candidates[0])


def _read_labels(path: Path) -> np.ndarray | None:
    """Return the values of an image of one channel; None if it is absent or none such."""
    try:
        labels = read_values(path)
    except (FileNotFoundError, ValueError):
        return None
    return labels if labels.ndim == 2 else None
