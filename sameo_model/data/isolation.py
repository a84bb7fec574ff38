"""Objects of plain instance masks that are seen whole, since no other object comes near them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.data.rle import encode_mask, intersect_rles, rle_area
from sameo_model.data.types import AmodalImage, AmodalInstance, decode_rle

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
    near = encode_mask(_dilate(decode_rle(visible), gap))
    others = [
        other.visible_rle
        for other in image.instances
        if other.annotation_id != instance.annotation_id and other.visible_rle is not None
    ]
    others += [crowd.rle for crowd in image.crowds]
    if any(rle_area(intersect_rles(near, other)) for other in others):
        return instance
    return replace(instance, amodal_rle=visible, amodal_box_xywh=box, occlusion_rate=0.0)


def _dilate(mask: NDArray[np.bool_], gap: float) -> NDArray[np.bool_]:
    side = 2 * round(gap) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(np.ascontiguousarray(mask, np.uint8), disk)).view(bool)
