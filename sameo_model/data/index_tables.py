"""The files of an index, mapped or copied into memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sameo_model.data.index_format import (
    CROWDS_FILE,
    FORMAT_VERSION,
    IMAGES_FILE,
    INSTANCES_FILE,
    MASKS_FILE,
    META_FILE,
    PATHS_FILE,
)
from sameo_model.data.types import DatasetFormatError


@dataclass(frozen=True, eq=False)
class IndexTables:
    """Content of an index.

    Attributes:
        folder: Where the files lie that the arrays are mapped from; None if they are copies.
        meta: Name, categories and defects.
        images: IMAGE_ROW (I,), in the order of the sources.
        instances: INSTANCE_ROW (R,), ordered by image.
        crowds: CROWD_ROW (C,), ordered by image.
        masks: uint8, run lengths and source ids of the instances.
        paths: uint8, paths of the images.
    """

    folder: Path | None
    meta: dict[str, Any]
    images: np.ndarray
    instances: np.ndarray
    crowds: np.ndarray
    masks: np.ndarray
    paths: np.ndarray

    def __reduce__(self) -> tuple[Callable[..., IndexTables], tuple[Any, ...]]:
        """Pickle mapped tables as their folder, so that worker processes map the files again."""
        if self.folder is not None:
            return load_tables, (self.folder,)
        arrays = (self.images, self.instances, self.crowds, self.masks, self.paths)
        return IndexTables, (None, self.meta, *arrays)


def load_tables(folder: Path, *, in_memory: bool = False) -> IndexTables:
    """Open the files that `build_index` wrote.

    Args:
        folder: The index.
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
