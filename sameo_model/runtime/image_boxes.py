"""Images of a folder with their boxes: what `predict`, replay and demo work on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sameo_model.runtime.box_source import BoxPrompt, BoxSource
from sameo_model.runtime.image_names import match_records
from sameo_model.runtime.images import list_images
from sameo_model.runtime.types import ImageHW
from sameo_model.runtime.wording import counted

# COCO's photographs carry their number at the end of the name.
_NUMBER = re.compile(r"^(?:COCO_[a-z]+2014_)?(\d+)$")
_NUM_NAMED = 5


@dataclass(frozen=True)
class BoxedImage:
    """An image and its boxes."""

    path: Path  # the file
    name: str  # what the boxes call it; its file name where they name no image
    prompts: list[BoxPrompt]  # its boxes, in the order of the source
    image_id: int | None = None  # its number in the source, None where it has none
    annotated_hw: ImageHW | None = None  # height and width, pixels, where the source states them


@dataclass(frozen=True)
class BoxedImages:
    """The images that have boxes."""

    images: list[BoxedImage]  # in the order that was given
    # sentences about images without boxes, boxes without images, and doubtful names
    notes: list[str] = field(default_factory=list)


def match_boxes(images: Path, source: BoxSource) -> BoxedImages:
    """Find the images that have boxes, by `match_records`.

    Args:
        images: An image, or a folder of images.

    Raises:
        FileNotFoundError: If the folder holds no image.
        ValueError: If the boxes do not say to which image they belong, belong to none, or a name
            fits several images; or if two images differ in their suffix alone.
    """
    paths = list_images(images) if images.is_dir() else [images]
    if not paths:
        raise FileNotFoundError(f"folder {images} holds no image; give one with PNG or JPEG files")
    source, number_notes = _name_by_number(paths, source)
    if source.by_image is None:
        if len(paths) > 1 and source.common:
            raise ValueError(
                f"boxes for the {len(paths)} images of {images} must name their images; give a "
                "mapping from file name to boxes, or an amodal COCO file"
            )
        _check_stems(images, paths)
        return BoxedImages([BoxedImage(path, path.name, source.common) for path in paths])
    if not images.is_dir():
        source.for_image(images.absolute())  # says why there are none
    records = match_records([path.absolute() for path in paths], source.by_image)
    chosen = [
        BoxedImage(
            path,
            name,
            source.by_image[name],
            source.image_ids.get(name),
            source.sizes_hw.get(name),
        )
        for path, name in zip(paths, records.names, strict=True)
        if name is not None
    ]
    if not chosen:
        other = source.describe_other([path.absolute() for path in paths])
        named = other or _first(list(source.by_image)) or "no image at all"
        raise ValueError(
            f"the boxes name none of the images in {images}: they name {named}; check the file "
            "names"
        )
    _check_stems(images, [image.path for image in chosen])
    without = [path.name for path, name in zip(paths, records.names, strict=True) if name is None]
    notes = (
        [f"left out, as they have no boxes: {counted(len(without), 'image')}: {_first(without)}"]
        if without
        else []
    )
    if records.absent and images.is_dir():
        notes.append(
            f"boxes left out, as their images are not in {images}: "
            f"{counted(len(records.absent), 'image')}: {_first(records.absent)}"
        )
    return BoxedImages(chosen, [*number_notes, *notes, *records.doubts])


def _name_by_number(paths: Sequence[Path], source: BoxSource) -> tuple[BoxSource, list[str]]:
    """Find the images of boxes that know numbers alone by the number in the file's name."""
    if source.by_number is None:
        return source, []
    found = [(path, _NUMBER.match(path.stem)) for path in paths]
    names = {int(match[1]): path.name for path, match in found if match}
    if not names.keys() & source.by_number.keys():
        first = ", ".join(str(number) for number in list(source.by_number)[:3])
        raise ValueError(
            f"boxes must name their images, but these have numbers alone ({first}, ...), and no "
            "image carries one of them as its name; give --annotations, or add 'file_name'"
        )
    number = next(number for number in source.by_number if number in names)
    note = f"the boxes call images by number alone: {names[number]} is used for {number}, and so on"
    return source.name_images(names), [note]


def _check_stems(images: Path, paths: Sequence[Path]) -> None:
    by_stem: dict[str, Path] = {}
    for path in paths:
        other = by_stem.setdefault(path.stem, path)
        if other != path:
            raise ValueError(
                f"images in {images} must differ in more than their suffix, as results carry their "
                f"names without it, got {other.name} and {path.name}; rename one of them"
            )


def _first(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _NUM_NAMED else ""
    return ", ".join(names[:_NUM_NAMED]) + more
