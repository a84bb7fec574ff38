"""Images in a folder with the boxes that a detector would draw: what replay publishes."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sameo_model.runtime.box_parsing import read_boxes
from sameo_model.runtime.box_source import BoxPrompt, BoxSource
from sameo_model.runtime.image_boxes import match_boxes
from sameo_model.runtime.images import read_image, read_values
from sameo_model.runtime.types import ImageHW, Uint8Array

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class DepthSource:
    """Depth of an image."""

    path: Path  # a 16-bit PNG of the image's size, millimetres, 0 where unknown
    matrix: list[float]  # the camera's K, row by row, for pixel centres at whole numbers


@dataclass(frozen=True)
class SourceImage:
    """An image file and its boxes."""

    path: Path  # the file
    prompts: list[BoxPrompt]  # its boxes, in the order of the boxes file
    # its depth, where the folder is part of a set of rendered scenes
    depth: DepthSource | None = None
    # height and width, pixels, where the boxes file states them
    annotated_hw: ImageHW | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem


def find_images(images: str | Path, boxes: str | Path | None) -> list[SourceImage]:
    """Find the images that have boxes; what is left out is logged.

    Args:
        images: An image, or a folder of images.
        boxes: Boxes in any form that `sameo_model.runtime.box_parsing.read_boxes` reads; None takes
            every image, without boxes.

    Returns:
        The images in the order of their names; those that the boxes do not name are left out.

    Raises:
        FileNotFoundError: If there is no such image or folder, or it holds no image.
        ValueError: If the boxes cannot be read, or belong to none of the images.
    """
    images = Path(images)
    if not images.exists():
        raise FileNotFoundError(f"{images} is neither an image nor a folder; check the path")
    matched = match_boxes(images, BoxSource() if boxes is None else read_boxes(boxes))
    for note in matched.notes:
        _LOGGER.warning("note: %s", note)
    depths = _find_depths(images if images.is_dir() else images.parent)
    return [
        SourceImage(one.path, one.prompts, depths.get(one.path.name), one.annotated_hw)
        for one in matched.images
    ]


def load_image(image: SourceImage) -> tuple[Uint8Array, npt.NDArray[np.uint16] | None]:
    """Read an image and its depth.

    Returns:
        uint8 (H, W, 3), RGB, and uint16 (H, W), millimetres, 0 where unknown; None without depth.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is no image, or the depth no 16-bit PNG.
    """
    image_rgb = read_image(image.path, image.annotated_hw)
    return image_rgb, None if image.depth is None else _read_depth_mm(image.depth.path)


def _read_depth_mm(path: Path) -> npt.NDArray[np.uint16]:
    depth_mm = read_values(path)
    if depth_mm.dtype != np.uint16 or depth_mm.ndim != 2:
        raise ValueError(f"depth {path} must be a 16-bit PNG with one channel")
    return depth_mm.astype(np.uint16, copy=False)


def _find_depths(folder: Path) -> dict[str, DepthSource]:
    """Read `cameras.json` beside the folder, as `synthesize scenes` writes it, if it is there."""
    path = folder.parent / "cameras.json"
    if not path.is_file():
        return {}
    try:
        cameras: list[dict[str, Any]] = json.loads(path.read_bytes())
        return {
            camera["file_name"]: DepthSource(
                folder.parent / "depth" / camera["depth_file_name"],
                _to_whole_centres(camera["intrinsics"]),
            )
            for camera in cameras
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must be what `synthesize scenes` writes ({error!r}); correct or remove it"
        ) from error


def _to_whole_centres(intrinsics: list[list[float]]) -> list[float]:
    """Move the principal point from pixel centres at halves to those at whole numbers."""
    (fx, skew, cx), (_, fy, cy), last_row = intrinsics
    return [fx, skew, cx - 0.5, 0.0, fy, cy - 0.5, *last_row]
