"""Binary form of a read data set: tables and text blobs, mapped or copied into memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sameo_model.data.types import DatasetFormatError

# Raise when the tables or the meaning of what the readers store in them change.
FORMAT_VERSION = 5

META_FILE = "meta.json"
IMAGES_FILE = "images.npy"
INSTANCES_FILE = "instances.npy"
CROWDS_FILE = "crowds.npy"
MASKS_FILE = "masks.bin"
PATHS_FILE = "paths.bin"

NO_COCO_ID = -1
MAX_COCO_IDS = 2

IMAGE_ROW = np.dtype(
    [
        ("image_id", "<i8"),
        ("image_hw", "<i4", (2,)),
        ("first_instance", "<i8"),
        ("num_instances", "<i4"),
        ("path_offset", "<i8"),
        ("path_length", "<i4"),
        ("coco_image_ids", "<i8", (MAX_COCO_IDS,)),
    ]
)

# `offset` points at amodal counts, visible counts and source id, one after the other; the visible
# counts are absent where VISIBLE_IS_AMODAL is set.
INSTANCE_ROW = np.dtype(
    [
        ("image_row", "<i4"),
        ("annotation_id", "<i8"),
        ("category", "<i4"),
        ("offset", "<i8"),
        ("amodal_length", "<i4"),
        ("visible_length", "<i4"),
        ("source_length", "<i2"),
        ("flags", "u1"),
        ("amodal_area", "<i4"),
        ("visible_area", "<i4"),
        ("amodal_box_xywh", "<i4", (4,)),
        ("visible_box_xywh", "<i4", (4,)),
        ("stated_rate", "<f8"),
    ]
)

# A table of its own: what takes instances must not meet crowds. `offset` points at the counts.
CROWD_ROW = np.dtype(
    [
        ("image_row", "<i4"),
        ("annotation_id", "<i8"),
        ("category", "<i4"),
        ("offset", "<i8"),
        ("length", "<i4"),
    ]
)


class InstanceFlag(IntFlag):
    """Bits of an instance's `flags`."""

    HAS_AMODAL = 1
    HAS_VISIBLE = 2
    VISIBLE_IS_AMODAL = 4
    IS_STUFF = 8


@dataclass(frozen=True, eq=False)
class IndexTables:
    """Content of an index."""

    # where the files lie that the arrays are mapped from; None if they are copies
    folder: Path | None
    meta: dict[str, Any]  # name, categories, classes and defects
    images: np.ndarray  # IMAGE_ROW (I,), in the order of the sources
    instances: np.ndarray  # INSTANCE_ROW (R,), ordered by image
    crowds: np.ndarray  # CROWD_ROW (C,), ordered by image
    masks: np.ndarray  # uint8, run lengths and source ids of the instances
    paths: np.ndarray  # uint8, paths of the images

    def __reduce__(self) -> tuple[Callable[..., IndexTables], tuple[Any, ...]]:
        """Pickle mapped tables as their folder, so that worker processes map the files again."""
        if self.folder is not None:
            return load_tables, (self.folder,)
        arrays = (self.images, self.instances, self.crowds, self.masks, self.paths)
        return IndexTables, (None, self.meta, *arrays)


def load_tables(folder: Path, *, in_memory: bool = False) -> IndexTables:
    """Open the files that `build_index` wrote.

    Args:
        in_memory: Copy the files, so that the folder may be deleted.

    Raises:
        DatasetFormatError: If the folder holds another version of the format.
    """
    meta = json.loads((folder / META_FILE).read_text())
    if meta["format_version"] != FORMAT_VERSION:
        raise DatasetFormatError(
            f"index {folder} must have format {FORMAT_VERSION}, got {meta['format_version']}; "
            f"delete it to have it built anew"
        )
    mode: Literal["r"] | None = None if in_memory else "r"
    return IndexTables(
        folder=None if in_memory else folder,
        meta=meta,
        images=np.load(folder / IMAGES_FILE, mmap_mode=mode),
        instances=np.load(folder / INSTANCES_FILE, mmap_mode=mode),
        crowds=np.load(folder / CROWDS_FILE),
        masks=_load_bytes(folder / MASKS_FILE, in_memory),
        paths=_load_bytes(folder / PATHS_FILE, in_memory),
    )


def _load_bytes(path: Path, in_memory: bool) -> np.ndarray:
    if in_memory or not path.stat().st_size:
        return np.fromfile(path, dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r")
