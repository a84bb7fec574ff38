"""Detectron2's `instances_predictions.pth` (AISFormer and ViTDet are built on Detectron2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sameo_model.data.types import DatasetFormatError
from sameo_model.evaluation.front_ends.coco_results import parse_records
from sameo_model.evaluation.front_ends.raw import RawFile
from sameo_model.evaluation.front_ends.safe_load import load_torch


def read_detectron2(path: Path, *, mask_key: str) -> RawFile:
    """Read the file that Detectron2's COCO evaluator leaves in its output folder.

    It holds one entry per image with `instances` in COCO's result form; unlike in
    `coco_instances_results.json`, classes are numbered by their position.

    Raises:
        DatasetFormatError: If the file is damaged, holds more than plain data, or has another
            form.
    """
    content = load_torch(path)
    is_known = isinstance(content, list) and all(
        isinstance(entry, Mapping) and isinstance(entry.get("instances"), list) for entry in content
    )
    if not is_known:
        raise DatasetFormatError(
            f"{path} must hold a list of {{image_id, instances}}, as Detectron2's evaluator writes "
            f"it; got something else"
        )
    records = [
        {"image_id": entry.get("image_id"), **record}
        for entry in content
        for record in entry["instances"]
    ]
    detections = parse_records(path, records, mask_key)
    return RawFile(
        "Detectron2", detections, "xywh", has_class_positions=True, num_images=len(content)
    )
