"""Build the index of a data set from its sources."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.index_format import (
    CROWD_ROW,
    CROWDS_FILE,
    FORMAT_VERSION,
    IMAGE_ROW,
    IMAGES_FILE,
    INSTANCE_ROW,
    INSTANCES_FILE,
    MASKS_FILE,
    MAX_COCO_IDS,
    META_FILE,
    NO_COCO_ID,
    PATHS_FILE,
)
from sameo_model.data.index_pack import PackedChunk, pack_chunk
from sameo_model.data.parallel import chunked, ordered_map
from sameo_model.data.source import RECORD_ERRORS, ImageEntry, Listing, Source
from sameo_model.data.types import DatasetFormatError

CHUNK_JOBS = 64


def build_index(
    sources: Sequence[Source], folder: Path, *, workers: int = 1, progress: bool = False
) -> None:
    """Read sources and write their common index.

    Args:
        sources: Splits of one data set, at least one; ids that clash between them are numbered
            anew.
        folder: Existing, empty folder for the index files.

    Raises:
        DatasetFormatError: If the files do not have the form that the readers know.
    """
    with (folder / MASKS_FILE).open("wb") as masks_file:
        builder = _Builder(sources[0].dataset, masks_file)
        bar = tqdm(desc=f"reading {sources[0].dataset}", unit=" records", disable=not progress)
        with bar:
            for source in sources:
                _read(builder, source, workers, bar)
    builder.write(folder)


def _read(builder: _Builder, source: Source, workers: int, bar: tqdm) -> None:
    try:
        builder.add_source(source, workers, bar)
    except DatasetFormatError:
        raise
    except RECORD_ERRORS as error:
        raise DatasetFormatError(
            f"files of {source.dataset} {source.split} must have the documented form, but their "
            f"lists cannot be understood ({type(error).__name__}: {error}); they are damaged or of "
            f"another kind: {', '.join(map(str, source.files()[:1]))}"
        ) from error


class _Builder:
    """Tables that grow while sources are read."""

    def __init__(self, dataset: str, masks_file: BinaryIO) -> None:
        self.dataset = dataset
        self.defects = DefectLog()
        self._masks_file = masks_file
        self._masks_size = 0
        self._image_tables: list[np.ndarray] = []
        self._num_images = 0
        self._paths: list[str] = []
        self._instance_tables: list[np.ndarray] = []
        self._crowd_tables: list[np.ndarray] = [np.zeros(0, CROWD_ROW)]
        self._categories: dict[tuple[int, str], int] = {}
        self._listed: dict[int, str] = {}
        self._unlisted: set[int] = set()

    def add_source(self, source: Source, workers: int, bar: tqdm) -> None:
        """Read one source to its end."""
        listing = Listing()
        packed_chunks: list[PackedChunk] = []
        chunks = chunked(source.jobs(listing, self.defects), CHUNK_JOBS)
        work: Iterator[tuple[Source, list[Any]]] = ((source, jobs) for jobs in chunks)
        for packed in ordered_map(pack_chunk, work, workers):
            self._take(packed)
            packed_chunks.append(replace(packed, masks=b""))
            bar.update(packed.num_jobs)
        names = {n: name for n, name in listing.categories.items() if isinstance(n, int)}
        numbers = {name: n for n, name in reversed(names.items())}
        self._listed |= names
        table = _image_table(listing.images)
        for packed in packed_chunks:
            for row, image_hw in packed.image_hw.items():
                table["image_hw"][row] = image_hw
            pairs = packed.categories
            categories = np.array(
                [self._category(pair, names, numbers) for pair in pairs], dtype=np.int32
            )
            for rows in (packed.rows, packed.crowds):
                rows["category"] = categories[rows["category"]]
            self._crowd_tables.append(packed.crowds)
        rows = np.concatenate([np.zeros(0, INSTANCE_ROW), *(chunk.rows for chunk in packed_chunks)])
        self._drop_repeated_ids(rows)
        self._instance_tables.append(rows)
        self._image_tables.append(table)
        paths = [str(entry.path) for entry in listing.images.values()]
        self._count_repeated(paths)
        self._paths += paths
        self._num_images += len(listing.images)

    def _take(self, packed: PackedChunk) -> None:
        for rows in (packed.rows, packed.crowds):
            rows["offset"] += self._masks_size
            rows["image_row"] += self._num_images
        self._masks_file.write(packed.masks)
        self._masks_size += len(packed.masks)
        self.defects.merge(packed.defects)

    def _category(
        self, pair: tuple[int, str], names: Mapping[int, str], numbers: Mapping[str, int]
    ) -> int:
        number, name = pair
        number = number or numbers.get(name, 0)
        # A class without a name is called by its number, which `convert` would lose otherwise.
        key = (number, name or names.get(number) or (str(number) if number else ""))
        code = self._categories.setdefault(key, len(self._categories))
        if names and number not in names:
            self._unlisted.add(code)
        return code

    def write(self, folder: Path) -> None:
        """Write everything but the masks, which are there already."""
        images = np.concatenate(self._image_tables)
        instances = np.concatenate(self._instance_tables)
        images["image_id"] = _join_ids([table["image_id"] for table in self._image_tables])
        ids = _join_ids([rows["annotation_id"] for rows in self._instance_tables])
        ids[ids == 0] = ids.max(initial=0) + 1 + np.arange((ids == 0).sum())
        instances["annotation_id"] = ids
        instances = instances[np.argsort(instances["image_row"], kind="stable")]
        counts = np.bincount(instances["image_row"], minlength=len(images))
        images["num_instances"] = counts
        images["first_instance"] = np.cumsum(counts) - counts
        np.save(folder / INSTANCES_FILE, instances)
        crowds = np.concatenate(self._crowd_tables)
        crowds = crowds[np.argsort(crowds["image_row"], kind="stable")]
        crowds["annotation_id"] = ids.max(initial=0) + 1 + np.arange(len(crowds))
        np.save(folder / CROWDS_FILE, crowds)
        self._count_unlisted(np.concatenate([instances["category"], crowds["category"]]))
        self._write_images(folder, images)
        meta = {
            "format_version": FORMAT_VERSION,
            "dataset": self.dataset,
            "num_images": len(images),
            "num_instances": len(instances),
            "categories": [list(pair) for pair in self._categories],
            "classes": list((self._listed | dict(self._categories.keys())).items()),
            "defects": self.defects.to_json(),
            "boxes": self.defects.agreement.to_json(),
        }
        (folder / META_FILE).write_text(json.dumps(meta, indent=1))

    def _count_repeated(self, paths: Sequence[str]) -> None:
        if len(set(paths)) == len(paths):
            return
        for path, count in Counter(paths).items():
            if count > 1:
                self.defects.add(Defect.REPEATED_IMAGE, Path(path).name, count - 1)

    def _count_unlisted(self, codes: np.ndarray) -> None:
        counts = np.bincount(codes, minlength=len(self._categories)).tolist()
        for (number, name), code in self._categories.items():
            if code in self._unlisted:
                self.defects.add(Defect.UNLISTED_CLASS, name or number, counts[code])

    def _drop_repeated_ids(self, rows: np.ndarray) -> None:
        ids = rows["annotation_id"]
        repeated = np.ones(len(ids), dtype=bool)
        repeated[np.unique(ids, return_index=True)[1]] = False
        for annotation_id in ids[repeated & (ids != 0)].tolist():
            self.defects.add(Defect.UNUSABLE_ID, annotation_id)
        ids[repeated] = 0

    def _write_images(self, folder: Path, images: np.ndarray) -> None:
        with (folder / PATHS_FILE).open("wb") as file:
            offset = 0
            for row, path in enumerate(self._paths):
                encoded = path.encode()
                file.write(encoded)
                images["path_offset"][row] = offset
                images["path_length"][row] = len(encoded)
                offset += len(encoded)
        np.save(folder / IMAGES_FILE, images)


def _image_table(images: Mapping[int, ImageEntry]) -> np.ndarray:
    table = np.zeros(len(images), dtype=IMAGE_ROW)
    table["image_id"] = list(images)
    table["coco_image_ids"] = NO_COCO_ID
    for row, entry in enumerate(images.values()):
        if entry.image_hw is not None:
            table["image_hw"][row] = entry.image_hw
        ids = entry.coco_image_ids[:MAX_COCO_IDS]
        table["coco_image_ids"][row, : len(ids)] = ids
    return table


def _join_ids(tables: list[np.ndarray]) -> np.ndarray:
    """Join the ids of several sources, shifting those of a source that clash with earlier ones.

    Id 0 stands for "not numbered yet" and stays.
    """
    joined = tables[0].copy()
    for ids in tables[1:]:
        if np.isin(ids[ids != 0], joined).any():
            ids = np.where(ids == 0, 0, ids + joined.max(initial=0))
        joined = np.concatenate([joined, ids])
    return joined
