"""Boxes and the images that they belong to, independent of the file format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from sameo_model.runtime.boxes import BoxFault, are_shares, as_boxes, check_boxes
from sameo_model.runtime.clicks import CLICK, MAX_CLICKS, Clicks, find_strays, is_inside
from sameo_model.runtime.framing import WINDOW_FRAMING, Framing
from sameo_model.runtime.image_names import (
    AmbiguousNameError,
    ImageNames,
    match_records,
    split_name,
)
from sameo_model.runtime.types import Detections, FloatArray, ImageHW
from sameo_model.runtime.wording import counted

PromptKind = Literal["visible", "amodal"]
BoxFormat = Literal["xywh", "xyxy"]
Box = tuple[float, float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class BoxPrompt:
    """One detection that prompts the model."""

    box_xyxy: Box  # x1, y1, x2, y2 in pixels of the image; not checked against it
    class_id: str = ""  # name or id of the class; "" is unknown
    score: float = 1.0  # the detector's confidence, in [0, 1]
    # number of the category where the boxes have one; never invented
    category_id: int | None = None
    # clicks on the visible part of the object, x and y in pixels of the image, at most 4; not
    # checked against it
    points_xy: tuple[Point, ...] = ()


@dataclass(frozen=True)
class BoxSource:
    """Boxes for images."""

    # boxes by image file name; None if the boxes name no image
    by_image: dict[str, list[BoxPrompt]] | None = None
    common: list[BoxPrompt] = field(default_factory=list)  # boxes that name no image
    # number of an image by its file name, where the boxes have numbers too
    image_ids: dict[str, int] = field(default_factory=dict)
    # boxes of images that the boxes call by number alone; None for other forms
    by_number: dict[int, list[BoxPrompt]] | None = None
    # height and width of an image by its file name, where the boxes state them
    sizes_hw: dict[str, ImageHW] = field(default_factory=dict)
    form: str = "a plain list"  # how the boxes were written, or `amodal COCO`, `COCO results`

    def find_image(self, path: str | Path) -> str | None:
        """Return the name under which the source knows an image; None if none or several fit.

        Args:
            path: The image; see `ImageNames` for what fits.
        """
        try:
            return match_records([path], self.by_image or {}).names[0]
        except AmbiguousNameError:
            return None

    def for_image(self, path: str | Path) -> list[BoxPrompt]:
        """Return the boxes of an image, in the order of the source.

        Raises:
            ValueError: If the boxes go by image and this image is not among them, or several of
                their names fit it.
        """
        if self.by_image is None:
            return self.common
        name = match_records([path], self.by_image).names[0]
        if name is None:
            other = self.describe_other([path])
            raise ValueError(
                f"image {Path(path).name} is not in the boxes file, which names "
                f"{counted(len(self.by_image), 'image')}{other and f' and {other}'}; add it there"
            )
        return self.by_image[name]

    def describe_other(self, paths: Sequence[str | Path]) -> str:
        """Return a clause about an image of the same file name in another folder, "" without."""
        finder = ImageNames(paths)
        for name in self.by_image or {}:
            index = finder.contradicting(name)
            if index is not None:
                return f"{name}, not {'/'.join(split_name(paths[index])[-2:])}"
        return ""

    def name_images(
        self, images: Mapping[int, str], classes: Mapping[int, str] = MappingProxyType({})
    ) -> BoxSource:
        """Return the source with images and classes called by name that it calls by number.

        Args:
            images: File names by number; boxes of other numbers keep a name of their own.
            classes: Class names by `category_id`.
        """
        by_image, image_ids = self.by_image, self.image_ids
        if self.by_number is not None:
            image_ids = {images.get(number, f"image {number}"): number for number in self.by_number}
            by_image = {name: self.by_number[number] for name, number in image_ids.items()}
        if by_image is None:
            return self

        def name_class(prompt: BoxPrompt) -> BoxPrompt:
            number = prompt.category_id
            if number is None or number not in classes:
                return prompt
            return replace(prompt, class_id=classes[number])

        named = {name: [name_class(one) for one in prompts] for name, prompts in by_image.items()}
        return replace(self, by_image=named, image_ids=image_ids, by_number=None)


def prompts_to_boxes(prompts: Sequence[BoxPrompt]) -> FloatArray:
    """Return the boxes as float32 (N, 4), x1, y1, x2, y2 in pixels of the image."""
    return as_boxes([prompt.box_xyxy for prompt in prompts])


def detections_to_prompts(found: Detections) -> list[BoxPrompt]:
    """Return the visible boxes and scores of found objects, in their order."""
    rows = zip(found.boxes_xyxy.tolist(), found.scores.tolist(), strict=True)
    return [BoxPrompt((x1, y1, x2, y2), score=score) for (x1, y1, x2, y2), score in rows]


def find_faults(
    prompts: Sequence[BoxPrompt], image_hw: ImageHW, framing: Framing = WINDOW_FRAMING
) -> dict[int, str]:
    """Return why boxes of an image cannot be used, by their index; usable ones are left out.

    Args:
        prompts: Boxes, and the clicks beside them.
        image_hw: Height and width of the image, pixels.
        framing: What the network sees; decides which clicks are too far from their box.

    Returns:
        Predicates of "the box", such as "has no area: [4.0, 4.0, 4.0, 9.0]".
    """
    found = {}
    boxes = prompts_to_boxes(prompts)
    checked = check_boxes(boxes, image_hw)
    clicks = prompts_to_clicks(prompts) or Clicks.none(len(prompts))
    strays = find_strays(clicks, checked.boxes_xyxy, framing, image_hw)
    for i, (prompt, fault, is_share) in enumerate(
        zip(prompts, checked.faults, are_shares(boxes), strict=True)
    ):
        outside = [one for one in prompt.points_xy if not is_inside(one, image_hw)]
        if fault != BoxFault.NONE:
            found[i] = f"{BoxFault(fault).reason}: {list(prompt.box_xyxy)}"
        elif is_share:
            found[i] = f"must be in pixels, not in shares of the image: {list(prompt.box_xyxy)}"
        elif outside:
            found[i] = f"has a point outside the image: {list(outside[0])}"
        elif i in strays:
            found[i] = strays[i]
    return found


def prompts_to_clicks(prompts: Sequence[BoxPrompt]) -> Clicks | None:
    """Return the clicks of the boxes, pixels of the image; None if there are none.

    Raises:
        ValueError: If a box has too many.
    """
    if not any(prompt.points_xy for prompt in prompts):
        return None
    clicks = Clicks.none(len(prompts))
    for row, prompt in enumerate(prompts):
        count = len(prompt.points_xy)
        if count > MAX_CLICKS:
            raise ValueError(f"a box may have at most {MAX_CLICKS} points, box {row} has {count}")
        if count:
            clicks.points_xy[row, :count] = prompt.points_xy
            clicks.labels[row, :count] = CLICK
    return clicks
