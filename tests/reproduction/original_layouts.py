"""Every data set of the paper in its original layout, small: rectangles, some behind others.

All evaluated sets number their images alike and show the same scenes, so that one file of a front
end's detections serves all of them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

HW = (96, 128)
EVALUATED = (1, 2, 3)
"""Numbers of the images of every split that is evaluated on."""
# pix2gestalt's last hundredth is its validation split.
NUM_PIX2GESTALT = 101
ROAD_HW = (80, 160)


@dataclass(frozen=True)
class Thing:
    """A rectangle of a scene.

    Attributes:
        polygon: x1, y1, x2, y1, ... of its corners, pixels.
        amodal: bool HW, the whole rectangle.
        visible: bool HW, what is not covered.
    """

    polygon: list[float]
    amodal: np.ndarray
    visible: np.ndarray

    @property
    def box_xywh(self) -> list[float]:
        """Return the box around the whole."""
        x, y, right, bottom = self.polygon[0], self.polygon[1], self.polygon[2], self.polygon[5]
        return [x, y, right - x, bottom - y]


def scene(number: int) -> tuple[np.ndarray, list[Thing]]:
    """Return the image of a number, uint8 (96, 128, 3), and its three things.

    The first covers a part of the second; the third stands apart.
    """
    generator = np.random.default_rng(number)
    corners = [(20, 14, 58, 54), (40, 30, 88, 74), (96, 40, 120, 88)]
    shifted = [np.add(box, np.tile(generator.integers(-6, 7, 2), 2)).tolist() for box in corners]
    masks = [np.zeros(HW, dtype=bool) for _ in shifted]
    for mask, (x1, y1, x2, y2) in zip(masks, shifted, strict=True):
        mask[y1:y2, x1:x2] = True
    pixels = generator.integers(60, 120, (*HW, 3), dtype=np.uint8)
    for mask in reversed(masks):
        pixels[mask] = generator.integers(0, 255, 3)
    visible = [masks[0], masks[1] & ~masks[0], masks[2] & ~masks[1]]
    things = [
        Thing([x1, y1, x2, y1, x2, y2, x1, y2], mask, seen)
        for (x1, y1, x2, y2), mask, seen in zip(shifted, masks, visible, strict=True)
    ]
    return pixels, things


def rle(mask: np.ndarray, *, as_bytes: bool = False) -> dict[str, Any]:
    """Return run lengths as the files have them."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return encoded if as_bytes else {**encoded, "counts": encoded["counts"].decode()}


def save(path: Path, content: Any) -> None:
    """Write an image, mask or JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
        pixels = content.astype(np.uint8) * 255 if content.dtype == bool else content
        assert cv2.imwrite(str(path), pixels)
    else:
        path.write_text(json.dumps(content))


def flat(
    root: Path,
    annotations: str,
    numbers: Iterable[int],
    image_name: str,
    record: Callable[[Thing], dict[str, Any]],
    *,
    categories: Iterable[int] = (1, 2),
    **image: Any,
) -> None:
    """Write a file in flat COCO form, with its images.

    Args:
        root: Folder of the set.
        annotations: File below it.
        numbers: Image ids.
        image_name: Folder and name of an image, formatted with its number `n`.
        record: Masks and boxes of an annotation in the set's own keys.
        categories: Numbers of the classes, given in turn.
        **image: What an image entry also has.
    """
    images, records = [], []
    classes = list(categories)
    for number in numbers:
        pixels, things = scene(number)
        path = root / image_name.format(n=number)
        save(path, pixels)
        images.append(
            {"id": number, "file_name": path.name, "height": HW[0], "width": HW[1], **image}
        )
        for place, thing in enumerate(things):
            records.append(
                {
                    "id": len(records) + 1,
                    "image_id": number,
                    "category_id": classes[place % len(classes)],
                    "iscrowd": 0,
                    **record(thing),
                }
            )
    names = [{"id": number, "name": f"class {number}"} for number in classes]
    save(root / annotations, {"images": images, "annotations": records, "categories": names})


def masks_of_mvtec(thing: Thing) -> dict[str, Any]:
    """Return the fields of COCOA-cls and D2SA."""
    rate = 1 - thing.visible.sum() / thing.amodal.sum()
    return {
        "segmentation": rle(thing.amodal),
        "visible_mask": rle(thing.visible),
        "bbox": thing.box_xywh,
        "area": int(thing.amodal.sum()),
        "occlude_rate": float(rate),
        "iscrowd": False,
    }


def write_cocoa(root: Path) -> None:
    """Write all three splits; those of COCOA-cls are the first images of train and val."""
    for split, numbers in {"train": (11, 12, 13), "val": (*EVALUATED, 4), "test": (21,)}.items():
        images, annotations = [], []
        for number in numbers:
            name = f"COCO_{split}2014_{number:012d}.jpg"
            pixels, things = scene(number)
            save(root / f"{split}2014" / name, pixels)
            images.append({"id": number, "file_name": name, "height": HW[0], "width": HW[1]})
            regions = []
            for order, thing in enumerate(things, start=1):
                hidden = thing.amodal & ~thing.visible
                region = {"segmentation": thing.polygon, "name": "thing", "isStuff": 0}
                region |= {"area": int(thing.amodal.sum()), "order": order, "occlude_rate": 0}
                if hidden.any():
                    region |= {"visible_mask": rle(thing.visible), "invisible_mask": rle(hidden)}
                regions.append(region)
            regions.append({**regions[0], "name": "grass", "isStuff": 1})
            record = {"id": number, "image_id": number, "url": name, "size": len(regions)}
            annotations.append({**record, "depth_constraint": "1-2", "regions": regions})
        content = {"images": images, "annotations": annotations}
        save(root / f"annotations/COCO_amodal_{split}2014.json", content)


def write_cocoa_cls(root: Path) -> None:
    """Write both splits."""
    for split, numbers in {"train": (11, 12), "val": EVALUATED}.items():
        flat(
            root,
            f"annotations/COCO_amodal_{split}2014_with_classes.json",
            numbers,
            f"{split}2014/COCO_{split}2014_{{n:012d}}.jpg",
            masks_of_mvtec,
        )


def write_d2sa(root: Path) -> None:
    """Write rot0, augmented and validation."""
    parts = {"training_rot0": (11,), "augmented": (12, 13), "validation": EVALUATED}
    for part, numbers in parts.items():
        name = f"annotations/D2S_amodal_{part}.json"
        flat(root, name, numbers, "images/D2S_{n:06d}.jpg", masks_of_mvtec)


def write_muva(root: Path) -> None:
    """Write all three splits."""
    for split, numbers in {"train": (11, 12), "val": (13,), "test": EVALUATED}.items():
        name = f"annotations/AiFi-MUVA_{split}.json"
        flat(root, name, numbers, "images/{n:06d}.jpg", masks_of_mvtec)


def write_kins(root: Path) -> None:
    """Write the files of 2020."""

    def record(thing: Thing) -> dict[str, Any]:
        ys, xs = np.nonzero(thing.visible)
        seen = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
        # A visible part that is no rectangle: the corner that the first thing leaves.
        contours, _ = cv2.findContours(thing.visible.astype(np.uint8), 0, 2)
        polygons = [contour.ravel().tolist() for contour in contours if len(contour) >= 3]
        return {
            "a_segm": [thing.polygon],
            "i_segm": polygons,
            "a_bbox": thing.box_xywh,
            "i_bbox": seen,
        }

    parts = {"train": ("training", (11, 12)), "test": ("testing", EVALUATED)}
    for part, (folder, numbers) in parts.items():
        name = f"update_{part}_2020.json"
        flat(root, name, numbers, f"{folder}/image_2/{{n:06d}}.png", record, categories=(2, 4))


def write_kitti360_aps(root: Path) -> None:
    """Write both splits as polygons; the third thing of each image is whole by its flag."""

    def record(thing: Thing) -> dict[str, Any]:
        contours, _ = cv2.findContours(thing.visible.astype(np.uint8), 0, 2)
        polygons = [contour.ravel().tolist() for contour in contours if len(contour) >= 3]
        size = {"height": HW[0], "width": HW[1]}
        if (thing.visible == thing.amodal).all():
            return {**size, "i_segm": polygons, "occluded": False}
        return {**size, "i_segm": polygons, "segmentation": [thing.polygon], "occluded": True}

    for split, numbers in {"train": (11, 12), "val": (13,)}.items():
        name = f"annotations/{split}.json"
        flat(root, name, numbers, f"Image/{split}/{{n:04d}}.png", record, categories=(13, 11))


def write_mp3d_amodal(root: Path) -> None:
    """Write both pickles with the occluded thing of each image and a wall."""
    for split, numbers in {"train": (11, 12), "eval": (13,)}.items():
        images, annotations = [], []
        for number in numbers:
            pixels, things = scene(number)
            save(root / f"mp3d_{split}" / f"{number}.jpg", pixels)
            images.append({"file_name": f"{number}.jpg", "height": HW[0], "width": HW[1]})
            region = {
                "segmentation": rle(things[1].amodal, as_bytes=True),
                "visible_mask": rle(things[1].visible, as_bytes=True),
                "area": np.int64(things[1].amodal.sum()),
                "occlusion_rate": np.float64(0.2),
            }
            regions = [{**region, "category_id": name} for name in ("table", "wall")]
            annotations.append({"regions": regions, "depth_constraint": ""})
        path = root / f"MP3D_seleted_{split}_10.29.pkl"
        path.write_bytes(pickle.dumps({"images": images, "annotations": annotations}))


def write_dyce(root: Path) -> None:
    """Write lists of bare names."""
    for split, numbers in {"train": (11, 12), "val": (13,), "test": (14,)}.items():
        lines = []
        for number in numbers:
            pixels, things = scene(number)
            save(root / "Images" / f"scene_{number}.png", pixels)
            for place, thing in enumerate(things):
                name = f"scene_{number}_{place}.png"
                save(root / "modal" / name, thing.visible)
                save(root / "amodal" / name, thing.amodal)
                tag = ("chair_tolix (2)", "coffee table", "wall (1)")[place]
                lines.append(f"scene_{number}.png {name} {name} 0 0 999 999 {tag} {name}")
        path = root / "annotations" / f"{split}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def write_pix2gestalt(root: Path) -> None:
    """Write samples of one occluded thing."""
    for number in range(NUM_PIX2GESTALT):
        pixels, things = scene(number)
        name = f"sa_{number:04d}"
        save(root / "occlusion" / f"{name}_occlusion.png", pixels)
        save(root / "whole" / f"{name}_whole.png", pixels)
        save(root / "whole_mask" / f"{name}_whole_mask.png", things[1].amodal)
        save(root / "visible_object_mask" / f"{name}_visible_mask.png", things[1].visible)


def write_walt_raw(root: Path) -> None:
    """Write a camera's frames of single bright cars on a grey road."""
    detections = []
    for number in range(8):
        time = f"2021-05-01T08-{number:02d}-00.000000"
        x, y = 5 + 12 * number % 90, 10 + 4 * (number % 8)
        pixels = np.full((*ROAD_HW, 3), 90, dtype=np.uint8)
        pixels[y : y + 30, x : x + 40] = 200
        save(root / "cam1" / "week1" / f"{time}.jpg", pixels)
        polygon = [x, y, x + 40, y, x + 40, y + 30, x, y + 30]
        detections.append(
            {
                "bbox": f"{{{x},{y},40,30,0.95}}",
                "segmentation": "{" + ",".join(map(str, polygon)) + "}",
                "label_id": "1",
                "time": time,
                "camera_id": "cam1",
            }
        )
    save(root / "cam1" / "cam1.json", detections)


def write_lvis(root: Path) -> None:
    """Write LVIS v1's training file; photographs lie where `coco_url` says."""
    images, records = [], []
    for number in range(31, 35):
        pixels, things = scene(number)
        save(root / "train2017" / f"{number:012d}.jpg", pixels)
        url = f"http://images.example.org/train2017/{number:012d}.jpg"
        images.append({"id": number, "height": HW[0], "width": HW[1], "coco_url": url})
        records.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "segmentation": [things[0].polygon],
                "area": float(things[0].amodal.sum()),
                "bbox": things[0].box_xywh,
            }
        )
    content = {"images": images, "annotations": records, "categories": [{"id": 1, "name": "mug"}]}
    save(root / "annotations" / "lvis_v1_train.json", content)


def write_lvvis(root: Path) -> None:
    """Write a video of LV-VIS whose frames are still."""
    frames = range(10)
    pixels, things = scene(41)
    for frame in frames:
        save(root / "JPEGImages" / "train" / "00007" / f"{frame:05d}.jpg", pixels)
    video = {"id": 7, "height": HW[0], "width": HW[1], "length": len(frames)}
    video["file_names"] = [rf"D:\data\train\00007\{frame:05d}.jpg" for frame in frames]
    record = {"id": 1, "video_id": 7, "category_id": 3, "iscrowd": 0}
    record["segmentations"] = [rle(things[0].amodal)] * len(frames)
    record["bboxes"] = [things[0].box_xywh] * len(frames)
    record["areas"] = [int(things[0].amodal.sum())] * len(frames)
    categories = [{"id": 3, "name": "mug", "partition": 0}]
    content = {"videos": [video], "annotations": [record], "categories": categories}
    save(root / "train_instances.json", content)


def write_detections(path: Path, *, amodal: bool) -> None:
    """Write a front end's COCO results on the evaluated images, with masks of its own."""
    results = []
    for number in EVALUATED:
        for place, thing in enumerate(scene(number)[1]):
            mask = thing.amodal if amodal else thing.visible
            box = list(map(float, cv2.boundingRect(mask.astype(np.uint8))))
            results.append(
                {
                    "image_id": number,
                    "category_id": 1 + place % 2,
                    "bbox": box,
                    "score": 0.9 - 0.1 * place,
                    "segmentation": rle(mask),
                }
            )
    save(path, results)


SETS: dict[str, Callable[[Path], None]] = {
    "cocoa": write_cocoa,
    "cocoa_cls": write_cocoa_cls,
    "d2sa": write_d2sa,
    "muva": write_muva,
    "kins": write_kins,
    "kitti360_aps": write_kitti360_aps,
    "mp3d_amodal": write_mp3d_amodal,
    "dyce": write_dyce,
    "pix2gestalt": write_pix2gestalt,
    "walt_raw": write_walt_raw,
    "lvis": write_lvis,
    "lvvis": write_lvvis,
}


def write_all(folder: Path) -> None:
    """Write every set into its own folder."""
    for name, write in SETS.items():
        write(folder / name)
