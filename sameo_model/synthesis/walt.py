"""Composite WALT anew (paper section 3.2): whole objects pasted back into their own scenes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from sameo_model.data.amodal_coco_writer import write_amodal_coco
from sameo_model.data.defects import DefectLog
from sameo_model.data.readers.walt import find_cameras, read_frame
from sameo_model.data.rle import encode_instance, occlusion_rate, rle_area
from sameo_model.data.segmentation import parse_segmentation
from sameo_model.data.types import AmodalImage, decode_rle
from sameo_model.runtime.files import write_json
from sameo_model.synthesis.blocks import Block, describe_set, merge_blocks, run_blocks, split_blocks
from sameo_model.synthesis.walt_objects import (
    WaltCamera,
    WaltObject,
    WaltObjectRule,
    background_of,
    read_camera,
)

# Raise when the same seed gives other images.
VERSION = 1
BLOCK_IMAGES = 8


@dataclass(frozen=True)
class WaltSettings:
    """Everything that the images follow from."""

    seed: int  # chooses hours, objects and layers
    images_per_camera: int  # composites of each camera
    objects_per_image: int = 30  # most objects that are pasted into one scene; WALT has 30
    # "bottom" pastes objects whose outline ends lower, which are nearer to a camera above the road,
    # later; "random" pastes in any order
    layer_order: Literal["bottom", "random"] = "bottom"
    max_occlusion_rate: float = 0.7  # objects that are hidden further are not annotated
    # when a detection counts as whole
    objects: WaltObjectRule = field(default_factory=WaltObjectRule)
    jpeg_quality: int = 92  # 0 to 100

    def __post_init__(self) -> None:
        if not 0 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality must be from 0 to 100, got {self.jpeg_quality}")
        if not 0 <= self.max_occlusion_rate <= 1:
            raise ValueError(
                f"max_occlusion_rate must be from 0 to 1, got {self.max_occlusion_rate}"
            )
        if self.layer_order not in ("bottom", "random"):
            raise ValueError(f"layer_order must be bottom or random, got {self.layer_order!r}")


def compose_walt(
    root: Path, output: Path, settings: WaltSettings, *, workers: int
) -> dict[str, Any]:
    """Make the composites of every camera that are missing; return the report.

    Raises:
        FileNotFoundError: If there is no camera.
        ValueError: If no camera has an hour with two whole objects.
    """
    for name in ("images", "records", "backgrounds"):
        (output / name).mkdir(exist_ok=True)
    defects = DefectLog()
    cameras = [
        camera
        for name, folder in find_cameras(root).items()
        if (camera := read_camera(name, folder, settings.objects, defects)).objects
    ]
    if not cameras:
        raise ValueError(
            "walt must have a camera with at least 2 whole objects in an hour, got none; allow a "
            "lower confidence or overlapping boxes"
        )
    for camera in cameras:
        _write_backgrounds(camera, output)
    blocks = [
        Block(output / "records" / f"{camera.name}-{number:06d}.json", images, source)
        for source, camera in enumerate(cameras)
        for number, images in enumerate(split_blocks(settings.images_per_camera, BLOCK_IMAGES))
    ]
    make = partial(_make_block, cameras, settings, output)
    run_blocks(make, blocks, workers=workers, title="composites", unit="images")
    merge_blocks(output, blocks)
    paths = [block.record_path.with_suffix(".filtered") for block in blocks]
    statistics, paper = describe_set(output, "walt")
    report = {
        **statistics,
        "num_removed_by_max_occlusion_rate": sum(json.loads(path.read_text()) for path in paths),
        "defects": defects.to_json(),
        "paper": paper,
    }
    num_objects = {camera.name: sum(map(len, camera.objects.values())) for camera in cameras}
    manifest = {"version": VERSION, "settings": asdict(settings), "whole_objects": num_objects}
    write_json(output / "manifest.json", manifest, indent=1)
    write_json(output / "report.json", report, indent=1)
    return report


def _write_backgrounds(camera: WaltCamera, output: Path) -> None:
    for hour in camera.objects:
        path = _background_path(output, camera.name, hour)
        if not path.is_file():
            temporary = path.with_name(f".{path.name}")
            temporary.write_bytes(cv2.imencode(".png", background_of(camera, hour))[1].tobytes())
            temporary.replace(path)


def _background_path(output: Path, camera: str, hour: int) -> Path:
    return output / "backgrounds" / f"{camera}-{hour:02d}.png"


def _make_block(
    cameras: Sequence[WaltCamera], settings: WaltSettings, output: Path, block: Block
) -> None:
    cv2.setNumThreads(1)
    images, num_filtered = [], 0
    for number in block.numbers:
        image, filtered = _make_image(cameras, settings, output, block.source, number)
        images.append(image)
        num_filtered += filtered
    write_json(block.record_path.with_suffix(".filtered"), num_filtered, indent=1)
    write_amodal_coco(block.record_path, images, output / "images")


def _make_image(
    cameras: Sequence[WaltCamera], settings: WaltSettings, output: Path, source: int, number: int
) -> tuple[AmodalImage, int]:
    camera = cameras[source]
    generator = np.random.default_rng([settings.seed, source, number])
    hour, chosen = choose_objects(camera, settings, generator)
    background_path = _background_path(output, camera.name, hour)
    canvas = read_frame(background_path)
    if canvas is None:
        raise OSError(f"background {background_path} cannot be read; delete it and start again")
    amodal_masks, shown = _paste_layers(canvas, chosen, camera.image_hw)
    image_id = source * settings.images_per_camera + number + 1
    instances = []
    for place, mask, visible in visible_parts(amodal_masks):
        rate = occlusion_rate(int(mask.sum()), int(visible.sum()))
        if rate <= settings.max_occlusion_rate:
            item = shown[place]
            instances.append(
                encode_instance(
                    image_id * 1000 + place + 1,
                    f"label {item.label_id}",
                    item.label_id + 1,  # numbers of categories start at 1
                    mask,
                    visible,
                    item.source_id,
                )
            )
    path = output / "images" / f"{camera.name}_{number:06d}.jpg"
    if not cv2.imwrite(str(path), canvas, [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality]):
        raise OSError(f"image {path} could not be written; is the disk full?")
    image = AmodalImage(image_id, path, camera.image_hw, instances, "walt")
    return image, len(amodal_masks) - len(instances)


def choose_objects(
    camera: WaltCamera, settings: WaltSettings, generator: np.random.Generator
) -> tuple[int, list[WaltObject]]:
    """Choose an hour, by its number of objects, and objects of it in the order of pasting."""
    hours = list(camera.objects)
    counts = np.array([len(camera.objects[hour]) for hour in hours])
    hour = hours[generator.choice(len(hours), p=counts / counts.sum())]
    found = camera.objects[hour]
    num_chosen = min(settings.objects_per_image, len(found))
    chosen = [found[place] for place in generator.choice(len(found), num_chosen, replace=False)]
    if settings.layer_order == "bottom":
        chosen.sort(key=lambda item: item.polygon_xy[:, 1].max())
    return hour, chosen


def _paste_layers(
    canvas: np.ndarray, objects: Sequence[WaltObject], image_hw: tuple[int, int]
) -> tuple[list[np.ndarray], list[WaltObject]]:
    """Paste objects where they were seen, the later over the earlier ones, in place."""
    masks, shown = [], []
    for item in objects:
        frame = read_frame(item.frame_path)
        polygon = [item.polygon_xy.ravel().tolist()]
        rle = parse_segmentation(polygon, image_hw, DefectLog(), item.source_id)
        if frame is None or frame.shape != canvas.shape or rle is None or not rle_area(rle):
            continue
        mask = decode_rle(rle)
        canvas[mask] = frame[mask]
        masks.append(mask)
        shown.append(item)
    return masks, shown


def visible_parts(amodal_masks: Sequence[np.ndarray]) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return (place, amodal mask, visible mask) of stacked objects that are not wholly hidden.

    Args:
        amodal_masks: bool (H, W) each, the lowest layer first.
    """
    parts = []
    above = np.zeros(amodal_masks[0].shape, dtype=bool) if amodal_masks else None
    for place in reversed(range(len(amodal_masks))):
        assert above is not None
        mask = amodal_masks[place]
        visible = mask & ~above
        above = above | mask
        if visible.any():
            parts.append((place, mask, visible))
    return parts[::-1]


def settings_of_folder(root: Path, settings: WaltSettings) -> Mapping[str, Any]:
    """Return what a folder of composites is begun with."""
    return {"version": VERSION, "settings": asdict(settings), "cameras": list(find_cameras(root))}
