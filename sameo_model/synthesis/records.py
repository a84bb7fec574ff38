"""Files of a rendered set: one complete record per scene, merged into one annotation file.

A scene's record `records/<scene>.json` is itself amodal COCO and appears after its images, so
that finished scenes can be read while others are still being made.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from sameo_model.data.amodal_coco_writer import annotation_record, crowd_record
from sameo_model.data.rle import encode_instance, encode_mask
from sameo_model.data.types import CrowdRegion
from sameo_model.runtime.files import write_json
from sameo_model.synthesis.cameras import PinholeCamera
from sameo_model.synthesis.scenes import RenderedScene, RenderedView
from sameo_model.synthesis.truth import ViewTruth

MAX_VIEWS = 1000  # ids leave room for as many views of a scene and instances of a view
JPEG_QUALITY = 95


def record_path(output: Path, number: int) -> Path:
    """Return the record of scene `number`."""
    return output / "records" / f"{number:06d}.json"


def write_scene(
    output: Path, number: int, scene: RenderedScene, categories: dict[str, int]
) -> dict[str, Any]:
    """Write one scene, images first, and return its record, which comes last."""
    record: dict[str, Any] = {"images": [], "annotations": [], "cameras": []}
    partial = output / ".partial" / f"{number:06d}.{os.getpid()}"
    folders = ["images", "depth"]
    if scene.views and scene.views[0].sensed_depth_m is not None:
        folders.append("depth_sensed")
    for folder in folders:
        (partial / folder).mkdir(parents=True, exist_ok=True)
        (output / folder).mkdir(parents=True, exist_ok=True)
    (output / "records").mkdir(exist_ok=True)
    for k, view in enumerate(scene.views):
        name, image_id = f"{number:06d}_{k:02d}", number * MAX_VIEWS + k + 1
        height, width = view.image.shape[:2]
        record["images"].append(
            {
                "id": image_id,
                "file_name": f"{name}.jpg",
                "height": height,
                "width": width,
                "scene": number,
            }
        )
        record["annotations"] += _annotations(image_id, view.truth, scene.names, categories)
        record["cameras"].append(_camera(image_id, name, view.camera, (height, width)))
        _write_images(partial, name, view)
    record["categories"] = [{"id": number, "name": name} for name, number in categories.items()]
    record["failures"] = scene.failures
    for path in sorted(partial.rglob("*.*")):
        path.replace(output / path.relative_to(partial))
    shutil.rmtree(partial)
    write_json(record_path(output, number), record)
    return record


def _write_images(folder: Path, name: str, view: RenderedView) -> None:
    bgr = np.ascontiguousarray(view.image[..., ::-1])
    written = cv2.imwrite(
        str(folder / "images" / f"{name}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    for kind, depth_m in (("depth", view.truth.depth_m), ("depth_sensed", view.sensed_depth_m)):
        if depth_m is not None:
            depth_mm = np.clip(np.round(depth_m * 1000), 0, 65535).astype(np.uint16)
            written &= cv2.imwrite(str(folder / kind / f"{name}.png"), depth_mm)
    if not written:
        raise OSError(f"images of {name} could not be written to {folder}; is the disk full?")


def _annotations(
    image_id: int, truth: ViewTruth, names: list[str], categories: dict[str, int]
) -> list[dict[str, Any]]:
    """Return the records of the objects, then crowd regions for those that are left over."""
    records: list[dict[str, Any]] = []
    for one in truth.instances:
        name = names[one.index]
        number, category_id = image_id * 100 + len(records), categories[name]
        masks = one.amodal_mask, one.visible_mask
        instance = encode_instance(number, name, category_id, *masks)
        record = annotation_record(image_id, instance, category_id)
        records.append({**record, "object": one.index})
    for index, mask in truth.left_over.items():
        number, category_id = image_id * 100 + len(records), categories[names[index]]
        crowd = CrowdRegion(number, names[index], encode_mask(mask), category_id)
        records.append({**crowd_record(image_id, crowd, category_id), "object": index})
    return records


def _camera(
    image_id: int, name: str, camera: PinholeCamera, image_hw: tuple[int, int]
) -> dict[str, Any]:
    height, width = image_hw
    focal = camera.focal_px(height)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.rotation, camera.position
    return {
        "image_id": image_id,
        "file_name": f"{name}.jpg",
        "depth_file_name": f"{name}.png",
        "intrinsics": [[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]],
        "world_from_camera": pose.round(9).tolist(),
    }


def read_records(output: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (scene number, record) of every finished scene, in order of number."""
    for path in sorted((output / "records").glob("[0-9]*.json")):
        yield int(path.stem), json.loads(path.read_text())


def merge_records(output: Path, num_scenes: int) -> dict[str, int]:
    """Write what concerns the whole set, from the records of scenes below `num_scenes`.

    These are `annotations.json`, `cameras.json` and `occlusion_order.json` (who hides whom).

    Returns:
        Counts: scenes, images, annotations, occluded (occlusion rate above 0.05).
    """
    merged: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    cameras: list[Any] = []
    order: list[Any] = []
    count = 0
    for number, record in read_records(output):
        if number >= num_scenes:
            continue
        count += 1
        merged["images"] += record["images"]
        merged["annotations"] += record["annotations"]
        merged["categories"] = record["categories"]
        cameras += record["cameras"]
        order += _occlusion_order(record)
    write_json(output / "annotations.json", merged)
    write_json(output / "cameras.json", cameras)
    write_json(output / "occlusion_order.json", order)
    objects = [one for one in merged["annotations"] if not one["iscrowd"]]
    return {
        "scenes": count,
        "images": len(merged["images"]),
        "annotations": len(objects),
        "occluded": sum(one["occlude_rate"] > 0.05 for one in objects),
    }


def _occlusion_order(record: dict[str, Any]) -> list[dict[str, Any]]:
    by_image: dict[int, list[dict[str, Any]]] = {entry["id"]: [] for entry in record["images"]}
    for annotation in record["annotations"]:
        if not annotation["iscrowd"]:
            by_image[annotation["image_id"]].append(annotation)
    return [
        {"image_id": image_id, "pairs": hiding_pairs(annotations)}
        for image_id, annotations in by_image.items()
    ]


def hiding_pairs(annotations: list[dict[str, Any]]) -> list[dict[str, int]]:
    """Return who hides whom in one image.

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
