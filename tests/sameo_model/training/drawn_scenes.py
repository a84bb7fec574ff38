"""A small drawn data set with exact masks: discs half hidden behind bars."""

from pathlib import Path

import cv2
import numpy as np

from sameo_model.data.amodal_coco_writer import write_amodal_coco
from sameo_model.data.collection import open_dataset
from sameo_model.data.rle import encode_mask
from sameo_model.data.types import AmodalImage, AmodalInstance


def write_drawn_scenes(folder: Path, num_images: int = 2):
    """Write images of 96 x 128 pixels with two objects each, and open them as amodal COCO."""
    (folder / "images").mkdir(parents=True)
    write_amodal_coco(
        folder / "annotations.json", [_draw(folder, index) for index in range(num_images)]
    )
    return open_dataset("amodal_coco", folder)


def _draw(folder: Path, index: int) -> AmodalImage:
    rows, columns = np.mgrid[:96, :128]
    disc = (rows - 48) ** 2 + (columns - 50 - 10 * index) ** 2 < 30**2
    bar = (abs(columns - 70 - 10 * index) < 8) & (abs(rows - 50) < 40)
    image = np.full((96, 128, 3), 90, np.uint8)
    image[disc] = (200, 60, 40)
    image[bar] = (40, 90, 220)
    path = folder / "images" / f"{index}.png"
    cv2.imwrite(str(path), image[..., ::-1])
    instances = (_instance(2 * index + 1, disc, disc & ~bar), _instance(2 * index + 2, bar, bar))
    return AmodalImage(index + 1, path, (96, 128), instances, "amodal_coco")


def _instance(annotation_id: int, amodal: np.ndarray, visible: np.ndarray) -> AmodalInstance:
    return AmodalInstance(
        annotation_id=annotation_id,
        category="shape",
        amodal_rle=encode_mask(amodal),
        visible_rle=encode_mask(visible),
        amodal_box_xywh=_box_xywh(amodal),
        visible_box_xywh=_box_xywh(visible),
        occlusion_rate=1 - float(visible.sum() / amodal.sum()),
    )


def _box_xywh(mask: np.ndarray):
    return tuple(float(value) for value in cv2.boundingRect(mask.astype(np.uint8)))
