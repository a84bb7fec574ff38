"""The forms in which people give boxes: text, JSON lists, JSON by image, amodal COCO."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from sameo_model.runtime.geometry import as_boxes
from sameo_model.runtime.masks import rle_to_mask
from sameo_model.runtime.types import FloatArray, MaskCrop

_LOGGER = logging.getLogger(__name__)

PromptKind = Literal["visible", "amodal"]
_Box = tuple[float, float, float, float]
_FORMS = (
    'boxes must be "x1,y1,x2,y2;...", or JSON: a list of {"box": [x1, y1, x2, y2], '
    '"class": "...", "score": 0.9}, a mapping from image file name to such a list, or amodal COCO'
)


@dataclass(frozen=True)
class BoxPrompt:
    """One detection that prompts the model.

    Attributes:
        box_xyxy: x1, y1, x2, y2 in pixels of the image; not checked against it.
        class_id: Name or id of the class; "" is unknown.
        score: The detector's confidence, in [0, 1].
        category_id: Number of the category in the COCO file; None for other forms.
    """

    box_xyxy: _Box
    class_id: str = ""
    score: float = 1.0
    category_id: int | None = None


@dataclass(frozen=True)
class BoxSource:
    """Boxes for images.

    Attributes:
        by_image: Boxes by image file name; None if the boxes name no image.
        common: Boxes that name no image.
        image_ids: COCO's image id by image file name; empty for other forms.
    """

    by_image: dict[str, list[BoxPrompt]] | None = None
    common: list[BoxPrompt] = field(default_factory=list)
    image_ids: dict[str, int] = field(default_factory=dict)

    def find_image(self, path: str | Path) -> str | None:
        """Return the name under which the source knows an image, or None.

        The longest end of the path that is a known name counts, so that both `photo.png` and
        `train/photo.png` find their image; then the bare file name, if it is unique.
        """
        names = self.by_image or {}
        parts = PurePosixPath(path).parts
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            if name in names:
                return name
        same = [name for name in names if PurePosixPath(name).name == parts[-1]]
        return same[0] if len(same) == 1 else None

    def for_image(self, path: str | Path) -> list[BoxPrompt]:
        """Return the boxes of an image, in the order of the source.

        Raises:
            ValueError: If the boxes go by image and this image is not among them.
        """
        if self.by_image is None:
            return self.common
        name = self.find_image(path)
        if name is None:
            raise ValueError(
                f"image {Path(path).name} is not in the boxes file, which names "
                f"{len(self.by_image)} images; add it there"
            )
        return self.by_image[name]


def prompts_to_boxes(prompts: Sequence[BoxPrompt]) -> FloatArray:
    """Return the boxes as float32 (N, 4), x1, y1, x2, y2 in pixels of the image."""
    return as_boxes([prompt.box_xyxy for prompt in prompts])


def read_boxes(text_or_path: str | Path, prompts: PromptKind = "visible") -> BoxSource:
    """Read boxes in any of the forms.

    Args:
        text_or_path: `"x1,y1,x2,y2;..."` (the empty text is no box), or JSON, or the path of a
            JSON file: a list of `{"box", "class", "score"}` (class and score may be left out), a
            mapping from image file name to such a list, or amodal COCO.
        prompts: For amodal COCO, which box counts: `visible` takes `visible_bbox`, else the box
            of `visible_mask`, else, where the file knows no visible part, `bbox`; instances that
            are wholly hidden are left out. `amodal` takes `bbox`.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If the text or the file has none of these forms; the message names the place.
    """
    text = str(text_or_path).strip()
    if text[:1] in ("[", "{"):
        return _parse_json_text(text, "the given boxes", prompts)
    if not text or ("," in text and not text.endswith(".json")):
        return BoxSource(common=_parse_text(text))
    path = Path(text_or_path)
    if not path.is_file():
        raise FileNotFoundError(f"boxes file {path} does not exist; {_FORMS}")
    return _parse_json_text(path.read_bytes(), f"boxes file {path}", prompts)


class _FormError(ValueError):
    """What is wrong in the boxes, without where they came from."""


def _parse_json_text(text: str | bytes, subject: str, prompts: PromptKind) -> BoxSource:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{subject} is not JSON ({error}); {_FORMS}") from error
    try:
        return _parse_json(content, prompts)
    except _FormError as error:
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


def _parse_json(content: Any, prompts: PromptKind) -> BoxSource:
    if isinstance(content, list):
        return BoxSource(common=_parse_list(content, "the list"))
    if not isinstance(content, Mapping):
        raise _FormError("holds neither a list nor an object")
    if "annotations" in content:
        return _parse_coco(content, prompts)
    return BoxSource({name: _parse_list(items, f"'{name}'") for name, items in content.items()})


def _parse_list(items: Any, place: str) -> list[BoxPrompt]:
    if not isinstance(items, list):
        raise _FormError(f"{place} must hold a list of boxes, got {type(items).__name__}")
    return [_parse_item(item, f"entry {i} of {place}") for i, item in enumerate(items)]


def _parse_item(item: Any, place: str) -> BoxPrompt:
    box = _numbers(_get(item, "box", place), 4, f"'box' in {place}")
    class_id = item.get("class", "")
    score = item.get("score", 1.0)
    if not isinstance(class_id, str | int):
        raise _FormError(f"'class' in {place} must be a text, got {class_id!r}")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise _FormError(f"'score' in {place} must be a number in [0, 1], got {score!r}")
    return BoxPrompt((box[0], box[1], box[2], box[3]), str(class_id), float(score))


def _parse_coco(content: Mapping[str, Any], prompts: PromptKind) -> BoxSource:
    names: dict[int, str] = {}
    for i, image in enumerate(_list_of(content, "images")):
        place = f"entry {i} of 'images'"
        names[_integer(image, "id", place)] = str(_get(image, "file_name", place))
    categories: dict[int, str] = {}
    for i, category in enumerate(_list_of(content, "categories")):
        place = f"entry {i} of 'categories'"
        categories[_integer(category, "id", place)] = str(_get(category, "name", place))
    by_image: dict[str, list[BoxPrompt]] = {name: [] for name in names.values()}
    num_hidden = 0
    for i, annotation in enumerate(_list_of(content, "annotations")):
        place = f"entry {i} of 'annotations'"
        name = names.get(_integer(annotation, "image_id", place))
        if name is None:
            raise _FormError(f"'image_id' in {place} is not the id of an image")
        box = _coco_box(annotation, prompts, place)
        if box is None:
            num_hidden += 1
            continue
        category_id = _integer(annotation, "category_id", place)
        class_id = categories.get(category_id, "")
        by_image[name].append(BoxPrompt(box, class_id, 1.0, category_id))
    if num_hidden:
        _LOGGER.warning("left out %d instances without a visible part", num_hidden)
    return BoxSource(by_image, image_ids={name: number for number, name in names.items()})


def _coco_box(annotation: Mapping[str, Any], prompts: PromptKind, place: str) -> _Box | None:
    """Return the prompting box; None for an instance that is wholly hidden."""
    if prompts == "visible" and annotation.get("visible_bbox") is not None:
        return _xywh_to_xyxy(annotation["visible_bbox"], f"'visible_bbox' in {place}")
    if prompts == "visible" and annotation.get("visible_mask") is not None:
        try:
            crop = MaskCrop.from_mask(rle_to_mask(annotation["visible_mask"]))
        except ValueError as error:
            raise _FormError(f"'visible_mask' in {place}: {error}") from error
        x1, y1, x2, y2 = crop.box_xyxy
        return (float(x1), float(y1), float(x2), float(y2)) if crop.area else None
    return _xywh_to_xyxy(_get(annotation, "bbox", place), f"'bbox' in {place}")


def _xywh_to_xyxy(box: Any, place: str) -> _Box | None:
    x, y, width, height = _numbers(box, 4, place)
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def _list_of(content: Mapping[str, Any], key: str) -> list[Any]:
    items = _get(content, key, "the file")
    if not isinstance(items, list):
        raise _FormError(f"'{key}' must hold a list, got {type(items).__name__}")
    return items


def _get(item: Any, key: str, place: str) -> Any:
    if not isinstance(item, Mapping):
        raise _FormError(f"{place} must be an object, got {type(item).__name__}")
    if key not in item:
        raise _FormError(f"{place} has no key '{key}'")
    return item[key]


def _integer(item: Any, key: str, place: str) -> int:
    value = _get(item, key, place)
    if type(value) is not int:
        raise _FormError(f"'{key}' in {place} must be a whole number, got {value!r}")
    return value


def _numbers(values: Any, count: int, place: str) -> list[float]:
    is_list = isinstance(values, list) and len(values) == count
    if not is_list or not all(type(value) in (int, float) for value in values):
        raise _FormError(f"{place} must be a list of {count} numbers, got {values!r}")
    try:
        return [float(value) for value in values]
    except OverflowError as error:
        raise _FormError(f"{place} holds a number that is too large for any image") from error
