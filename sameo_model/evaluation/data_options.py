"""The options that name the true masks, the same for every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sameo_model.data.box_agreement import require_agreement
from sameo_model.data.index_cache import open_index
from sameo_model.data.index_format import InstanceFlag
from sameo_model.data.parallel import default_workers
from sameo_model.data.readers import cocoa, cocoa_cls, d2sa, kins, muva
from sameo_model.data.readers.amodal_coco import amodal_coco_source
from sameo_model.data.readers.coco_instances import coco_instances_source
from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.source import Source
from sameo_model.data.types import AmodalImage


def _cocoa(annotations: Path, images_dir: Path) -> Source:
    return cocoa.CocoaSource("cocoa", "", annotations, images_dir)


def _cocoa_cls(annotations: Path, images_dir: Path) -> Source:
    return FlatCocoSource(
        "cocoa_cls", "", annotations, images_dir, cocoa_cls.KEYS, has_coco_ids=True
    )


def _d2sa(annotations: Path, images_dir: Path) -> Source:
    return FlatCocoSource("d2sa", "", annotations, images_dir, d2sa.KEYS)


def _kins(annotations: Path, images_dir: Path) -> Source:
    return FlatCocoSource("kins", "", annotations, images_dir, kins.KEYS)


def _muva(annotations: Path, images_dir: Path) -> Source:
    keys = FlatKeys(amodal=muva.AMODAL_KEYS, visible=muva.VISIBLE_KEYS)
    return muva.MuvaSource("muva", "", annotations, images_dir, keys)


FORMATS: dict[str, Callable[[Path, Path], Source]] = {
    "amodal_coco": amodal_coco_source,
    "coco_instances": coco_instances_source,
    "cocoa": _cocoa,
    "cocoa_cls": _cocoa_cls,
    "d2sa": _d2sa,
    "kins": _kins,
    "muva": _muva,
}


@dataclass(frozen=True)
class TruthSet:
    """The images that are evaluated.

    Attributes:
        images: Those with true masks, after `--limit`.
        all_images: All images of the annotations, in their order.
        categories: Names of the classes by number.
        notes: What the reader repaired or left out, in sentences.
    """

    images: Sequence[AmodalImage]
    all_images: Sequence[AmodalImage]
    categories: dict[int, str]
    notes: list[str] = field(default_factory=list)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add `--annotations`, `--images`, `--dataset`, `--limit` and `--workers`."""
    add = parser.add_argument
    add("--annotations", type=Path, required=True, metavar="A.json", help="true masks")
    add("--images", type=Path, required=True, metavar="DIR", help="folder of the images")
    add(
        "--dataset",
        choices=tuple(FORMATS),
        default="amodal_coco",
        metavar="NAME",
        help=f"format of the annotations: {', '.join(FORMATS)} (default amodal_coco, our own)",
    )
    add("--limit", type=int, metavar="N", help="evaluate the first N images only")
    add(
        "--workers",
        type=int,
        default=default_workers(),
        metavar="N",
        help="processes that read and match (default: one for each core)",
    )


def open_truth(options: argparse.Namespace) -> TruthSet:
    """Open what the options name.

    Raises:
        FileNotFoundError: If annotations or image folder do not exist.
        ValueError: If the annotations are damaged or an option is out of range.
    """
    if not options.annotations.is_file():
        raise FileNotFoundError(f"annotations {options.annotations} do not exist")
    if not options.images.is_dir():
        raise FileNotFoundError(f"image folder {options.images} does not exist; check --images")
    for name in ("limit", "workers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    source = FORMATS[options.dataset](options.annotations, options.images)
    images = open_index([source], workers=options.workers, progress=True)
    require_agreement(options.dataset, images.box_agreement)
    notes = [
        f"annotations: {entry['count']} x {entry['sentence']} ({entry['action']})"
        for entry in images.defects.values()
    ]
    if options.dataset == "amodal_coco" and not images.has_masks(InstanceFlag.HAS_VISIBLE):
        notes.append(
            f"no annotation of {options.annotations} has a `visible_mask`, so `segmentation` is "
            f"taken for the whole object; if it is the visible part alone (plain COCO instances), "
            f"pass --dataset coco_instances"
        )
    return TruthSet(
        images[: options.limit] if options.limit else images,
        images,
        dict(images.categories),
        notes,
    )


def has_amodal(truth: TruthSet) -> bool:
    """Return whether any instance has a whole shape."""
    return any(item.amodal_rle is not None for image in truth.images for item in image.instances)


def check_amodal(options: argparse.Namespace, truth: TruthSet) -> None:
    """Refuse annotations of visible masks alone where whole shapes are needed.

    Raises:
        ValueError: If no instance has an amodal mask.
    """
    if not has_amodal(truth) and any(image.instances for image in truth.images):
        raise ValueError(
            f"{options.annotations} ({options.dataset}) must have amodal masks for this, but it "
            f"annotates the visible part of each object alone; use a set with whole shapes, or "
            f"`evaluate masks --prompts visible`, which scores visible masks"
        )
