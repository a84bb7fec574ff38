"""Amodal-LVIS (paper section 3.3) as `synthesize amodal-lvis` writes it: amodal COCO in shards."""

from __future__ import annotations

from pathlib import Path

from sameo_model.data.readers.amodal_coco import amodal_coco_source
from sameo_model.data.source import Source


def sources(root: Path, split: str | None) -> list[Source]:
    """Find `annotations.json` of every finished shard, or a single one in `root`."""
    folder = root / split if split else root
    paths = sorted(folder.glob("shard-*/annotations.json"))
    if not paths:
        paths = [folder / "annotations.json"]
    return [
        amodal_coco_source(path, dataset="amodal_lvis", split=path.parent.name) for path in paths
    ]
