"""LVIS v1 (Gupta et al., CVPR 2019): modal masks, the source of Amodal-LVIS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import choose_splits
from sameo_model.data.source import Source

KEYS = FlatKeys(amodal=(), visible=("segmentation",), amodal_box=(), visible_box=("bbox",))
SPLITS = {
    name: [f"annotations/lvis_v1_{name}.json", f"lvis_v1_{name}.json"] for name in ("train", "val")
}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the annotation files; images lie in COCO's `train2017/` and `val2017/`."""
    files = choose_splits(root, split, SPLITS, "lvis")
    return [
        LvisSource("lvis", name, path, root, KEYS, has_coco_ids=True)
        for name, path in files.items()
    ]


@dataclass
class LvisSource(FlatCocoSource):
    """An LVIS file: a split may hold photographs of several COCO folders, named by `coco_url`."""

    def file_name(self, entry: dict[str, Any]) -> str:
        """Return the last two parts of the photograph's address: folder and name."""
        if "coco_url" in entry:
            return "/".join(str(entry["coco_url"]).split("/")[-2:])
        return entry["file_name"]
