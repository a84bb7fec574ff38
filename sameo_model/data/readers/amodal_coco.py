"""Amodal COCO: the schema of COCOA-cls and D2SA with our extra keys."""

from __future__ import annotations

from pathlib import Path

from sameo_model.data.instances import AbsentVisible
from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import find
from sameo_model.data.source import Source

KEYS = FlatKeys(amodal=("segmentation",), visible=("visible_mask",))


def amodal_coco_source(
    annotations_path: Path,
    images_dir: Path | None = None,
    *,
    dataset: str = "amodal_coco",
    split: str = "",
) -> FlatCocoSource:
    """Describe one amodal COCO file.

    Raises:
        FileNotFoundError: If the annotation file does not exist.
    """
    if not annotations_path.is_file():
        raise FileNotFoundError(
            f"amodal COCO annotations must lie at {annotations_path}, but there is no such file"
        )
    return FlatCocoSource(
        dataset=dataset,
        split=split,
        annotations_path=annotations_path,
        images_dir=images_dir or annotations_path.parent / "images",
        keys=KEYS,
        absent_visible=AbsentVisible.UNKNOWN,
    )


def sources(root: Path, split: str | None) -> list[Source]:
    """Find `annotations.json` in `root`, or in `root/<split>`; `root` may be the file itself."""
    if root.is_file():
        return [amodal_coco_source(root)]
    folder = root / split if split else root
    path = find(folder, ["annotations.json"], "amodal_coco")
    return [amodal_coco_source(path, split=split or "")]
