"""COCO results in the dialects that detectors write, Detectron2's file, and our own `predict`'s."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sameo_model.data.types import DatasetFormatError
from sameo_model.evaluation.front_ends.raw import BoxFormat, RawDetection, RawFile
from sameo_model.evaluation.front_ends.safe_load import load_torch
from sameo_model.runtime.box_fields import BoxFormError, without_fraction, without_repeats

VISIBLE_KEYS = ("visible_mask", "visible_segmentation", "inmodal_seg")
CLASS_KEYS = ("class", "class_name", "category_name")
_FORMS = (
    "must hold COCO results: a list of {image_id, category_id, score, bbox and/or segmentation}, "
    "an object with such a list under `annotations`, or a mapping from image file name to a list "
    "of {box, class, score}"
)


def read_coco_results(
    path: Path, *, box_format: BoxFormat, mask_key: str, for_prompting: bool
) -> RawFile:
    """Read a JSON file of detections.

    Args:
        box_format: What the numbers of `bbox` are; COCO says x, y, width, height.
        for_prompting: Whether a model is to be prompted with the boxes. Then records of our own
            `predict` count with the detector's box and score, not with those of their masks.

    Raises:
        DatasetFormatError: If it is not JSON or has another form.
    """
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=without_repeats)
    except BoxFormError as error:
        raise DatasetFormatError(f"{path}: {error}") from error
    except ValueError as error:
        raise DatasetFormatError(
            f"{path} must be a whole JSON file, but reading it failed ({error}); write it again"
        ) from error
    names: dict[Any, str] = {}
    if isinstance(content, Mapping) and "annotations" in content:
        names = _names_of(content.get("images"))
        content = content["annotations"]
    if isinstance(content, Mapping):
        return RawFile("boxes by image", _read_mapping(path, content), "xyxy")
    if not isinstance(content, list):
        raise DatasetFormatError(f"{path} {_FORMS}, got {type(content).__name__}")
    records = _parse_records(path, content, mask_key)
    records = [
        row if row.name or row.image not in names else replace(row, name=names[row.image])
        for row in records
    ]
    if for_prompting:
        _take_prompts(content, records, box_format)
    return RawFile("COCO results", records, box_format)


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
    detections = _parse_records(path, records, mask_key)
    return RawFile(
        "Detectron2", detections, "xywh", has_class_positions=True, num_images=len(content)
    )


def _parse_records(path: Path, records: Sequence[Any], mask_key: str) -> list[RawDetection]:
    """Take the fields out of COCO result records.

    Raises:
        DatasetFormatError: If a record lacks image, score, or both box and mask.
    """
    rows = [_parse(path, number, record, mask_key) for number, record in enumerate(records)]
    shares = [record.get("area") for record in records]
    # AISFormer writes the visible share as `area`; everyone else an area in pixels, if any.
    if not shares or not all(_is_share(share) for share in shares):
        return rows
    return [
        replace(row, visible_share=float(share)) for row, share in zip(rows, shares, strict=True)
    ]


def _is_share(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (math.isnan(value) or 0 <= value <= 1)


def _names_of(images: Any) -> dict[Any, str]:
    """Return the file names of a list of images by their number."""
    entries = images if isinstance(images, list) else []
    return {
        entry["id"]: entry["file_name"]
        for entry in entries
        if isinstance(entry, Mapping) and isinstance(entry.get("file_name"), str) and "id" in entry
    }


def _parse(path: Path, number: int, record: Any, mask_key: str) -> RawDetection:
    if not isinstance(record, Mapping):
        raise DatasetFormatError(
            f"{path} {_FORMS}, got a {type(record).__name__} as entry {number}"
        )
    name = record.get("file_name")
    image = without_fraction(record.get("image_id", name))
    mask, box = record.get(mask_key), record.get("bbox")
    missing = [
        name
        for name, value in (("image_id", image), ("score", record.get("score")))
        if value is None
    ]
    if mask is None and box is None:
        missing.append(f"bbox or {mask_key}")
    if missing:
        raise DatasetFormatError(
            f"entry {number} of {path} has no {' and no '.join(missing)}; the file {_FORMS}"
        )
    visible = next((record[key] for key in VISIBLE_KEYS if record.get(key) is not None), None)
    class_name = next((record[key] for key in CLASS_KEYS if record.get(key)), None)
    return RawDetection(
        image,
        without_fraction(record.get("category_id", class_name)),
        record["score"],
        box,
        mask,
        visible,
        name if isinstance(name, str) and name else None,
        class_name if isinstance(class_name, str) else None,
    )


def _take_prompts(
    content: Sequence[Mapping[str, Any]], records: list[RawDetection], box_format: BoxFormat
) -> None:
    """Put the detector's box and score in the place of those of `predict`'s masks."""
    for number, record in enumerate(content):
        if "prompt_box" not in record or "detection_score" not in record:
            continue
        x1, y1, x2, y2 = record["prompt_box"]
        box = (x1, y1, x2, y2) if box_format == "xyxy" else (x1, y1, x2 - x1, y2 - y1)
        records[number] = replace(records[number], score=record["detection_score"], box=box)


def _read_mapping(path: Path, content: Mapping[str, Any]) -> list[RawDetection]:
    rows = []
    for name, items in content.items():
        if not isinstance(items, list):
            raise DatasetFormatError(f"{path} {_FORMS}, got {type(items).__name__} under {name!r}")
        for item in items:
            if not isinstance(item, Mapping) or "box" not in item:
                raise DatasetFormatError(
                    f"{path} {_FORMS}, got an entry without box under {name!r}"
                )
            rows.append(RawDetection(name, item.get("class"), item.get("score", 1.0), item["box"]))
    return rows
