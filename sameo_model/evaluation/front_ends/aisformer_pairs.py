"""AISFormer writes amodal and visible masks of the same detections into two files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sameo_model.evaluation.front_ends.coco_results import read_coco_results, read_detectron2
from sameo_model.evaluation.front_ends.raw import RawDetection, RawFile

AMODAL, VISIBLE = "instances_amodal", "instances_visible"


def partner_of(path: Path) -> Path:
    """Return where the visible masks lie that belong to a file; the file itself if nowhere."""
    return path.with_name(path.name.replace(AMODAL, VISIBLE))


def add_visible_masks(path: Path, raw: RawFile, mask_key: str) -> tuple[RawFile, list[str]]:
    """Take the visible masks from the file beside one of amodal masks, where there is one.

    Args:
        path: The file that was read; its name tells what it holds.

    Returns:
        The content, and a note about what was found.

    Raises:
        DatasetFormatError: If the other file is damaged.
    """
    if VISIBLE in path.name:
        better = path.name.replace(VISIBLE, AMODAL)
        return raw, [f"{path.name} holds visible masks; the amodal ones are in {better}"]
    other_path = partner_of(path)
    if AMODAL not in path.name or not other_path.is_file():
        return raw, []
    if path.suffix == ".json":
        other = read_coco_results(
            other_path, box_format="xywh", mask_key=mask_key, for_prompting=False
        )
    else:
        other = read_detectron2(other_path, mask_key=mask_key)
    mine, theirs = ([_identity(row) for row in one.detections] for one in (raw, other))
    if mine != theirs:
        return raw, [f"{other_path.name} holds other detections than {path.name} and is not used"]
    rows = [
        replace(row, visible=row.visible or partner.mask)
        for row, partner in zip(raw.detections, other.detections, strict=True)
    ]
    return replace(raw, detections=rows), [f"visible masks are those of {other_path.name}"]


def _identity(row: RawDetection) -> tuple[Any, ...]:
    box = None if row.box is None or isinstance(row.box, Mapping) else tuple(row.box)
    return row.image, row.category, row.score, box
