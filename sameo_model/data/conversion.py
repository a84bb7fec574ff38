"""Convert a data set to amodal COCO, on all cores and in constant memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sameo_model.data.amodal_coco_writer import (
    NO_CATEGORY,
    AmodalCocoWriter,
    annotation_texts,
    image_text,
)
from sameo_model.data.index import IndexedDataset
from sameo_model.data.parallel import ordered_map

CHUNK_IMAGES = 256
# Fewer are written sooner than other processes have started.
MIN_INSTANCES_PER_WORKER = 5000


def convert_dataset(
    dataset: IndexedDataset,
    path: Path | str,
    images_dir: Path | str | None = None,
    *,
    workers: int = 1,
    progress: bool = False,
) -> tuple[int, int]:
    """Write a data set or view as one amodal COCO file, the same for any number of workers.

    Args:
        path: The annotation file; it is complete or absent, never half written.
        images_dir: Folder that `file_name` is relative to; default: `images/` beside `path`.
        workers: Most processes to work in; small sets take fewer.

    Returns:
        The number of images and of instances written.

    Raises:
        ValueError: If an instance has no amodal mask, or a category number is used for two names.
    """
    num_instances = int(dataset.shown_instances().sum())
    workers = min(workers, num_instances // MIN_INSTANCES_PER_WORKER)
    chunks = (
        range(start, min(start + CHUNK_IMAGES, len(dataset)))
        for start in range(0, len(dataset), CHUNK_IMAGES)
    )
    with (
        AmodalCocoWriter(path, images_dir) as writer,
        tqdm(desc="writing", total=len(dataset), unit=" images", disable=not progress) as bar,
    ):
        category_ids = _number_categories(dataset, writer)
        encode = partial(_encode, dataset, writer.images_dir, category_ids)
        for images, annotations in ordered_map(encode, chunks, workers):
            writer.append(images, annotations)
            bar.update(len(images))
    return writer.num_images, num_instances


def _number_categories(dataset: IndexedDataset, writer: AmodalCocoWriter) -> dict[str, int]:
    """Number the categories in the order in which instances show them, then the other classes."""
    shown = dataset.instance_table["category"][dataset.shown_instances()]
    shown = np.concatenate([shown, dataset.crowd_table["category"]])
    codes, first = np.unique(shown, return_index=True)
    pairs = [dataset.categories[code] for code in codes[np.argsort(first)].tolist()]
    numbers = dict(pairs)
    pairs += [pair for pair in dataset.classes.items() if pair[0] not in numbers]
    numbered = {}
    # Those without a number of their own take numbers that no class has.
    for wanted_id, category in sorted(pairs, key=lambda pair: pair[0] == 0):
        name = category or NO_CATEGORY
        numbered[name] = writer.category_id(name, wanted_id)
    return numbered


def _encode(
    dataset: IndexedDataset, images_dir: Path, category_ids: Mapping[str, int], indices: range
) -> tuple[Sequence[str], Sequence[str]]:
    images, annotations = [], []
    for index in indices:
        image = dataset[index]
        images.append(image_text(image, images_dir))
        annotations += annotation_texts(
            image, lambda one: category_ids[one.category or NO_CATEGORY]
        )
    return images, annotations
