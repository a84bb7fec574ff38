"""Small true scenes, drawn as squares, that scores can be worked out for by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from sameo_model.data.amodal_coco_writer import write_amodal_coco
from sameo_model.data.rle import encode_mask
from sameo_model.data.types import AmodalImage, AmodalInstance


def filled(image_hw: tuple[int, int], *boxes_xyxy: tuple[int, int, int, int]) -> np.ndarray:
    """Return a bool (H, W) mask with the given boxes set."""
    mask = np.zeros(image_hw, dtype=bool)
    for x1, y1, x2, y2 in boxes_xyxy:
        mask[y1:y2, x1:x2] = True
    return mask


def make_instance(
    annotation_id: int,
    amodal: np.ndarray,
    visible: np.ndarray,
    category: str = "thing",
    category_id: int = 1,
) -> AmodalInstance:
    """Return the record of an object with these masks."""
    return AmodalInstance(
        annotation_id=annotation_id,
        category=category,
        amodal_rle=encode_mask(amodal),
        visible_rle=encode_mask(visible),
        amodal_box_xywh=_box_xywh(amodal),
        visible_box_xywh=_box_xywh(visible),
        occlusion_rate=1 - visible.sum() / amodal.sum(),
        category_id=category_id,
    )


def _box_xywh(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return (0.0, 0.0, 0.0, 0.0)
    x, y = float(columns[0]), float(rows[0])
    return x, y, float(columns[-1]) + 1 - x, float(rows[-1]) + 1 - y


def make_image(
    folder: Path, image_id: int, instances: list[AmodalInstance], image_hw: tuple[int, int]
) -> AmodalImage:
    """Return the record of an image and write its pixels, plain grey, into the folder."""
    path = folder / "images" / f"{image_id:06d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*image_hw, 3), 128, np.uint8))
    return AmodalImage(image_id, path, image_hw, tuple(instances), "amodal_coco")


def two_squares(folder: Path) -> AmodalImage:
    """Return a 64x64 image: a 32x32 square with its lower half hidden, and a whole 16x16 one."""
    whole = filled((64, 64), (8, 8, 40, 40))
    upper = filled((64, 64), (8, 8, 40, 24))
    small = filled((64, 64), (44, 44, 60, 60))
    return make_image(
        folder, 7, [make_instance(1, whole, upper), make_instance(2, small, small)], (64, 64)
    )


def write_set(folder: Path, images: list[AmodalImage]) -> Path:
    """Write images as amodal COCO and return the annotation file."""
    path = folder / "annotations.json"
    write_amodal_coco(path, images)
    return path
