"""Open a data set by its name."""

from __future__ import annotations

from pathlib import Path

from sameo_model.data.box_agreement import require_agreement
from sameo_model.data.catalogue import load_card
from sameo_model.data.filters import apply_rules
from sameo_model.data.index import IndexedDataset
from sameo_model.data.index_cache import open_index
from sameo_model.data.readers import READERS
from sameo_model.data.readers.flat_coco import FlatCocoSource
from sameo_model.data.source import Source


def dataset_names() -> tuple[str, ...]:
    """Return the names that `open_dataset` knows, sorted."""
    return tuple(sorted(READERS))


def split_parts(split: str | None) -> list[str | None]:
    """Return the parts that a split names, such as ["train", "val"] for "train+val".

    Raises:
        ValueError: If a part has no name or comes twice.
    """
    if split is None:
        return [None]
    parts = split.split("+")
    if not all(parts) or len(set(parts)) < len(parts):
        raise ValueError(f"split must be different parts joined by +, got {split!r}")
    return list(parts)


def find_sources(name: str, root: Path | str, split: str | None = None) -> list[Source]:
    """Return the parts of a data set; arguments and errors as for `open_dataset`."""
    if name not in READERS:
        raise ValueError(f"data set must be one of {', '.join(dataset_names())}, got {name!r}")
    sources = [source for part in split_parts(split) for source in READERS[name](Path(root), part)]
    files = [source.files()[0] for source in sources if isinstance(source, FlatCocoSource)]
    if len(set(files)) < len(files):
        raise ValueError(
            f"split of {name} must name different files, but {split!r} reads {files[0]} twice"
        )
    return sources


def open_dataset(
    name: str,
    root: Path | str,
    split: str | None = None,
    *,
    quality_control: bool = False,
    allow_broken: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> IndexedDataset:
    """Open a data set from its original files.

    Args:
        name: Name in the registry, one of `dataset_names()`.
        split: Part of it, such as "train" or "val", or several as one set, such as
            "train+augmented"; None takes all labelled parts.
        quality_control: Apply the set's rules of paper section 3.2 (`config/data/<name>.yaml`) and
            leave out images without instances; otherwise everything that was read is shown.
        allow_broken: Open a set as well whose masks mostly lie elsewhere than the file's boxes.
        workers: Number of processes that read a large set the first time; later an index is used.

    Returns:
        Images with their instances; masks are decoded when asked for.

    Raises:
        ValueError: If the name or the split is not known.
        FileNotFoundError: If files are missing.
        DatasetFormatError: If the files do not have the form that the reader knows, or the set is
            broken: most masks lie elsewhere than the file's own boxes.
    """
    dataset = open_index(find_sources(name, root, split), workers=workers, progress=progress)
    if not allow_broken:
        require_agreement(name, dataset.box_agreement)
    if quality_control:
        dataset, _ = apply_rules(dataset, load_card(name).quality_control)
    return dataset
