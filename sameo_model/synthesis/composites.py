"""Flat composites: objects pasted over photographs, with exact masks of all of them.

What rendered clutter lacks is the texture of real photographs. Here every amodal mask is exact
because the whole object is drawn before anything is laid over it. Objects are whole ones cut out of
photographs, or, without such, random outlines filled with photographs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.data.readers.coco_instances import coco_2017_id
from sameo_model.data.rle import encode_instance, encode_mask
from sameo_model.data.types import AmodalImage, CrowdRegion
from sameo_model.synthesis.clutter import ClutterOptions, draw_clutter
from sameo_model.synthesis.cutouts import Cutouts
from sameo_model.synthesis.photographs import Photographs
from sameo_model.synthesis.photometric import degrade
from sameo_model.synthesis.textures import GROUND_PAINTERS, paint_texture

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PLAIN_SHARE = 0.2  # of backgrounds that are painted although there are photographs
MIN_VISIBLE_SHARE = 0.1
MIN_AREA = 100


@dataclass(frozen=True)
class CompositeOptions:
    """What composites look like."""

    image_hw: tuple[int, int] = (480, 640)  # height and width in pixels
    objects: tuple[int, int] = (5, 13)  # smallest and largest number of objects
    # smallest and largest side of an outline as a share of the image's height
    size: tuple[float, float] = (0.13, 0.6)
    clutter: ClutterOptions = field(default_factory=ClutterOptions)
    # share of the images of cut-outs that show a camera's exposure, white balance, blur and noise
    degraded: float = 0.7
    jpeg_quality: tuple[int, int] = (60, 96)  # smallest and largest quality of images of cut-outs


@dataclass(frozen=True)
class Composite:
    """A finished image and its truth."""

    image: Image  # uint8 (H, W, 3), RGB
    # (N, H, W), whole objects inside the image, from the bottom to the top
    amodal: NDArray[np.bool_]
    visible: NDArray[np.bool_]  # (N, H, W), what others leave of them
    categories: tuple[str, ...]
    coco_image_ids: tuple[int, ...] = ()  # COCO photographs that the background shows
    jpeg_quality: int = 93  # for the file


def draw_cutout_composite(
    cutouts: Cutouts,
    photographs: Photographs | None,
    generator: np.random.Generator,
    options: CompositeOptions,
) -> Composite:
    """Paste whole objects over each other and over a photograph (paper section 3.3).

    Args:
        photographs: what they lie on; None paints surfaces.
    """
    background, enlargement, coco_image_ids = _background(photographs, generator, options)
    clutter = draw_clutter(generator, background, enlargement, cutouts, options.clutter)
    image = np.clip(clutter.canvas, 0, 255).astype(np.uint8)
    if generator.random() < options.degraded:
        image = degrade(generator, image)
    low, high = options.jpeg_quality
    return Composite(
        image,
        stack_masks(clutter.amodal, options.image_hw),
        stack_masks(clutter.visible, options.image_hw),
        tuple(clutter.categories),
        coco_image_ids,
        int(generator.integers(low, high + 1)),
    )


def _background(
    photographs: Photographs | None, generator: np.random.Generator, options: CompositeOptions
) -> tuple[NDArray[np.float32], float, tuple[int, ...]]:
    """Return a background float32 (H, W, 3), by how much it was enlarged, and its COCO number."""
    height, width = options.image_hw
    if photographs is None or generator.random() < PLAIN_SHARE:
        side = max(height, width)
        painted = paint_texture(generator, GROUND_PAINTERS, 512)
        share = int(512 * generator.uniform(0.4, 1.0))
        crop = np.ascontiguousarray(painted[:share, :share])
        resized = cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR)
        return resized[:height, :width].astype(np.float32), 1.0, ()
    photograph, path = photographs.draw(generator)
    rows, columns = photograph.shape[:2]
    largest = min(rows / height, columns / width)
    share = largest * generator.uniform(0.45, 1.0)
    crop_h, crop_w = max(8, int(height * share)), max(8, int(width * share))
    y = int(generator.integers(0, max(1, rows - crop_h + 1)))
    x = int(generator.integers(0, max(1, columns - crop_w + 1)))
    crop = photograph[y : y + crop_h, x : x + crop_w]
    if generator.random() < 0.5:
        crop = crop[:, ::-1]
    if generator.random() < 0.2:
        crop = crop[::-1]
    interpolation = cv2.INTER_AREA if share > 1 else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(crop), (width, height), interpolation=interpolation)
    tint = np.exp(generator.normal(0, 0.05, 3)) * np.exp(generator.normal(0, 0.15))
    filled = np.clip(resized.astype(np.float32) * tint.astype(np.float32), 0, 255)
    known = coco_2017_id(path.name)
    return filled, max(1.0, 1 / share), () if known is None else (known,)


def stack_masks(masks: Sequence[Mask], image_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return masks of one size as bool (N, H, W), also if there are none."""
    return np.stack(masks) if masks else np.zeros((0, *image_hw), bool)


def composite_record(
    image_id: int, path: Path, composite: Composite, category_ids: Mapping[str, int]
) -> AmodalImage:
    """Return the record of a composite.

    What can be seen of instances that are tiny or hidden over 90 % becomes a crowd region.
    """
    instances, crowds = [], []
    rows = zip(composite.amodal, composite.visible, composite.categories, strict=True)
    for row, (whole, part, category) in enumerate(rows):
        area, visible_area = int(np.count_nonzero(whole)), int(np.count_nonzero(part))
        number, category_id = image_id * 100 + row + 1, category_ids[category]
        if area >= MIN_AREA and visible_area >= MIN_VISIBLE_SHARE * area:
            instances.append(encode_instance(number, category, category_id, whole, part))
        elif visible_area:
            crowds.append(CrowdRegion(number, category, encode_mask(part), category_id))
    height, width = composite.image.shape[:2]
    return AmodalImage(
        image_id,
        path,
        (height, width),
        tuple(instances),
        "amodal_coco",
        composite.coco_image_ids,
        tuple(crowds),
    )
