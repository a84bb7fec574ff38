"""Find files of a data set among the places where copies of it have them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from sameo_model.data.types import DatasetFormatError
from sameo_model.runtime.images import without_hidden


def join_name(folder: Path, name: str) -> Path:
    """Return the path of a file by the name that an annotation file gives it.

    Args:
        folder: What the name is relative to.
        name: A path with slashes, or with the backslashes of tools on Windows.
    """
    name = name.replace("\\", "/")
    path = folder / name
    # A name that climbs out of the folder must work even if the folder does not exist.
    return Path(os.path.normpath(path)) if ".." in name else path


def find(root: Path, candidates: Sequence[str], dataset: str) -> Path:
    """Return the first file or folder that exists.

    Args:
        candidates: Paths relative to `root`; patterns with `*` are allowed.

    Raises:
        FileNotFoundError: If there is none.
    """
    found = find_optional(root, candidates)
    if found is None:
        raise absent(root, candidates, dataset)
    return found


def absent(root: Path, candidates: Iterable[str], dataset: str) -> FileNotFoundError:
    """Return the error for a data set none of whose possible files is there."""
    return FileNotFoundError(
        f"{dataset} must have one of {', '.join(candidates)} in {root}, but none is there; see "
        f"`python -m sameo_model.datasets list` for its layout"
    )


def find_optional(root: Path, candidates: Sequence[str]) -> Path | None:
    """Return the first file or folder that exists, or None."""
    for candidate in candidates:
        matches = [root / candidate]
        if "*" in candidate:
            matches = sorted(without_hidden(root.glob(candidate), root))
        for match in matches:
            if match.exists():
                return match
    return None


def choose_splits(
    root: Path, split: str | None, files: Mapping[str, Sequence[str]], dataset: str
) -> dict[str, Path]:
    """Find the annotation files of the wanted splits.

    Args:
        split: One split, or None for all that are there.

    Returns:
        Annotation file by split, at least one.

    Raises:
        ValueError: If the data set has no such split.
        FileNotFoundError: If no file is there.
    """
    if split is not None and split not in files:
        raise ValueError(f"split of {dataset} must be one of {', '.join(files)}, got {split!r}")
    wanted = {split: files[split]} if split is not None else dict(files)
    found = {}
    for name, candidates in wanted.items():
        path = find_optional(root, candidates)
        if path is not None:
            found[name] = path
    if not found:
        raise absent(root, chain.from_iterable(wanted.values()), dataset)
    return found


def only_split(split: str | None, known: Sequence[str], dataset: str) -> list[str]:
    """Return the wanted splits of a data set whose splits are folders.

    Raises:
        DatasetFormatError: If there are none.
        ValueError: If the data set has no such split.
    """
    if not known:
        raise DatasetFormatError(f"{dataset} must have at least one split folder, got none")
    if split is None:
        return list(known)
    if split not in known:
        raise ValueError(f"split of {dataset} must be one of {', '.join(known)}, got {split!r}")
    return [split]
