"""Training samples of the box detector: parts of images, and the object under each cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from sameo_model.data.prompts import mask_to_box_xyxy
from sameo_model.data.rle import rle_area
from sameo_model.data.types import AmodalImage, AmodalInstance
from sameo_model.modeling.box_detector import cell_grid
from sameo_model.runtime.framing import resize_window
from sameo_model.runtime.images import list_images, read_decoded_image
from sameo_model.training.augment import Scene
from sameo_model.training.box_loss import IGNORED, NO_OBJECT
from sameo_model.training.camera import see_through_camera
from sameo_model.training.config import BoxOptions
from sameo_model.training.sample_plan import Draw, TrainingSet
from sameo_model.training.samples import MAX_TRIES, UnreadableImageError, decode_masks, load_pixels

MIN_VISIBLE_PIXELS = 48  # of the network's input
MIN_SHARE_INSIDE = 0.15  # of the visible part, of an object that the border of the part cuts
CLOTH_SHARE = 0.5  # of the images without objects, that are printed cloths
PRINT_SIZE = 96  # side of a print on a cloth, pixels

Rng = np.random.Generator
Sample = dict[str, Any]


@dataclass(frozen=True)
class BoxScene(Scene):
    """A scene with all objects of its image."""

    # (N,), pixels of the whole visible parts, before anything was cut away
    areas: NDArray[np.int64]
    is_wanted: NDArray[np.bool_]  # (N,), False for what is neither an object to find nor background


class BoxSamples(Dataset):
    """Samples by `Draw`; a sample depends on the draw and the seed alone."""

    def __init__(
        self, sources: Sequence[TrainingSet], options: BoxOptions, *, image_size: int, seed: int
    ) -> None:
        """Prepare samples for a network that sees whole images with the side `image_size`.

        Args:
            image_size: Side of the square input in use, pixels.

        Raises:
            FileNotFoundError: If a folder of empty images or prints has none.
        """
        self.sources = sources
        self.options = options
        self.image_size = image_size
        self.seed = seed
        self.empty_images = _images_of("boxes.empty_images", options.empty_images)
        self.prints = _images_of("boxes.prints", options.prints) or self.empty_images

    def __getitem__(self, draw: Draw) -> Sample:
        """Return the sample of a draw; an unreadable image is replaced by another one.

        Returns:
            `image` uint8 (3, S, S) RGB; `visible_xyxy` and `amodal_xyxy` float32 (N, 4), pixels
            of it; `has_amodal` bool (N,); `cells` int64 (A,), see `box_loss`; `is_complete` bool;
            `path` str; `unreadable`, a dict of messages by path of images that were skipped.

        Raises:
            RuntimeError: If no readable image was found in `MAX_TRIES` tries.
        """
        rng = np.random.default_rng([self.seed, *draw.stream])
        source = self.sources[draw.source]
        unreadable: dict[str, str] = {}
        for _ in range(MAX_TRIES):
            try:
                if self.prints and rng.random() < self.options.empty_share:
                    (path, scene), is_complete = self._draw_empty(rng), True
                else:
                    image = source.images[draw.image_index]
                    path, is_complete = image.path, source.is_complete
                    scene = load_box_scene(image, self.options.unwanted)
            except UnreadableImageError as error:
                unreadable[str(error.path)] = str(error)
                draw = replace(draw, image_index=int(rng.integers(len(source.images))))
                continue
            part = _turn(_cut(scene, self.image_size, self.options, rng), rng)
            return {
                **make_targets(part, self.options.side, rng),
                "is_complete": is_complete,
                "path": str(path),
                "unreadable": unreadable,
            }
        raise RuntimeError(
            f"no readable image found in {MAX_TRIES} random ones ({'; '.join(unreadable.values())})"
            "; check the data set with `python -m sameo_model.datasets check`"
        )

    def _draw_empty(self, rng: Rng) -> tuple[Path, BoxScene]:
        """Draw an image without objects: a photograph, or a cloth with prints.

        Raises:
            UnreadableImageError: If the file is missing or damaged.
        """
        is_cloth = not self.empty_images or rng.random() < CLOTH_SHARE
        paths = self.prints if is_cloth else self.empty_images
        path = paths[int(rng.integers(len(paths)))]
        try:
            pixels = read_decoded_image(path).image_rgb
        except (OSError, ValueError) as error:
            raise UnreadableImageError(path, error) from error
        if is_cloth:
            pixels = _print_cloth(pixels, rng)
        nothing = np.zeros((0, *pixels.shape[:2]), bool)
        none = np.zeros(0, bool)
        return path, BoxScene(pixels, nothing, nothing, none, np.zeros(0, np.int64), none)


def load_box_scene(image: AmodalImage, unwanted: Sequence[str] = ()) -> BoxScene:
    """Read an image and the masks of its objects.

    Args:
        unwanted: Classes that are neither objects to find nor background; crowds are never.

    Raises:
        UnreadableImageError: If the file is missing or damaged.
    """
    known = [item for item in image.instances if item.visible_rle is not None]
    crowds = [
        AmodalInstance(crowd.annotation_id, crowd.category, None, crowd.rle, None, None, None)
        for crowd in image.crowds
    ]
    both = [*known, *crowds]
    is_wanted = [item.category not in unwanted for item in known] + [False] * len(crowds)
    return BoxScene(
        load_pixels(image),
        *decode_masks(both, image.image_hw),
        np.array([rle_area(item.visible_rle) for item in both if item.visible_rle], np.int64),
        np.array(is_wanted, bool),
    )


def make_targets(scene: BoxScene, side: int, rng: Rng | None = None) -> dict[str, Any]:
    """Squash an image to the input and say which object each cell lies on.

    Args:
        side: Of the square input, pixels.
        rng: Changes the image as another camera would; None leaves it as it is.

    Returns:
        `image`, boxes, `has_amodal` and `cells` as `BoxSamples` has them.
    """
    image = resize_window(np.ascontiguousarray(scene.image_rgb), side)
    if rng is not None:
        image = see_through_camera(image, rng)
    height, width = scene.image_rgb.shape[:2]
    visible = scene.visible_masks.sum((1, 2))
    is_usable = (
        scene.is_wanted
        & (visible * (side * side / (height * width)) >= MIN_VISIBLE_PIXELS)
        & (visible >= MIN_SHARE_INSIDE * scene.areas)
    )
    rows = np.flatnonzero(is_usable)
    scale = np.array([side / width, side / height] * 2, np.float32)
    boxes = [
        np.stack([mask_to_box_xyxy(mask) for mask in masks[rows]]) * scale
        if len(rows)
        else np.zeros((0, 4), np.float32)
        for masks in (scene.visible_masks, scene.amodal_masks)
    ]
    return {
        "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        "visible_xyxy": torch.from_numpy(boxes[0]),
        "amodal_xyxy": torch.from_numpy(boxes[1]),
        "has_amodal": torch.from_numpy(scene.has_amodal[rows]),
        "cells": torch.from_numpy(_object_of_each_cell(scene, rows, side)),
    }


def _object_of_each_cell(scene: BoxScene, rows: NDArray[np.intp], side: int) -> NDArray[np.int64]:
    """Return int64 (A,), as `box_loss` takes it."""
    height, width = scene.image_rgb.shape[:2]
    objects = np.full((height, width), NO_OBJECT, np.int64)
    # What is not to be learned first, so that objects win where masks overlap.
    for row in np.setdiff1d(np.arange(len(scene.visible_masks)), rows):
        objects[scene.visible_masks[row]] = IGNORED
    for number, row in enumerate(rows, start=1):
        objects[scene.visible_masks[row]] = number
    centres = cell_grid(side, side)[0].numpy()
    ys = (centres[:, 1] * height / side).astype(int)
    xs = (centres[:, 0] * width / side).astype(int)
    cells = objects[ys, xs]
    for number in np.setdiff1d(np.arange(1, len(rows) + 1), cells):
        # Small or thin: the nearest cell of the finest stride answers for it.
        inside = np.argwhere(objects == number)
        if len(inside):
            y, x = inside[np.abs(inside - inside.mean(0)).sum(1).argmin()]
            cells[np.hypot(ys - y, xs - x).argmin()] = number
    return cells


def _cut(scene: BoxScene, image_size: int, options: BoxOptions, rng: Rng) -> BoxScene:
    """Cut a random part out, so that things appear larger or smaller than in the whole image."""
    low, high = options.scale
    scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    aspect = math.exp(rng.uniform(-0.2, 0.2))
    height, width = scene.image_rgb.shape[:2]
    share = options.side / (image_size * scale)
    part_h = min(height, max(1, round(height * share * aspect)))
    part_w = min(width, max(1, round(width * share / aspect)))
    return scene.cut(part_h, part_w, rng)


def _turn(scene: BoxScene, rng: Rng) -> BoxScene:
    """Mirror half of the images, and turn some by quarters, as cameras above a bin see things."""
    turns = int(rng.choice(4, p=(0.7, 0.1, 0.1, 0.1)))
    is_mirrored = rng.random() < 0.5

    def turned(pixels: NDArray, axes: tuple[int, int]) -> NDArray:
        result = np.rot90(pixels, turns, axes)
        return np.flip(result, axes[1]) if is_mirrored else result

    return replace(
        scene,
        image_rgb=turned(scene.image_rgb, (0, 1)),
        visible_masks=turned(scene.visible_masks, (1, 2)),
        amodal_masks=turned(scene.amodal_masks, (1, 2)),
    )


def _print_cloth(pixels: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """Return a cloth that repeats a part of an image, seen at an angle."""
    height, width = pixels.shape[:2]
    side = int(min(height, width) * rng.uniform(0.1, 0.4)) + 1
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    tile = cv2.resize(pixels[y : y + side, x : x + side], (PRINT_SIZE, PRINT_SIZE))
    count = int(rng.integers(3, 9))
    cloth = np.tile(np.asarray(tile, np.uint8), (count, count, 1))
    size = len(cloth)
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    moved = corners + (0.15 * size * rng.uniform(-1, 1, (4, 2))).astype(np.float32)
    angle = cv2.getPerspectiveTransform(corners, moved)
    return np.asarray(
        cv2.warpPerspective(cloth, angle, (size, size), borderMode=cv2.BORDER_REFLECT), np.uint8
    )


def _images_of(key: str, folders: Sequence[str]) -> list[Path]:
    found = []
    for folder in folders:
        paths = list_images(Path(folder))
        if not paths:
            raise FileNotFoundError(
                f"{key} must name folders with images, but {folder} holds none; change the folder "
                "or remove it from the configuration"
            )
        found += paths
    return found


def collate_boxes(samples: list[Sample]) -> list[dict[str, Any]]:
    """Join the samples of one step into one batch, padded to the most objects of an image.

    Returns:
        One dict: `image` uint8 (B, 3, S, S), `visible_xyxy`, `amodal_xyxy` float32 (B, N, 4),
        `has_amodal` bool (B, N), `cells` int64 (B, A), `is_complete` bool (B,); `is_valid` bool
        (B, 1), since every image counts the same; `paths` and `unreadable`.
    """
    padded = ("visible_xyxy", "amodal_xyxy", "has_amodal")
    return [
        {
            "image": torch.stack([sample["image"] for sample in samples]),
            **{key: pad_sequence([s[key] for s in samples], batch_first=True) for key in padded},
            "cells": torch.stack([sample["cells"] for sample in samples]),
            "is_complete": torch.tensor([sample["is_complete"] for sample in samples]),
            "is_valid": torch.ones(len(samples), 1, dtype=torch.bool),
            "paths": [sample["path"] for sample in samples],
            "num_images": len(samples),
            "unreadable": {p: text for s in samples for p, text in s["unreadable"].items()},
        }
    ]
