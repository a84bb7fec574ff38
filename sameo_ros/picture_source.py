"""Pictures in a folder with the boxes that a detector would draw: what replay publishes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sameo_model.runtime.boxes import BoxPrompt, read_boxes

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class DepthSource:
    """Depth of a picture.

    Attributes:
        path: A 16-bit PNG of the picture's size, millimetres, 0 where unknown.
        matrix: The camera's K, row by row, for pixel centres at whole numbers.
    """

    path: Path
    matrix: list[float]


@dataclass(frozen=True)
class Picture:
    """A picture file and its boxes.

    Attributes:
        path: The file.
        prompts: Its boxes, in the order of the boxes file.
        depth: Its depth, where the folder is part of a set of rendered scenes.
    """

    path: Path
    prompts: list[BoxPrompt]
    depth: DepthSource | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem


def find_pictures(images: str | Path, boxes: str | Path) -> list[Picture]:
    """Find the pictures that have boxes.

    Args:
        images: A picture, or a folder of pictures.
        boxes: Boxes in any form that `sameo_model.runtime.boxes.read_boxes` reads.

    Returns:
        The pictures in the order of their names; those that the boxes do not name are left out.

    Raises:
        FileNotFoundError: If there is no such picture or folder, or it holds no picture.
        ValueError: If the boxes cannot be read, or belong to none of the pictures.
    """
    images = Path(images)
    paths = [images] if images.is_file() else _list_pictures(images)
    source = read_boxes(boxes)
    if source.by_image is None and len(paths) > 1:
        raise ValueError(
            f"boxes for the {len(paths)} pictures in {images} must name their pictures; give a "
            "mapping from file name to boxes, or an amodal COCO file"
        )
    known = [path for path in paths if source.by_image is None or source.find_image(path)]
    if not known:
        raise ValueError(f"the boxes name none of the pictures in {images}; check the file names")
    depths = _find_depths(images if images.is_dir() else images.parent)
    return [Picture(path, source.for_image(path), depths.get(path.name)) for path in known]


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
            f"{path} must be what `synthesize scenes` writes ({error!r}); mend or remove it"
        ) from error


def _to_whole_centres(intrinsics: list[list[float]]) -> list[float]:
    """Move the principal point from pixel centres at halves to those at whole numbers."""
    (fx, skew, cx), (_, fy, cy), last_row = intrinsics
    return [fx, skew, cx - 0.5, 0.0, fy, cy - 0.5, *last_row]


def _list_pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is neither a picture nor a folder; check the path")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise FileNotFoundError(
            f"folder {folder} holds no picture; give one with PNG or JPEG files"
        )
    return paths
