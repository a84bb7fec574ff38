"""pix2gestalt's training set (Ozguroglu et al., CVPR 2024): one object per sample in 4 folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.readers.layout import find
from sameo_model.data.readers.mask_files import check_mask_files
from sameo_model.data.source import ImageEntry, Listing, Source
from sameo_model.data.types import AmodalInstance

# Folder and the endings that its file names carry after the sample's id.
IMAGE = ("occlusion", ("_occlusion",))
AMODAL = ("whole_mask", ("_whole_mask",))
VISIBLE = ("visible_object_mask", ("_visible_object_mask", "_visible_mask"))
_PARTS = (IMAGE, AMODAL, VISIBLE)
_SPLITS = ("train", "val")


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the folders; the authors' validation split is the last hundredth of the sorted ids."""
    if split not in (None, *_SPLITS):
        raise ValueError(f"split of pix2gestalt must be one of {', '.join(_SPLITS)}, got {split!r}")
    for folder, _ in _PARTS:
        find(root, [folder], "pix2gestalt")
    return [Pix2GestaltSource("pix2gestalt", split or "", root)]


@dataclass
class Pix2GestaltSource(Source):
    """The samples whose image and both masks exist."""

    root: Path

    def files(self) -> list[Path]:
        return [self.root / folder for folder, _ in _PARTS]

    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        """List the images of the split, sorted by id, and yield the masks of those with both."""
        names = _names_by_id(self.root, IMAGE)
        amodal_names = _names_by_id(self.root, AMODAL)
        visible_names = _names_by_id(self.root, VISIBLE)
        for sample_id in self._in_split(sorted(names)):
            path = self.root / IMAGE[0] / names[sample_id]
            row = listing.add(ImageEntry(sample_id, path, None))
            if sample_id in amodal_names and sample_id in visible_names:
                yield row, (sample_id, amodal_names[sample_id], visible_names[sample_id])
            else:
                defects.add(Defect.INCOMPLETE_SAMPLE, sample_id)

    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | None]:
        """Read the two masks of one sample."""
        sample_id, amodal_name, visible_name = job
        paths = self.root / AMODAL[0] / amodal_name, self.root / VISIBLE[0] / visible_name
        yield check_mask_files(*paths, "", sample_id, defects)

    def _in_split(self, sample_ids: list[str]) -> list[str]:
        num_val = len(sample_ids) // 100
        if self.split == "val":
            return sample_ids[len(sample_ids) - num_val :]
        if self.split == "train":
            return sample_ids[: len(sample_ids) - num_val]
        return sample_ids


def _names_by_id(root: Path, part: tuple[str, tuple[str, ...]]) -> dict[str, str]:
    folder, endings = part
    names = {}
    for name in sorted(os.listdir(root / folder)):
        if name.startswith("."):
            continue
        stem, _ = os.path.splitext(name)
        for ending in endings:
            if stem.endswith(ending):
                stem = stem[: -len(ending)]
                break
        names[stem] = name
    return names
