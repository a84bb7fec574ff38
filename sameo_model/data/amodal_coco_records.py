"""Records of amodal COCO as JSON, the part of writing that can run on all cores."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sameo_model.data.rle import rle_area, rle_box_xywh
from sameo_model.data.types import AmodalImage, AmodalInstance, CrowdRegion, Rle

NO_CATEGORY = "object"


def image_text(image: AmodalImage, images_dir: Path) -> str:
    """Return the entry of an image.

    Args:
        image: The image.
        images_dir: Folder that `file_name` is relative to.
    """
    height, width = image.image_hw
    record: dict[str, Any] = {
        "id": image.image_id,
        "file_name": Path(os.path.relpath(image.path, images_dir)).as_posix(),
        "height": height,
        "width": width,
    }
    if image.coco_image_ids:
        record["coco_image_ids"] = list(image.coco_image_ids)
    return to_text(record)


def annotation_texts(
    image: AmodalImage, category_id: Callable[[AmodalInstance | CrowdRegion], int]
) -> list[str]:
    """Return the annotations of an image: its instances, then its crowd regions.

    Args:
        image: The image.
        category_id: Gives the number of a category in the file.

    Raises:
        ValueError: If an instance has no amodal mask.
    """
    records = [
        annotation_record(image.image_id, one, category_id(one)) for one in image.instances
    ] + [_crowd_record(image.image_id, one, category_id(one)) for one in image.crowds]
    return [to_text(record) for record in records]


def annotation_record(image_id: int, instance: AmodalInstance, category_id: int) -> dict[str, Any]:
    """Return the annotation of an instance.

    Args:
        image_id: Number of its image.
        instance: The instance.
        category_id: Number of its category in the file.

    Raises:
        ValueError: If the instance has no amodal mask.
    """
    if instance.amodal_rle is None or instance.amodal_box_xywh is None:
        raise ValueError(
            f"instance {instance.annotation_id} must have an amodal mask to be written as "
            f"amodal COCO, got none; modal data sets cannot be converted"
        )
    record: dict[str, Any] = {
        "id": instance.annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": _rle_to_json(instance.amodal_rle),
        "bbox": list(instance.amodal_box_xywh),
        "area": rle_area(instance.amodal_rle),
        "iscrowd": 0,
    }
    if instance.visible_rle is not None and instance.visible_box_xywh is not None:
        record["visible_mask"] = _rle_to_json(instance.visible_rle)
        record["visible_bbox"] = list(instance.visible_box_xywh)
        record["occlude_rate"] = instance.occlusion_rate
    if instance.source_id:
        record["source_id"] = instance.source_id
    return record


def _crowd_record(image_id: int, crowd: CrowdRegion, category_id: int) -> dict[str, Any]:
    return {
        "id": crowd.annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": _rle_to_json(crowd.rle),
        "bbox": list(rle_box_xywh(crowd.rle)),
        "area": rle_area(crowd.rle),
        "iscrowd": 1,
    }


def to_text(record: Mapping[str, Any]) -> str:
    """Return a record as JSON on one line."""
    return json.dumps(record, separators=(",", ":"))


def _rle_to_json(rle: Rle) -> dict[str, Any]:
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
