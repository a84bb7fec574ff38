"""MMDetection's result pickles: one list per image (2.x), or dumped data samples (3.x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.data.types import DatasetFormatError
from sameo_model.evaluation.front_ends.raw import RawDetection, RawFile
from sameo_model.evaluation.front_ends.safe_load import load_pickle


def read_mmdetection(path: Path) -> RawFile:
    """Read a result pickle of MMDetection.

    Version 3 (`tools/test.py --out`) writes a dictionary per image with `img_id` and
    `pred_instances`; version 2 writes, in the order of the annotations, a list of arrays
    (n, 5) x1, y1, x2, y2, score per class, alone or together with a list of RLE per class.

    Raises:
        DatasetFormatError: If the file is damaged, holds more than plain data, or has another
            form.
    """
    content = load_pickle(path)
    if isinstance(content, Sequence) and not content:
        return RawFile("MMDetection", [], "xyxy", has_class_positions=True)
    if isinstance(content, Sequence) and isinstance(content[0], Mapping):
        rows = [row for sample in content for row in _read_sample(path, sample)]
        return RawFile(
            "MMDetection 3", rows, "xyxy", has_class_positions=True, num_images=len(content)
        )
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        rows = [
            row
            for position, result in enumerate(content)
            for row in _read_v2(path, position, result)
        ]
        return RawFile(
            "MMDetection 2",
            rows,
            "xyxy",
            has_class_positions=True,
            has_image_positions=True,
            num_images=len(content),
        )
    raise _form_error(path, f"a {type(content).__name__}")


def _read_sample(path: Path, sample: Mapping[str, Any]) -> list[RawDetection]:
    found = sample.get("pred_instances")
    if not isinstance(found, Mapping) or not {"bboxes", "scores", "labels"} <= set(found):
        raise _form_error(path, f"a sample with {sorted(sample)}")
    image, name = sample.get("img_id"), sample.get("img_path")
    boxes, scores, labels = (_to_list(found[key]) for key in ("bboxes", "scores", "labels"))
    masks = found.get("masks") or [None] * len(boxes)
    if (image is None and name is None) or not len(boxes) == len(scores) == len(labels) == len(
        masks
    ):
        raise _form_error(path, "a sample without image, or with lists of unequal length")
    return [
        RawDetection(image, label, score, box, mask, name=name)
        for label, score, box, mask in zip(labels, scores, boxes, masks, strict=True)
    ]


def _to_list(values: Any) -> list[Any]:
    """Return an array or a tensor as a list."""
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _read_v2(path: Path, position: int, result: Any) -> list[RawDetection]:
    boxes_by_class, masks_by_class = result if isinstance(result, tuple) else (result, None)
    # Mask scoring detectors pair the masks with scores of their own.
    if isinstance(masks_by_class, tuple):
        masks_by_class = masks_by_class[0]
    if not isinstance(boxes_by_class, list):
        raise _form_error(path, f"a {type(boxes_by_class).__name__} for image {position}")
    rows = []
    for label, boxes in enumerate(boxes_by_class):
        table = np.asarray(boxes, dtype=float)
        if table.ndim != 2 or table.shape[1] != 5:
            raise _form_error(path, f"an array of shape {table.shape} for image {position}")
        masks = masks_by_class[label] if masks_by_class is not None else [None] * len(table)
        if len(masks) != len(table):
            raise _form_error(path, f"{len(masks)} masks for {len(table)} boxes")
        rows += [
            RawDetection(position, label, row[4], row[:4], mask)
            for row, mask in zip(table.tolist(), masks, strict=True)
        ]
    return rows


def _form_error(path: Path, found: str) -> DatasetFormatError:
    return DatasetFormatError(
        f"{path} must hold results as MMDetection's tools/test.py --out writes them, got {found}"
    )
