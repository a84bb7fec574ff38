"""The forms in which people give boxes: text, JSON lists, JSON by image, COCO's two forms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sameo_model.runtime.box_fields import (
    BoxFormError,
    get_field,
    to_numbers,
    to_score,
    with_fractions,
    without_repeats,
)
from sameo_model.runtime.box_source import BoxFormat, BoxPrompt, BoxSource, PromptKind
from sameo_model.runtime.clicks import MAX_CLICKS
from sameo_model.runtime.coco_boxes import is_result, parse_coco, parse_results

_KEYS = ("box", "class", "score", "points")
_FORMS = (
    'boxes must be "x1,y1,x2,y2;...", or JSON: a list of {"box": [x1, y1, x2, y2], '
    '"class": "...", "score": 0.9}, a mapping from image file name to such a list, amodal COCO, or '
    "COCO results"
)


def read_boxes(
    text_or_path: str | Path, prompts: PromptKind = "visible", box_format: BoxFormat = "xywh"
) -> BoxSource:
    """Read boxes in any of the forms.

    Args:
        text_or_path: `"x1,y1,x2,y2;..."` (the empty text is no box), or JSON, or the path of a
            JSON file: a list of `{"box", "class", "score", "points"}` (all but the box may be left
            out; points are clicks on the visible part, a list of at most 4 [x, y]), a
            mapping from image file name to such a list, amodal COCO, or COCO results (a list of
            `{"file_name" or "image_id", "bbox" or "segmentation", "score", "category_id"}`).
        prompts: For amodal COCO, which box counts: `visible` takes `visible_bbox`, else the box
            of `visible_mask`, else, where the file knows no visible part, `bbox`; instances that
            are wholly hidden are left out. `amodal` takes `bbox`.
        box_format: For COCO results, what the numbers of `bbox` are: x, y, width, height or x1, y1,
            x2, y2.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If the text or the file has none of these forms; the message names the place.
    """
    text = str(text_or_path).strip()
    if text[:1] in ("[", "{"):
        return _parse_json_text(text, "the given boxes", prompts, box_format)
    if not text or ("," in text and not text.endswith(".json")):
        return BoxSource(common=_parse_text(text))
    path = Path(text_or_path)
    if not path.is_file():
        raise FileNotFoundError(f"boxes file {path} does not exist; {_FORMS}")
    return _parse_json_text(path.read_bytes(), f"boxes file {path}", prompts, box_format)


def _parse_json_text(
    text: str | bytes, subject: str, prompts: PromptKind, box_format: BoxFormat
) -> BoxSource:
    try:
        content = json.loads(text, object_pairs_hook=without_repeats)
    except BoxFormError as error:
        raise ValueError(f"{subject}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{subject} is not JSON ({error}); {_FORMS}") from error
    try:
        return _parse_json(content, prompts, box_format)
    except BoxFormError as error:
        raise ValueError(f"{subject}: {error}; {_FORMS}") from error


def _parse_text(text: str) -> list[BoxPrompt]:
    parts = [part for part in text.split(";") if part.strip()]
    try:
        boxes = [[float(number) for number in part.split(",")] for part in parts]
    except ValueError as error:
        raise ValueError(f"boxes '{text}' hold something that is no number; {_FORMS}") from error
    for box, part in zip(boxes, parts, strict=True):
        if len(box) != 4:
            raise ValueError(f"box '{part}' must have 4 numbers, got {len(box)}; {_FORMS}")
    return [BoxPrompt((x1, y1, x2, y2)) for x1, y1, x2, y2 in boxes]


def _parse_json(content: Any, prompts: PromptKind, box_format: BoxFormat) -> BoxSource:
    if isinstance(content, list) and any(is_result(item) for item in content):
        return parse_results(content, box_format)
    if isinstance(content, list):
        return BoxSource(common=with_fractions([_parse_list(content, "the list")])[0])
    if not isinstance(content, Mapping):
        raise BoxFormError("holds neither a list nor an object")
    if "annotations" in content:
        return parse_coco(content, prompts)
    lists = [_parse_list(items, f"'{name}'") for name, items in content.items()]
    return BoxSource(dict(zip(content, with_fractions(lists), strict=True)))


def _parse_list(items: Any, place: str) -> list[BoxPrompt]:
    if not isinstance(items, list):
        raise BoxFormError(f"{place} must hold a list of boxes, got {type(items).__name__}")
    return [_parse_item(item, f"entry {i} of {place}") for i, item in enumerate(items)]


def _parse_item(item: Any, place: str) -> BoxPrompt:
    box = to_numbers(get_field(item, "box", place), 4, f"'box' in {place}")
    if unknown := [key for key in item if key not in _KEYS]:
        raise BoxFormError(
            f"{place} has the unknown key '{unknown[0]}'; the keys are {', '.join(_KEYS)}"
        )
    class_id = item.get("class", "")
    score = item.get("score", 1.0)
    if not isinstance(class_id, str | int):
        raise BoxFormError(f"'class' in {place} must be a text, got {class_id!r}")
    points = item.get("points", [])
    if not isinstance(points, list) or len(points) > MAX_CLICKS:
        raise BoxFormError(
            f"'points' in {place} must be a list of at most {MAX_CLICKS} [x, y], got {points!r}"
        )
    clicks = [to_numbers(point, 2, f"'points' in {place}") for point in points]
    return BoxPrompt(
        (box[0], box[1], box[2], box[3]),
        str(class_id),
        to_score(score, place),
        points_xy=tuple((x, y) for x, y in clicks),
    )


def parse_points(text: str, prompts: Sequence[BoxPrompt]) -> list[BoxPrompt]:
    """Return boxes with clicks given as a text.

    Args:
        text: `"x,y x,y;x,y;..."`, a group for each box in their order, an empty one for none.

    Raises:
        ValueError: If the text has another form, or another number of groups than of boxes.
    """
    groups = text.split(";")
    if len(groups) != len(prompts):
        raise ValueError(
            f"points must have a group for each of the {len(prompts)} boxes, separated by ;, got "
            f"{len(groups)} in '{text}'"
        )
    return [
        replace(prompt, points_xy=tuple(_parse_point(part) for part in group.split()))
        for prompt, group in zip(prompts, groups, strict=True)
    ]


def _parse_point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(number) for number in text.split(","))
    except ValueError as error:
        raise ValueError(f"point '{text}' must be two numbers x,y in pixels") from error
    return x, y
