"""COCOA-cls (Follmann et al., WACV 2019): the objects of COCOA with COCO's classes, flat form."""

from __future__ import annotations

from pathlib import Path

from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import choose_splits
from sameo_model.data.source import Source

KEYS = FlatKeys(amodal=("segmentation",), visible=("visible_mask", "inmodal_seg"))
SPLITS = {
    name: [
        f"annotations/COCO_amodal_{name}2014_with_classes.json",
        f"COCO_amodal_{name}2014_with_classes.json",
    ]
    for name in ("train", "val")
}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the annotation files; images lie in `train2014/` and `val2014/`."""
    files = choose_splits(root, split, SPLITS, "cocoa_cls")
    return [
        FlatCocoSource("cocoa_cls", name, path, root / f"{name}2014", KEYS, has_coco_ids=True)
        for name, path in files.items()
    ]
