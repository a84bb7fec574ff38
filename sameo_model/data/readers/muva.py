"""MUVA (Li et al., ICCV 2023), whose keys are not documented: found by probing the records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sameo_model.data.instances import RawInstance
from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.readers.layout import choose_splits
from sameo_model.data.source import Source
from sameo_model.data.types import DatasetFormatError

# COCO's `segmentation` is the amodal mask unless another key says amodal; then it is the visible.
AMODAL_KEYS = ("amodal_segmentation", "amodal_segm", "amodal_mask", "a_segm", "segmentation")
VISIBLE_KEYS = (
    "visible_segmentation",
    "visible_segm",
    "visible_mask",
    "modal_segmentation",
    "modal_mask",
    "inmodal_segmentation",
    "inmodal_seg",
    "i_segm",
    "segmentation",
)
KEYS = FlatKeys(amodal=AMODAL_KEYS, visible=VISIBLE_KEYS)
SPLITS = {
    name: [f"annotations/AiFi-MUVA_{name}.json", f"AiFi-MUVA_{name}.json"]
    for name in ("train", "val", "test")
}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the annotation files; images lie in `images/`."""
    files = choose_splits(root, split, SPLITS, "muva")
    return [MuvaSource("muva", name, path, root / "images", KEYS) for name, path in files.items()]


@dataclass
class MuvaSource(FlatCocoSource):
    """A flat COCO file whose mask keys are looked for in each record."""

    def _probe(self, record: dict[str, Any]) -> None:
        if not isinstance(record, dict) or None in _mask_keys(record):
            found = sorted(record) if isinstance(record, dict) else type(record).__name__
            raise DatasetFormatError(
                f"annotations of muva in {self.annotations_path} must have an amodal mask under "
                f"one of {', '.join(AMODAL_KEYS)} and a visible mask under another of "
                f"{', '.join(VISIBLE_KEYS)}; the first one has {found}"
            )

    def raw(self, record: dict[str, Any]) -> RawInstance:
        """Take the masks from the keys that this record has."""
        amodal_key, visible_key = _mask_keys(record)
        raw = super().raw(record)
        return replace(
            raw,
            amodal=record.get(amodal_key) if amodal_key else None,
            visible=record.get(visible_key) if visible_key else None,
            # Which mask `bbox` encloses is not documented either.
            amodal_box_xywh=None,
        )


def _mask_keys(record: dict[str, Any]) -> tuple[str | None, str | None]:
    amodal = next((key for key in AMODAL_KEYS if key in record), None)
    visible = next((key for key in VISIBLE_KEYS if key in record and key != amodal), None)
    return amodal, visible
