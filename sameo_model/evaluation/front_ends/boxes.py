"""A front end's own file as boxes for `predict`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sameo_model.data.types import DatasetFormatError
from sameo_model.evaluation.front_ends.checks import check_scores
from sameo_model.evaluation.front_ends.raw import RawDetection, RawFile
from sameo_model.evaluation.front_ends.reading import ReadOptions, read_raw, to_xyxy
from sameo_model.runtime.box_fields import with_fractions
from sameo_model.runtime.box_source import BoxPrompt, BoxSource


@dataclass(frozen=True)
class Labels:
    """What a COCO file calls its images and classes."""

    # file names by number, in the order of the file
    images: dict[int, str] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)


def read_labels(path: Path) -> Labels:
    """Read the names of images and classes out of a COCO file.

    Raises:
        FileNotFoundError: If there is no such file.
        DatasetFormatError: If it has another form.
    """
    if not path.is_file():
        raise FileNotFoundError(f"annotations {path} do not exist; check --annotations")
    try:
        content = json.loads(path.read_bytes())
        return Labels(
            {int(image["id"]): str(image["file_name"]) for image in content["images"]},
            {int(one["id"]): str(one["name"]) for one in content.get("categories", [])},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetFormatError(
            f"annotations {path} must be a COCO file with 'images' and 'categories' ({error!r})"
        ) from error


def read_front_end_boxes(path: Path, annotations: Path | None) -> BoxSource:
    """Read boxes, scores and classes of a front end's pickle or torch file.

    Args:
        path: What MMDetection (.pkl) or Detectron2 and its forks (.pth) write.
        annotations: COCO file that the front end ran on; names images and classes. None: images
            keep the number or name of the file, and classes by position stay unknown.

    Raises:
        FileNotFoundError: If a file does not exist.
        DatasetFormatError: If a file is damaged or has another form.
        ValueError: If images are known by position alone and there are no annotations.
    """
    if not path.is_file():
        raise FileNotFoundError(f"boxes file {path} does not exist; check --boxes")
    labels = Labels() if annotations is None else read_labels(annotations)
    raw = read_raw(path, ReadOptions())
    check_scores(raw.detections)
    if raw.has_image_positions and raw.num_images != len(labels.images):
        raise ValueError(
            f"{path} lists {raw.num_images} images by position, but --annotations names "
            f"{len(labels.images)}; give the annotations of that run"
        )
    prompts = [_to_prompt(row, raw, labels) for row in raw.detections]
    by_image: dict[str, list[BoxPrompt]] = {}
    by_number: dict[int, list[BoxPrompt]] = {}
    image_ids: dict[str, int] = {}
    for row, prompt in zip(raw.detections, with_fractions([prompts])[0], strict=True):
        name, number = _name_of(row, raw, labels)
        if name is None:
            by_number.setdefault(number if number is not None else -1, []).append(prompt)
            continue
        by_image.setdefault(name, []).append(prompt)
        if number is not None:
            image_ids[name] = number
    if by_number and not by_image:
        return BoxSource(by_number=by_number)
    return BoxSource(
        by_image | {f"image {n}": rows for n, rows in by_number.items()}, [], image_ids
    )


def _name_of(row: RawDetection, raw: RawFile, labels: Labels) -> tuple[str | None, int | None]:
    if raw.has_image_positions:
        known = list(labels.images.items())
        position = int(row.image or 0)
        return known[position][1], known[position][0]
    number = row.image if isinstance(row.image, int) else None
    if row.name is not None or isinstance(row.image, str):
        return row.name or str(row.image), number
    return (labels.images.get(number) if number is not None else None), number


def _to_prompt(row: RawDetection, raw: RawFile, labels: Labels) -> BoxPrompt:
    category = row.category if isinstance(row.category, int) else None
    if raw.has_class_positions and category is not None:
        known = sorted(labels.categories)
        category = known[category] if category < len(known) else None
    name = row.class_name or (row.category if isinstance(row.category, str) else None)
    class_id = name or (labels.categories.get(category, "") if category is not None else "")
    if row.box is None and not isinstance(row.mask, Mapping):
        raise DatasetFormatError(f"a record of image {row.image} has neither box nor RLE mask")
    box_xyxy = to_xyxy(row.box, raw.box_format, row.mask)
    return BoxPrompt(box_xyxy, class_id, float(row.score), category)
