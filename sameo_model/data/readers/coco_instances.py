"""Plain instance masks in COCO's form: what is visible of each object, and no whole shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import absent
from sameo_model.data.source import ImageEntry, Source

NAME = "coco_instances"
# `visible_mask` first: in amodal COCO `segmentation` is the whole object.
KEYS = FlatKeys(
    amodal=(),
    visible=("visible_mask", "segmentation"),
    amodal_box=(),
    visible_box=("visible_bbox", "bbox"),
)
# Annotation files of a folder, `*` being the split, and where their images may lie.
LAYOUTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("annotations.json", ("images", ".")),
    ("annotations/instances_*.json", ("{split}", "images/{split}", "images")),
    ("*/_annotations.coco.json", ("{split}",)),
    ("*/annotations.json", ("{split}/images", "{split}")),
    ("*.json", ("images", "{split}", ".")),
)
_COCO_2017_NAME = re.compile(r"(?:^|/)(\d{12})\.\w+$")


@dataclass
class CocoInstancesSource(FlatCocoSource):
    """A file of visible masks."""

    # where the images may lie; the first of them decides
    folders: tuple[Path, ...] = ()

    def image_entries(self, record: dict[str, Any]) -> Iterator[ImageEntry]:
        if self.folders:
            self.images_dir, self.folders = _choose_folder(self.folders, record), ()
        return super().image_entries(record)

    def coco_image_ids(self, entry: dict[str, Any]) -> tuple[int, ...]:
        """Return COCO's number of the photograph where its file is named as COCO 2017 names it."""
        known = super().coco_image_ids(entry)
        named = coco_2017_id(str(entry.get("file_name", "")))
        return known or ((entry["id"],) if named == entry["id"] else ())


def coco_2017_id(file_name: str) -> int | None:
    """Return COCO's number of a photograph whose file is named as COCO 2017 names it."""
    match = _COCO_2017_NAME.search(file_name)
    return int(match[1]) if match else None


def coco_instances_source(annotations_path: Path, images_dir: Path) -> CocoInstancesSource:
    """Describe one file of visible masks.

    Args:
        images_dir: Folder that `file_name` is relative to.
    """
    return CocoInstancesSource(NAME, "", annotations_path, images_dir, KEYS)


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the annotation files of a folder; `root` may be the file itself.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If there is no such split.
    """
    if root.is_file():
        return [_source(root, root.parent, ("images", "."), "")]
    found = _find(root)
    if not found:
        raise absent(root, (pattern for pattern, _ in LAYOUTS), NAME)
    if split is not None and split not in found:
        raise ValueError(
            f"split of {NAME} in {root} must be one of {', '.join(found)}, got {split!r}"
        )
    return [
        _source(path, root, folders, name)
        for name, (path, folders) in found.items()
        if split in (None, name)
    ]


def _find(root: Path) -> dict[str, tuple[Path, tuple[str, ...]]]:
    """Return annotation file and candidates for its images by split, of the first layout."""
    for pattern, folders in LAYOUTS:
        paths = [path for path in sorted(root.glob(pattern)) if path.is_file()]
        if paths:
            return {_split_name(path, root, pattern): (path, folders) for path in paths}
    return {}


def _split_name(path: Path, root: Path, pattern: str) -> str:
    if "*" not in pattern:
        return ""
    before, after = pattern.split("*")
    name = path.relative_to(root).as_posix()
    return name[len(before) : len(name) - len(after)]


def _source(path: Path, root: Path, folders: tuple[str, ...], split: str) -> CocoInstancesSource:
    candidates = tuple(root / folder.format(split=split) for folder in folders)
    return CocoInstancesSource(NAME, split, path, candidates[0], KEYS, folders=candidates)


def _choose_folder(folders: tuple[Path, ...], first: Any) -> Path:
    """Return the first folder that holds the first image, else the first that exists."""
    name = first.get("file_name") if isinstance(first, dict) else None
    for folder in folders:
        if isinstance(name, str) and (folder / name).is_file():
            return folder
    return next((folder for folder in folders if folder.is_dir()), folders[0])
