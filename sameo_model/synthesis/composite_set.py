"""Write a set of flat composites as amodal COCO, on several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from sameo_model.data.amodal_coco_writer import AmodalCocoWriter
from sameo_model.data.types import AmodalImage
from sameo_model.synthesis.composites import (
    CompositeOptions,
    Image,
    composite_record,
    draw_composite,
    load_photographs,
)

JPEG_QUALITY = 93

_photographs: list[Image] = []  # of a worker process, read once


def generate_composites(
    output: Path,
    photographs_dir: Path,
    num_images: int,
    *,
    seed: int = 0,
    workers: int = 1,
    options: CompositeOptions | None = None,
) -> Iterator[AmodalImage]:
    """Draw composites into `output`/images and their truth into `output`/annotations.json.

    Image i depends on the photographs, the seed and i alone, so the number of workers changes
    nothing. The annotation file appears when all images are done.

    Args:
        output: folder of the set.
        photographs_dir: folder of photographs, searched with its subfolders.
        num_images: how many composites.
        seed: what all randomness follows from.
        workers: processes.
        options: what the composites look like.

    Yields:
        The record of each image once it is written, in order.

    Raises:
        FileNotFoundError: If there is no folder of photographs.
        ValueError: If it holds no readable photograph, or `num_images` is not positive.
    """
    if num_images < 1:
        raise ValueError(f"the number of images must be at least 1, got {num_images}")
    if not photographs_dir.is_dir():
        raise FileNotFoundError(f"{photographs_dir} must be a folder of photographs, but is not")
    load_photographs(photographs_dir)  # says at once what is wrong
    (output / "images").mkdir(parents=True, exist_ok=True)
    draw = partial(_draw, output=output, seed=seed, options=options or CompositeOptions())
    context = multiprocessing.get_context("spawn")
    with (
        AmodalCocoWriter(output / "annotations.json") as writer,
        context.Pool(workers, _start_worker, (photographs_dir,)) as pool,
    ):
        for record in pool.imap(draw, range(num_images), chunksize=4):
            writer.write(record)
            yield record


def _start_worker(photographs_dir: Path) -> None:
    cv2.setNumThreads(1)
    _photographs.extend(load_photographs(photographs_dir))


def _draw(index: int, *, output: Path, seed: int, options: CompositeOptions) -> AmodalImage:
    generator = np.random.default_rng([seed, index])
    image, amodal, visible = draw_composite(_photographs, generator, options)
    path = output / "images" / f"{index:06d}.jpg"
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), quality)[1]
    path.write_bytes(encoded.tobytes())
    return composite_record(index + 1, path, amodal, visible)
