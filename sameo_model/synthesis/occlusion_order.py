"""Which instance hides how much of which other one, from their exact masks."""

from __future__ import annotations

from typing import Any

from pycocotools import mask as coco_mask


def hiding_pairs(annotations: list[dict[str, Any]]) -> list[dict[str, int]]:
    """Return who hides whom in one picture.

    Returns:
        One entry for each pair of which the front one's visible mask lies over a hidden part of the
        other: `front` and `back` (annotation ids) and `hidden_px`. Parts of an object that two
        others cover count for the one that is seen there.
    """
    pairs = []
    visible = [annotation["visible_mask"] for annotation in annotations]
    for back in annotations:
        if back["occlude_rate"] <= 0:
            continue
        for front, mask in zip(annotations, visible, strict=True):
            if front is back or not _boxes_touch(front["visible_bbox"], back["bbox"]):
                continue
            shared = coco_mask.merge([back["segmentation"], mask], intersect=True)
            hidden_px = int(coco_mask.area(shared))
            if hidden_px:
                pairs.append({"front": front["id"], "back": back["id"], "hidden_px": hidden_px})
    return pairs


def _boxes_touch(first_xywh: list[float], second_xywh: list[float]) -> bool:
    return all(
        first_xywh[k] < second_xywh[k] + second_xywh[k + 2]
        and second_xywh[k] < first_xywh[k] + first_xywh[k + 2]
        for k in (0, 1)
    )
