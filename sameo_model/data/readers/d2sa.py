"""D2SA (Follmann et al., WACV 2019): groceries seen from above, partly artificial overlays."""

from __future__ import annotations

from pathlib import Path

from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import choose_splits
from sameo_model.data.source import Source

KEYS = FlatKeys(amodal=("segmentation",), visible=("visible_mask", "inmodal_seg"))
_FILES = {
    "train": "D2S_amodal_training_rot0.json",
    "augmented": "D2S_amodal_augmented.json",
    "val": "D2S_amodal_validation.json",
}
SPLITS = {split: [f"annotations/{name}", name] for split, name in _FILES.items()}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the annotation files; all images lie in `images/`. The test labels are not public."""
    files = choose_splits(root, split, SPLITS, "d2sa")
    return [
        FlatCocoSource("d2sa", name, path, root / "images", KEYS) for name, path in files.items()
    ]
