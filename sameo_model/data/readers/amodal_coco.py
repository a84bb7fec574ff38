"""Amodal COCO (the schema of COCOA-cls and D2SA with our extra keys), and its writer."""

from __future__ import annotations

from pathlib import Path

from sameo_model.data.amodal_coco_writer import AmodalCocoWriter, write_amodal_coco
from sameo_model.data.box_agreement import require_agreement
from sameo_model.data.index import IndexedDataset
from sameo_model.data.index_cache import open_index
from sameo_model.data.instances import AbsentVisible
from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import find
from sameo_model.data.source import Source

__all__ = ["AmodalCocoWriter", "open_amodal_coco", "sources", "write_amodal_coco"]

KEYS = FlatKeys(amodal=("segmentation",), visible=("visible_mask",))


def open_amodal_coco(
    annotations_path: Path | str,
    images_dir: Path | str | None = None,
    *,
    workers: int = 1,
    progress: bool = False,
) -> IndexedDataset:
    """Open an amodal COCO file.

    Args:
        annotations_path: The JSON file.
        images_dir: Folder that `file_name` is relative to; default: `images/` beside the file.
        workers: Number of processes that read a large file the first time.
        progress: Show a progress bar meanwhile.

    Returns:
        Images in the order of the file, those without annotations included. A record without
        `visible_mask` has an unknown visible part.

    Raises:
        FileNotFoundError: If the annotation file does not exist.
        DatasetFormatError: If it is not an amodal COCO file, or most of its masks lie elsewhere
            than its own boxes.
    """
    folder = Path(images_dir) if images_dir else None
    source = amodal_coco_source(Path(annotations_path), folder)
    dataset = open_index([source], workers=workers, progress=progress)
    require_agreement(dataset.name, dataset.box_agreement)
    return dataset


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
