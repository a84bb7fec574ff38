"""Boxes in COCO's forms: annotations, and results of a detector."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sameo_model.runtime.box_fields import (
    BoxFormError,
    get_field,
    get_integer,
    get_list,
    to_numbers,
    to_score,
    with_fractions,
    without_fraction,
)
from sameo_model.runtime.box_source import Box, BoxFormat, BoxPrompt, BoxSource, PromptKind
from sameo_model.runtime.masks import rle_to_mask
from sameo_model.runtime.types import ImageHW, MaskCrop

_LOGGER = logging.getLogger(__name__)


def parse_coco(content: Mapping[str, Any], prompts: PromptKind) -> BoxSource:
    """Take the boxes of objects out of amodal COCO; crowd regions prompt nothing.

    Args:
        prompts: Which box counts; see `read_boxes`.

    Raises:
        BoxFormError: If a field has another form, or two images the same number or name.
    """
    names = _unique(content, "images", "file_name")
    categories = _unique(content, "categories", "name")
    by_image: dict[str, list[BoxPrompt]] = {name: [] for name in names.values()}
    if len(by_image) < len(names):
        raise BoxFormError("'images' must have different file names, but one is there twice")
    num_hidden = num_crowds = 0
    for i, annotation in enumerate(get_list(content, "annotations")):
        place = f"entry {i} of 'annotations'"
        name = names.get(get_integer(annotation, "image_id", place))
        if name is None:
            raise BoxFormError(f"'image_id' in {place} is not the id of an image")
        if annotation.get("iscrowd"):
            num_crowds += 1
            continue
        box = _coco_box(annotation, prompts, place)
        if box is None:
            num_hidden += 1
            continue
        category_id = get_integer(annotation, "category_id", place)
        class_id = categories.get(category_id, "")
        by_image[name].append(BoxPrompt(box, class_id, 1.0, category_id))
    if num_hidden:
        _LOGGER.warning("left out %d instances without a visible part", num_hidden)
    if num_crowds:
        _LOGGER.warning("left out %d crowd regions, which are no objects", num_crowds)
    return BoxSource(
        by_image,
        image_ids={name: number for number, name in names.items()},
        sizes_hw=_sizes_hw(content["images"]),
        form="amodal COCO",
    )


def _sizes_hw(images: Sequence[Mapping[str, Any]]) -> dict[str, ImageHW]:
    sizes: dict[str, ImageHW] = {}
    for image in images:
        height, width = (without_fraction(image.get(side)) for side in ("height", "width"))
        if type(height) is int and type(width) is int:
            sizes[str(image["file_name"])] = height, width
    return sizes


def is_result(item: Any) -> bool:
    """Return whether an entry of a list is a record of COCO results."""
    return isinstance(item, Mapping) and ("image_id" in item or "file_name" in item)


def parse_results(records: Sequence[Any], box_format: BoxFormat) -> BoxSource:
    """Take the boxes out of COCO results, those of our own `predict` among them.

    A record's `file_name` names its image, else an `image_id` that is a text; the number decides
    where the file knows nothing else.

    Args:
        box_format: What the numbers of `bbox` are; see `read_boxes`.

    Raises:
        BoxFormError: If a record has no image, box or score, or numbers and names are mixed so that
            the images of some records remain unknown.
    """
    images = [_image_of(record, f"entry {i} of the list") for i, record in enumerate(records)]
    prompts = [
        _to_prompt(record, box_format, f"entry {i} of the list") for i, record in enumerate(records)
    ]
    prompts = with_fractions([prompts])[0]
    names = {number: name for name, number in images if name is not None and number is not None}
    if all(name is None for name, _ in images):
        by_number: dict[int, list[BoxPrompt]] = {}
        for (_, number), prompt in zip(images, prompts, strict=True):
            assert number is not None
            by_number.setdefault(number, []).append(prompt)
        return BoxSource(by_number=by_number, form="COCO results")
    by_image: dict[str, list[BoxPrompt]] = {}
    for i, ((name, number), prompt) in enumerate(zip(images, prompts, strict=True)):
        name = names.get(number) if name is None and number is not None else name
        if name is None:
            raise BoxFormError(f"entry {i} of the list has no 'file_name' though others have one")
        by_image.setdefault(name, []).append(prompt)
    return BoxSource(by_image, image_ids=_agreed_ids(images), form="COCO results")


def _agreed_ids(images: Sequence[tuple[str | None, int | None]]) -> dict[str, int]:
    """Return the numbers of images; none where a name has two, or two names share one."""
    pairs = {(name, number) for name, number in images if name is not None and number is not None}
    ids = {name: number for name, number in pairs}
    if len({number for _, number in pairs}) == len(ids) == len(pairs):
        return ids
    _LOGGER.warning("note: 'file_name' counts, since 'image_id' contradicts it in some entries")
    return {}


def _image_of(record: Any, place: str) -> tuple[str | None, int | None]:
    """Return name and number of a record's image; one of them may be unknown."""
    if not isinstance(record, Mapping):
        raise BoxFormError(f"{place} must be an object, got {type(record).__name__}")
    number, name = without_fraction(record.get("image_id")), record.get("file_name")
    if name is None and isinstance(number, str):
        return number, None
    if not isinstance(name, str | None) or not (number is None or type(number) in (int, str)):
        raise BoxFormError(
            f"{place} must have a 'file_name' or 'image_id', got {name!r}, {number!r}"
        )
    if name is None and number is None:
        raise BoxFormError(f"{place} has no 'file_name' and no 'image_id'")
    return name, number if type(number) is int else None


def _to_prompt(record: Mapping[str, Any], box_format: BoxFormat, place: str) -> BoxPrompt:
    category, name = without_fraction(record.get("category_id")), record.get("class")
    score = record.get("detection_score", record.get("score"))
    if score is None:
        raise BoxFormError(f"{place} has no key 'score'")
    if isinstance(category, str):
        category, name = None, name or category
    if category is not None and type(category) is not int:
        raise BoxFormError(
            f"'category_id' in {place} must be a whole number or a text, got {category!r}"
        )
    return BoxPrompt(
        _result_box(record, box_format, place),
        "" if name is None else str(name),
        to_score(score, place),
        category,
    )


def _result_box(record: Mapping[str, Any], box_format: BoxFormat, place: str) -> Box:
    """Return the detector's own box, else that of the mask."""
    if record.get("prompt_box") is not None:
        x1, y1, x2, y2 = to_numbers(record["prompt_box"], 4, f"'prompt_box' in {place}")
        return x1, y1, x2, y2
    if record.get("bbox") is not None:
        x, y, right, bottom = to_numbers(record["bbox"], 4, f"'bbox' in {place}")
        return (x, y, right, bottom) if box_format == "xyxy" else (x, y, x + right, y + bottom)
    mask = get_field(record, "segmentation", f"{place}, which has no 'bbox',")
    try:
        if isinstance(mask, list):
            xs = [float(value) for polygon in mask for value in polygon[::2]]
            ys = [float(value) for polygon in mask for value in polygon[1::2]]
            return min(xs), min(ys), max(xs), max(ys)
        x1, y1, x2, y2 = MaskCrop.from_mask(rle_to_mask(mask)).box_xyxy
        return float(x1), float(y1), float(x2), float(y2)
    except (TypeError, ValueError) as error:
        raise BoxFormError(
            f"'segmentation' in {place} must hold polygons or run lengths ({error})"
        ) from error


def _unique(content: Mapping[str, Any], key: str, name_key: str) -> dict[int, str]:
    """Return the names of images or categories by their number."""
    names: dict[int, str] = {}
    for i, item in enumerate(get_list(content, key)):
        place = f"entry {i} of '{key}'"
        number = get_integer(item, "id", place)
        if number in names:
            raise BoxFormError(f"'id' in {place} must differ from the others, got {number} again")
        names[number] = str(get_field(item, name_key, place))
    return names


def _coco_box(annotation: Mapping[str, Any], prompts: PromptKind, place: str) -> Box | None:
    """Return the prompting box; None for an instance that is wholly hidden."""
    if prompts == "visible" and annotation.get("visible_bbox") is not None:
        return _xywh_to_xyxy(annotation["visible_bbox"], f"'visible_bbox' in {place}")
    if prompts == "visible" and annotation.get("visible_mask") is not None:
        try:
            crop = MaskCrop.from_mask(rle_to_mask(annotation["visible_mask"]))
        except ValueError as error:
            raise BoxFormError(f"'visible_mask' in {place}: {error}") from error
        x1, y1, x2, y2 = crop.box_xyxy
        return (float(x1), float(y1), float(x2), float(y2)) if crop.area else None
    return _xywh_to_xyxy(get_field(annotation, "bbox", place), f"'bbox' in {place}")


def _xywh_to_xyxy(box: Any, place: str) -> Box | None:
    x, y, width, height = to_numbers(box, 4, place)
    return None if width == 0 or height == 0 else (x, y, x + width, y + height)
