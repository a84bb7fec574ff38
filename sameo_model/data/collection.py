"""Open a data set by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sameo_model.data.readers.amodal_coco import open_amodal_coco
from sameo_model.data.types import AmodalImage


def _open_amodal_coco(root: Path, split: str | None) -> Sequence[AmodalImage]:
    folder = root / split if split else root
    return open_amodal_coco(folder / "annotations.json")


_OPENERS: dict[str, Callable[[Path, str | None], Sequence[AmodalImage]]] = {
    "amodal_coco": _open_amodal_coco,
}


def dataset_names() -> tuple[str, ...]:
    """Return the names that `open_dataset` knows, sorted."""
    return tuple(sorted(_OPENERS))


def open_dataset(name: str, root: Path | str, split: str | None = None) -> Sequence[AmodalImage]:
    """Open a data set from its original files.

    Args:
        name: Name in the registry, one of `dataset_names()`.
        root: Folder of the data set.
        split: Part of it, such as "train" or "val"; None takes the set's default.

    Returns:
        Images with their instances; masks are decoded when asked for.

    Raises:
        ValueError: If the name is not known.
        FileNotFoundError: If files are missing.
    """
    if name not in _OPENERS:
        raise ValueError(f"data set must be one of {', '.join(dataset_names())}, got {name!r}")
    return _OPENERS[name](Path(root), split)
