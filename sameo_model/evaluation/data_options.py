"""The options that name the true masks, the same for every command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sameo_model.data.readers.amodal_coco import open_amodal_coco
from sameo_model.data.types import AmodalImage


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add `--annotations`, `--images`, `--dataset` and `--limit`."""
    parser.add_argument("--annotations", type=Path, required=True, metavar="A.json")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--dataset",
        default="amodal_coco",
        metavar="NAME",
        help="format of the annotations (default amodal_coco: COCOA-cls, D2SA, our own)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="take the first N images only")


def open_images(options: argparse.Namespace) -> Sequence[AmodalImage]:
    """Open what the options name.

    Raises:
        FileNotFoundError: If annotations or image folder do not exist.
        ValueError: If the annotations are damaged or the data set is unknown.
    """
    if not options.images.is_dir():
        raise FileNotFoundError(f"image folder {options.images} does not exist; check --images")
    images = open_amodal_coco(options.annotations, options.images)
    return images[: options.limit] if options.limit else images
