"""KINS (Qi et al., CVPR 2019) in both generations of its files, told apart by their keys."""

from __future__ import annotations

from pathlib import Path

from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import choose_splits
from sameo_model.data.source import Source

# The files of 2020 use a_ and i_ for amodal and inmodal; those of 2019 have COCO's names.
KEYS = FlatKeys(
    amodal=("a_segm", "segmentation"),
    visible=("i_segm", "inmodal_seg"),
    amodal_box=("a_bbox", "bbox"),
    visible_box=("i_bbox", "inmodal_bbox"),
)
_FILES = {
    "train": ("update_train_2020.json", "instances_train.json", "instances_train2017.json"),
    "val": ("update_test_2020.json", "instances_val.json", "instances_val2017.json"),
}
SPLITS = {
    split: [f"{folder}{name}" for name in names for folder in ("annotations/", "")]
    for split, names in _FILES.items()
}
_IMAGES = {"train": "training/image_2", "val": "testing/image_2"}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the annotation files, the newer generation first."""
    files = choose_splits(root, split, SPLITS, "kins")
    return [
        FlatCocoSource("kins", name, path, root / _IMAGES[name], KEYS)
        for name, path in files.items()
    ]
