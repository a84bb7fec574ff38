"""Write a set of flat composites as amodal COCO: on all cores, in blocks that outlive a stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from sameo_model.data.amodal_coco_writer import write_amodal_coco
from sameo_model.data.types import AmodalImage
from sameo_model.runtime.files import write_whole
from sameo_model.synthesis.blocks import Block, merge_blocks, open_folder, run_blocks, split_blocks
from sameo_model.synthesis.composites import (
    CompositeOptions,
    composite_record,
    draw_cutout_composite,
)
from sameo_model.synthesis.contact_sheet import write_contact_sheet
from sameo_model.synthesis.cutouts import Cutouts, find_cutouts
from sameo_model.synthesis.outlines import OUTLINE, draw_outline_composite
from sameo_model.synthesis.photographs import Photographs, find_photographs

VERSION = 3  # of the generator: raise it when the same seed gives other files
BLOCK_IMAGES = 16


@dataclass(frozen=True)
class CompositeRecipe:
    """What the images of a set follow from, besides their numbers."""

    cutouts: Cutouts | None  # whole objects; None draws outlines
    photographs: Photographs | None  # what they lie on; None paints surfaces
    seed: int  # of all randomness
    options: CompositeOptions  # what composites look like

    def category_ids(self) -> dict[str, int]:
        """Return the number of every category, from 1, by name."""
        names = (OUTLINE,) if self.cutouts is None else self.cutouts.categories
        return {name: number for number, name in enumerate(sorted(set(names)), start=1)}


def make_composites(
    output: Path,
    num_images: int,
    *,
    photographs_dir: Path | None = None,
    cutouts_dir: Path | None = None,
    seed: int = 0,
    workers: int = 1,
    options: CompositeOptions | None = None,
) -> tuple[int, int, Path]:
    """Draw composites into `output`/images and their truth into `output`/annotations.json.

    Image i depends on the photographs, the cut-outs, the seed and i alone, so the number of workers
    changes nothing. An interrupted run continues where it stopped; a larger `num_images` extends
    the set. The annotation file appears when all images are done.

    Args:
        cutouts_dir: Folder of whole objects with alpha; None draws outlines of photographs.

    Returns:
        Numbers of images and annotations, and the path of the contact sheet.

    Raises:
        FileNotFoundError: If a folder does not exist.
        ValueError: If a folder holds nothing that can be read, both are missing, or the output was
            begun with other settings.
    """
    source = _open_source(photographs_dir, cutouts_dir, seed, options or CompositeOptions())
    open_folder(output, _settings(source))
    for folder in ("images", "records"):
        (output / folder).mkdir(exist_ok=True)
    # With its length: the last block of a set that is extended later is another one.
    blocks = [
        Block(output / "records" / f"{numbers.start:06d}-{len(numbers):02d}.json", numbers)
        for numbers in split_blocks(num_images, BLOCK_IMAGES)
    ]
    make = partial(_make_block, source, output)
    run_blocks(make, blocks, workers=workers, title="composites", unit="images")
    return *merge_blocks(output, blocks), write_contact_sheet(
        output, [block.record_path for block in blocks]
    )


def _open_source(
    photographs_dir: Path | None, cutouts_dir: Path | None, seed: int, options: CompositeOptions
) -> CompositeRecipe:
    if photographs_dir is None and cutouts_dir is None:
        raise ValueError(
            "composites are made of --photographs DIR, --cutouts DIR or both, got neither"
        )
    return CompositeRecipe(
        None if cutouts_dir is None else find_cutouts(cutouts_dir),
        None if photographs_dir is None else find_photographs(photographs_dir),
        seed,
        options,
    )


def _settings(source: CompositeRecipe) -> Mapping[str, object]:
    return {
        "version": VERSION,
        "seed": source.seed,
        "photographs": source.photographs and source.photographs.digest,
        "cutouts": source.cutouts and source.cutouts.digest,
        **asdict(source.options),
    }


def _make_block(source: CompositeRecipe, output: Path, block: Block) -> None:
    cv2.setNumThreads(1)
    category_ids = source.category_ids()
    records = [_make_image(source, output, k, category_ids) for k in block.numbers]
    write_amodal_coco(block.record_path, records, output / "images")


def _make_image(
    source: CompositeRecipe, output: Path, number: int, category_ids: Mapping[str, int]
) -> AmodalImage:
    generator = np.random.default_rng([source.seed, number])
    if source.cutouts is not None:
        composite = draw_cutout_composite(
            source.cutouts, source.photographs, generator, source.options
        )
    else:
        assert source.photographs is not None
        composite = draw_outline_composite(source.photographs, generator, source.options)
    path = output / "images" / f"{number:06d}.jpg"
    quality = [cv2.IMWRITE_JPEG_QUALITY, composite.jpeg_quality]
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(composite.image[..., ::-1]), quality)[1]
    write_whole(path, encoded.tobytes())
    return composite_record(number + 1, path, composite, category_ids)
