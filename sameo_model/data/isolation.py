"""Objects of plain instance masks that are seen whole, since no other object comes near them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.data.types import AmodalImage, AmodalInstance, BoxXywh, Rle, decode_rle

GAP_SHARE = 0.04  # of the longer side of the object's box
GAP_PIXELS = 2.0


def complete_if_isolated(instance: AmodalInstance, image: AmodalImage) -> AmodalInstance:
    """Return the instance with its visible mask as its whole mask if nothing can hide it.

    Nothing can where the masks of all other objects and crowd regions of the image keep a distance
    of 4 % of the longer side of the object's box, and 2 pixels. An object that is not annotated,
    or the border of the image, may hide a part all the same.

    Args:
        image: The image of the instance, with all instances of its file.
    """
    visible, box = instance.visible_rle, instance.visible_box_xywh
    if instance.amodal_rle is not None or visible is None or box is None:
        return instance
    gap = GAP_SHARE * max(box[2:]) + GAP_PIXELS
    left, top, right, bottom = _grow(box, gap, image.image_hw)
    near = _dilate(decode_rle(visible)[top:bottom, left:right], gap)
    for other, other_box in _others(instance, image):
        if other_box is not None and not _overlap((left, top, right, bottom), other_box):
            continue
        if (decode_rle(other)[top:bottom, left:right] & near).any():
            return instance
    return replace(instance, amodal_rle=visible, amodal_box_xywh=box, occlusion_rate=0.0)


def _others(instance: AmodalInstance, image: AmodalImage) -> Iterator[tuple[Rle, BoxXywh | None]]:
    for other in image.instances:
        if other.annotation_id != instance.annotation_id and other.visible_rle is not None:
            yield other.visible_rle, other.visible_box_xywh
    for crowd in image.crowds:
        yield crowd.rle, None


def _grow(box: BoxXywh, gap: float, image_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a box with a margin, inside the image."""
    x, y, width, height = box
    image_height, image_width = image_hw
    return (
        max(int(x - gap), 0),
        max(int(y - gap), 0),
        min(int(np.ceil(x + width + gap)), image_width),
        min(int(np.ceil(y + height + gap)), image_height),
    )


def _overlap(part: tuple[int, int, int, int], box: BoxXywh) -> bool:
    x, y, width, height = box
    left, top, right, bottom = part
    return x < right and x + width > left and y < bottom and y + height > top


def _dilate(mask: NDArray[np.bool_], gap: float) -> NDArray[np.bool_]:
    side = 2 * round(gap) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(np.ascontiguousarray(mask, np.uint8), disk)).view(bool)
