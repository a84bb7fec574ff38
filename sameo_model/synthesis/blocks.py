"""Make a set in numbered blocks: what is finished is kept, what was interrupted is made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sameo_model.data.amodal_coco_writer import AmodalCocoWriter
from sameo_model.data.catalogue import load_card
from sameo_model.data.index_cache import open_index
from sameo_model.data.parallel import ordered_map
from sameo_model.data.readers.amodal_coco import amodal_coco_source
from sameo_model.data.statistics import compare_with_paper, compute_statistics
from sameo_model.runtime.files import write_json

SETTINGS_FILE = "settings.json"


def open_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Begin a folder with its settings, or check that it was begun with the same.

    Raises:
        ValueError: If the folder holds other files or results of other settings.
    """
    path = folder / SETTINGS_FILE
    wanted = json.loads(json.dumps(settings))
    if path.is_file():
        begun = json.loads(path.read_text())
        changed = sorted(key for key in {*wanted, *begun} if wanted.get(key) != begun.get(key))
        if changed:
            details = "; ".join(
                f"{key} was {begun.get(key)}, now {wanted.get(key)}" for key in changed
            )
            raise ValueError(
                f"{folder} must be continued with the settings that it was begun with: {details}; "
                f"pass these or another --output"
            )
        return
    # Names with a dot are settings that another shard is just writing.
    if folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise ValueError(
            f"{folder} must be new or hold a set begun by this command, but it holds other "
            f"files; pass another --output"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, wanted, indent=1)


def digest_files(folder: Path, paths: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits that follow from the files' names inside a folder and contents.

    A set is only continued with the same files.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Block:
    """What is made together."""

    record_path: Path  # file that appears when all of it is there
    numbers: range  # numbers of the images or pairs
    source: int = 0  # number of the data set or camera that they come from


def run_blocks(
    make: Callable[[Block], Any], blocks: Sequence[Block], *, workers: int, title: str, unit: str
) -> None:
    """Make the blocks whose record is missing.

    Args:
        make: Makes one block and writes its record last; an importable function, or a `partial` of
            one.
    """
    missing = [block for block in blocks if not block.record_path.is_file()]
    total, left = (sum(len(block.numbers) for block in part) for part in (blocks, missing))
    made = ordered_map(make, missing, min(workers, len(missing)))
    with tqdm(desc=title, total=total, initial=total - left, unit=f" {unit}") as bar:
        for block, _ in zip(missing, made, strict=True):
            bar.update(len(block.numbers))


def merge_blocks(output: Path, blocks: Iterable[Block]) -> tuple[int, int]:
    """Join the blocks' records, each amodal COCO, into `output`/annotations.json.

    Returns:
        The number of images and of annotations.
    """
    with AmodalCocoWriter(output / "annotations.json") as writer:
        for block in tqdm(blocks, desc="annotations", unit=" blocks"):
            writer.append_file(block.record_path)
    return writer.num_images, writer.num_annotations


def describe_set(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the numbers of Table 1 of a finished set, and the same beside the paper's."""
    source = amodal_coco_source(folder / "annotations.json", dataset=name, split=folder.name)
    statistics = compute_statistics(open_index([source]))
    row = load_card(name).table_1
    assert row is not None
    return asdict(statistics), compare_with_paper(statistics, row)


def split_blocks(total: int, block_size: int) -> Iterator[range]:
    """Yield consecutive ranges of numbers below `total`."""
    for start in range(0, total, block_size):
        yield range(start, min(start + block_size, total))


def shard_range(total: int, shard: tuple[int, int]) -> range:
    """Return the numbers below `total` that shard (i, n) makes.

    Raises:
        ValueError: If i is not in 0 to n - 1.
    """
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(f"shard i/n must have 0 <= i < n, got {index}/{count}")
    return range(total * index // count, total * (index + 1) // count)
