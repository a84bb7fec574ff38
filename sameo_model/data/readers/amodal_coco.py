"""Amodal COCO (the schema of COCOA-cls and D2SA with our two extra keys), and its writer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from sameo_model.data.amodal_coco_writer import AmodalCocoWriter, write_amodal_coco
from sameo_model.data.rle import occlusion_rate, rle_area, rle_box_xywh
from sameo_model.data.types import AmodalImage, AmodalInstance, Rle

__all__ = ["AmodalCocoWriter", "open_amodal_coco", "write_amodal_coco"]


def open_amodal_coco(
    annotations_path: Path | str, images_dir: Path | str | None = None
) -> Sequence[AmodalImage]:
    """Open an amodal COCO file.

    Args:
        annotations_path: The JSON file.
        images_dir: Folder that `file_name` is relative to; default: `images/` beside the file.

    Returns:
        Images in the order of the file, those without annotations included.

    Raises:
        FileNotFoundError: If the annotation file does not exist.
    """
    annotations_path = Path(annotations_path)
    if not annotations_path.is_file():
        raise FileNotFoundError(
            f"amodal COCO annotations must lie at {annotations_path}, but there is no such file"
        )
    images_dir = Path(images_dir) if images_dir else annotations_path.parent / "images"
    document = json.loads(annotations_path.read_text())
    names = {entry["id"]: entry["name"] for entry in document.get("categories", [])}
    sizes_hw = {entry["id"]: (entry["height"], entry["width"]) for entry in document["images"]}
    instances = defaultdict(list)
    for record in document["annotations"]:
        image_id = record["image_id"]
        instances[image_id].append(_instance(record, sizes_hw[image_id], names))
    return [
        AmodalImage(
            image_id=entry["id"],
            path=images_dir / entry["file_name"],
            image_hw=sizes_hw[entry["id"]],
            instances=tuple(instances[entry["id"]]),
            dataset="amodal_coco",
            coco_image_id=entry.get("coco_image_id"),
        )
        for entry in document["images"]
    ]


def _instance(
    record: dict[str, Any], image_hw: tuple[int, int], names: dict[int, str]
) -> AmodalInstance:
    amodal_rle = _to_rle(record["segmentation"], image_hw)
    visible = record.get("visible_mask")
    visible_rle = _to_rle(visible, image_hw) if visible else None
    rate = occlusion_rate(rle_area(amodal_rle), rle_area(visible_rle)) if visible_rle else None
    return AmodalInstance(
        annotation_id=record["id"],
        category=names.get(record["category_id"], ""),
        amodal_rle=amodal_rle,
        visible_rle=visible_rle,
        amodal_box_xywh=rle_box_xywh(amodal_rle),
        visible_box_xywh=rle_box_xywh(visible_rle) if visible_rle else None,
        occlusion_rate=rate,
        category_id=record["category_id"],
        source_id=record.get("source_id", ""),
    )


def _to_rle(segmentation: Any, image_hw: tuple[int, int]) -> Rle:
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], (str, bytes)):
        counts = segmentation["counts"]
        counts = counts.encode() if isinstance(counts, str) else counts
        return {"size": list(segmentation["size"]), "counts": counts}
    height, width = image_hw
    parts = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.merge(parts) if isinstance(parts, list) else parts
