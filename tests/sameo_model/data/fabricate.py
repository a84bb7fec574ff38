"""Tiny data sets in the documented form of each original, all showing the same hand-drawn scene.

The scene is 8 x 10 pixels (H x W). `FRONT` is whole; `BACK` loses 4 of its 20 pixels to it:

    FRONT  columns 2-5, rows 1-4   16 pixels, all visible
    BACK   columns 4-8, rows 3-6   20 pixels, columns 4-5 of rows 3-4 hidden: rate 4 / 20 = 0.2
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

IMAGE_HW = (8, 10)
FRONT = np.zeros(IMAGE_HW, dtype=bool)
FRONT[1:5, 2:6] = True
BACK = np.zeros(IMAGE_HW, dtype=bool)
BACK[3:7, 4:9] = True
BACK_VISIBLE = BACK & ~FRONT

FRONT_POLYGON = [2, 1, 6, 1, 6, 5, 2, 5]
BACK_POLYGON = [4, 3, 9, 3, 9, 7, 4, 7]
BACK_VISIBLE_POLYGON = [6, 3, 9, 3, 9, 7, 4, 7, 4, 5, 6, 5]
FRONT_BOX = [2, 1, 4, 4]
BACK_BOX = [4, 3, 5, 4]

COCO_NAME = "COCO_val2014_000000000042.jpg"


def rle(mask: np.ndarray, *, as_bytes: bool = False) -> dict[str, Any]:
    """Return compressed run lengths as the files have them."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return encoded if as_bytes else {**encoded, "counts": encoded["counts"].decode()}


def uncompressed_rle(mask: np.ndarray) -> dict[str, Any]:
    """Return run lengths as a list, counted here pixel by pixel down the columns."""
    runs, value, length = [], False, 0
    for pixel in mask.flatten(order="F"):
        if pixel != value:
            runs.append(length)
            value, length = pixel, 0
        length += 1
    return {"size": list(mask.shape), "counts": [*runs, length]}


def save_image(path: Path, hw: tuple[int, int] = IMAGE_HW) -> None:
    """Write a grey photograph."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*hw, 3), 128, dtype=np.uint8))


def save_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask as an 8-bit image of 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), mask.astype(np.uint8) * 255)


def save_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def image_entry(file_name: str, image_id: int = 42, **more: Any) -> dict[str, Any]:
    height, width = IMAGE_HW
    return {"id": image_id, "file_name": file_name, "height": height, "width": width, **more}


def flat(images: list[Any], annotations: list[Any], categories: dict[int, str]) -> dict[str, Any]:
    """Return a document in flat COCO form."""
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
    }


def annotation(annotation_id: int, image_id: int = 42, category_id: int = 1, **masks: Any) -> Any:
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": 0,
        **masks,
    }


def cocoa(root: Path) -> None:
    save_image(root / "val2014" / COCO_NAME)
    regions = [
        {
            "segmentation": FRONT_POLYGON,
            "name": " Cup ",
            "area": 16,
            "isStuff": 0,
            "occlude_rate": 0,
            "order": 1,
        },
        {
            "segmentation": BACK_POLYGON,
            "name": "table",
            "area": 20,
            "isStuff": 0,
            "occlude_rate": 0.2,
            "order": 2,
            "visible_mask": rle(BACK_VISIBLE),
            "invisible_mask": rle(BACK & FRONT),
        },
    ]
    record = {
        "id": 7,
        "image_id": 42,
        "author": "a",
        "url": f"https://example.org/{COCO_NAME}",
        "size": 2,
        "depth_constraint": "1-2",
        "regions": regions,
    }
    content = {"images": [image_entry(COCO_NAME)], "annotations": [record]}
    save_json(root / "annotations" / "COCO_amodal_val2014.json", content)


def cocoa_cls(root: Path) -> None:
    save_image(root / "val2014" / COCO_NAME)
    front = annotation(11, 42, 47, segmentation=rle(FRONT), visible_mask=rle(FRONT), bbox=FRONT_BOX)
    back = annotation(
        12,
        42,
        67,
        segmentation=rle(BACK),
        visible_mask=rle(BACK_VISIBLE),
        invisible_mask=rle(BACK & FRONT),
        bbox=BACK_BOX,
        occlude_rate=0.2,
    )
    front["iscrowd"] = back["iscrowd"] = False
    document = flat([image_entry(COCO_NAME)], [front, back], {47: "cup", 67: "table"})
    save_json(root / "annotations" / "COCO_amodal_val2014_with_classes.json", document)


def d2sa(root: Path) -> None:
    save_image(root / "images" / "D2S_000042.jpg")
    front = annotation(1, segmentation=rle(FRONT), visible_mask=rle(FRONT), bbox=FRONT_BOX)
    front |= {"iscrowd": False, "occlude_rate": 0.0, "occl_depth": 0}
    back = annotation(2, segmentation=rle(BACK), visible_mask=rle(BACK_VISIBLE), bbox=BACK_BOX)
    back |= {"iscrowd": False, "occlude_rate": 0.2, "occl_depth": 1}
    document = flat([image_entry("D2S_000042.jpg")], [front, back], {1: "apple"})
    save_json(root / "annotations" / "D2S_amodal_validation.json", document)


def kins_2019(root: Path) -> None:
    # Image id 3 lies in file number 7: six photographs were taken out after numbering.
    save_image(root / "training" / "image_2" / "000007.png")
    front = annotation(1, 3, 4, segmentation=[FRONT_POLYGON], inmodal_seg=rle(FRONT))
    back = annotation(2, 3, 2, segmentation=[BACK_POLYGON], inmodal_seg=rle(BACK_VISIBLE))
    front |= {"bbox": FRONT_BOX, "inmodal_bbox": FRONT_BOX}
    back |= {"bbox": BACK_BOX, "inmodal_bbox": BACK_BOX}
    document = flat([image_entry("000007.png", 3)], [front, back], {2: "pedestrian", 4: "car"})
    save_json(root / "instances_train.json", document)


def kins_2020(root: Path) -> None:
    save_image(root / "testing" / "image_2" / "000007.png")
    front = annotation(1, 3, 4, a_segm=[FRONT_POLYGON], i_segm=[FRONT_POLYGON])
    back = annotation(2, 3, 3, a_segm=[BACK_POLYGON], i_segm=[BACK_VISIBLE_POLYGON])
    front |= {"a_bbox": FRONT_BOX, "i_bbox": FRONT_BOX, "oco_id": 1, "ico_id": 0}
    back |= {"a_bbox": BACK_BOX, "i_bbox": BACK_BOX, "oco_id": 1, "ico_id": 1}
    document = flat([image_entry("000007.png", 3)], [front, back], {3: "rider", 4: "car"})
    save_json(root / "annotations" / "update_test_2020.json", document)


def kitti360_polygons(root: Path) -> None:
    save_image(root / "Image" / "train" / "0042.png")
    height, width = IMAGE_HW
    size = {"height": height, "width": width}
    front = annotation(1, 42, 13, segmentation=[FRONT_POLYGON], i_segm=[FRONT_POLYGON], **size)
    back = annotation(2, 42, 11, segmentation=[BACK_POLYGON], i_segm=[BACK_VISIBLE_POLYGON], **size)
    content = {"images": [{"id": 42, "file_name": "0042.png"}], "annotations": [front, back]}
    save_json(root / "annotations" / "train.json", content)


def kitti360_panoptic(root: Path) -> None:
    save_image(root / "images" / "train" / "seq" / "0042.png")
    labels = np.full(IMAGE_HW, 7, dtype=np.uint16)
    labels[BACK] = 24000
    labels[FRONT] = 26001
    folder = root / "amodal_panoptic_seg" / "train" / "seq"
    records = {
        "26001": {"amodal_mask": rle(FRONT), "occluded": False},
        "24000": {
            "amodal_mask": rle(BACK),
            "occlusion_mask": rle(BACK & FRONT),
            "occluded": True,
        },
        "7": {"amodal_mask": rle(~FRONT), "occluded": True},
    }
    save_json(folder / "0042_ampano.json", records)
    assert cv2.imwrite(str(folder / "0042_ampano.png"), labels)


def muva(root: Path) -> None:
    save_image(root / "images" / "0042.jpg")
    front = annotation(1, segmentation=rle(FRONT), visible_mask=rle(FRONT))
    back = annotation(2, segmentation=rle(BACK), visible_mask=rle(BACK_VISIBLE))
    document = flat([image_entry("0042.jpg")], [front, back], {1: "tin"})
    save_json(root / "annotations" / "AiFi-MUVA_train.json", document)


def walt_composite(root: Path) -> None:
    folder = root / "cwalt_train"
    save_image(folder / "images" / "2021-05-01T12-30-05.250000.jpg")
    labels = np.zeros((2, *IMAGE_HW, 3), dtype=np.uint8)
    labels[0][FRONT] = 1
    labels[1][BACK] = 2
    labels[1][BACK_VISIBLE] = 1
    path = folder / "Segmentation" / "2021-05-01T12-30-05.250000.npz"
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, mask=labels)


def walt_raw(root: Path) -> None:
    save_image(root / "cam1" / "week1" / "2021-05-01T12-30-05.250000.jpg")
    detection = {
        "bbox": "{2,1,4,4,0.95}",
        "segmentation": "{" + ",".join(map(str, FRONT_POLYGON)) + "}",
        "label_id": "1",
        "time": "2021-05-01 12:30:05.250000+00",
        "camera_id": "cam1",
    }
    save_json(root / "cam1" / "cam1.json", [detection])


def dyce(root: Path) -> None:
    """Write lists of bare names, as SeGAN's loader joins them to the folder of their kind."""
    _dyce(root, "{name}")


def dyce_with_folders(root: Path) -> None:
    """Write lists of paths from the root."""
    _dyce(root, "{folder}/{name}")


def _dyce(root: Path, form: str) -> None:
    save_image(root / "Images" / "scene1_7.png")
    lines = []
    for number, (visible, amodal, tag) in enumerate(
        [(FRONT, FRONT, "chair_tolix (2)"), (BACK_VISIBLE, BACK, "coffee table")]
    ):
        name = f"scene1_7_{number}.png"
        save_mask(root / "modal" / name, visible)
        save_mask(root / "amodal" / name, amodal)
        files = [("Images", "scene1_7.png"), *((f, name) for f in ("modal", "amodal", "FullObj"))]
        image, *masks, whole = [form.format(folder=f, name=n) for f, n in files]
        lines.append(f"{image} {' '.join(masks)} 200 125 599 624 {tag} {whole}")
    path = root / "annotations" / "train.txt"
    path.parent.mkdir()
    path.write_text("\n".join(lines) + "\n")


def mp3d_amodal(root: Path) -> None:
    save_image(root / "mp3d_train" / "room_1.jpg")
    # All objects of this set are occluded, so the scene's whole object is left out.
    region = {
        "segmentation": rle(BACK, as_bytes=True),
        "visible_mask": rle(BACK_VISIBLE, as_bytes=True),
        "area": np.int64(20),
        "occlusion_rate": np.float64(0.2),
        "category_id": "table",
    }
    content = {
        "images": [{"file_name": "room_1.jpg", "width": 10, "height": 8}],
        "annotations": [{"regions": [region], "depth_constraint": ""}],
    }
    (root / "MP3D_seleted_train_10.29.pkl").write_bytes(pickle.dumps(content))


def pix2gestalt(root: Path) -> None:
    for sample_id, (visible, amodal) in {
        "sa_1": (FRONT, FRONT),
        "sa_2": (BACK_VISIBLE, BACK),
    }.items():
        save_image(root / "occlusion" / f"{sample_id}_occlusion.png")
        save_image(root / "whole" / f"{sample_id}_whole.png")
        save_mask(root / "whole_mask" / f"{sample_id}_whole_mask.png", amodal)
        save_mask(root / "visible_object_mask" / f"{sample_id}_visible_mask.png", visible)


def amodal_lvis(root: Path) -> None:
    for shard, (visible, amodal) in enumerate([(FRONT, FRONT), (BACK_VISIBLE, BACK)]):
        folder = root / f"shard-0000{shard}-of-00002"
        save_image(folder / "images" / f"{shard}.jpg")
        entry = image_entry(f"{shard}.jpg", shard + 1, coco_image_ids=[42, 43])
        record = annotation(shard + 1, shard + 1, segmentation=rle(amodal))
        record["visible_mask"] = rle(visible)
        save_json(folder / "annotations.json", flat([entry], [record], {1: "mug"}))


def amodal_coco(root: Path) -> None:
    save_image(root / "images" / "42.png")
    front = annotation(1, segmentation=rle(FRONT), visible_mask=rle(FRONT), bbox=FRONT_BOX)
    back = annotation(2, segmentation=rle(BACK), visible_mask=rle(BACK_VISIBLE), bbox=BACK_BOX)
    save_json(root / "annotations.json", flat([image_entry("42.png")], [front, back], {1: "box"}))


def lvis(root: Path) -> None:
    # The photograph of a training entry lies in COCO's val2017.
    save_image(root / "val2017" / "000000000042.jpg")
    height, width = IMAGE_HW
    entry = {
        "id": 42,
        "height": height,
        "width": width,
        "coco_url": "http://images.example.org/val2017/000000000042.jpg",
        "neg_category_ids": [5],
        "not_exhaustive_category_ids": [],
    }
    front = {"id": 1, "image_id": 42, "category_id": 3, "segmentation": [FRONT_POLYGON]}
    front |= {"area": 16.0, "bbox": FRONT_BOX}
    categories = [{"id": 3, "name": "mug", "synset": "mug.n.04", "frequency": "f"}]
    content = {"images": [entry], "annotations": [front], "categories": categories}
    save_json(root / "annotations" / "lvis_v1_train.json", content)


def lvvis(root: Path) -> None:
    for frame in range(2):
        save_image(root / "JPEGImages" / "train" / "00007" / f"0000{frame}.jpg")
    height, width = IMAGE_HW
    video = {"id": 7, "height": height, "width": width, "length": 2}
    video["file_names"] = [rf"D:\data\train\00007\0000{frame}.jpg" for frame in range(2)]
    record = {
        "id": 1,
        "video_id": 7,
        "category_id": 3,
        "segmentations": [None, uncompressed_rle(FRONT)],
        "bboxes": [None, FRONT_BOX],
        "areas": [None, 16],
        "iscrowd": 0,
    }
    categories = [{"id": 3, "name": "mug", "partition": 0}]
    content = {"videos": [video], "annotations": [record], "categories": categories}
    save_json(root / "train_instances.json", content)


def coco_instances(root: Path) -> None:
    save_image(root / "images" / "000000000042.jpg")
    front = annotation(1, segmentation=[FRONT_POLYGON], bbox=FRONT_BOX)
    document = flat([image_entry("000000000042.jpg")], [front], {1: "mug"})
    save_json(root / "train.json", document)
