"""Look at the outputs of a command before it works: can they be written, and replace no input?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from sameo_model.data.index import IndexedDataset
from sameo_model.runtime.files import nearest_existing

# What a command writes: the option that names it, and the file.
Output = tuple[str, Path]


def check_outputs(outputs: Iterable[Output], inputs: Iterable[Path]) -> None:
    """Refuse outputs that cannot be written, or would replace an input or each other.

    Args:
        inputs: Files that are read; of a folder, all files directly in it.

    Raises:
        ValueError: If there is one.
    """
    taken = {path.resolve(): f"the input {path}" for path in inputs}
    for option, path in outputs:
        place = path.resolve()
        if user := taken.get(place) or taken.get(place.parent):
            raise ValueError(f"{option} must leave {user} as it is, got {path}; give another name")
        taken[place] = f"what {option} writes"
        _check_place(option, path)


def _check_place(option: str, path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{option} must name a file, but {path} is a folder; add a file name")
    folder = nearest_existing(path.parent)
    if not folder.is_dir():
        raise ValueError(f"{option} must lie in a folder, but {folder} is a file; give another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{option} must lie where you may write, but {folder} is closed to you")


def check_no_image(outputs: Sequence[Output], dataset: IndexedDataset) -> None:
    """Refuse outputs that would replace an image of the data set.

    Raises:
        ValueError: If there is one.
    """
    for option, path in outputs:
        if path.exists() and dataset.has_image(path):
            raise ValueError(
                f"{option} must leave the images as they are, got {path}; give another name"
            )
