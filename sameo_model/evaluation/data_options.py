"""The options that name the true masks, the same for every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sameo_model.data.box_agreement import require_agreement
from sameo_model.data.index import IndexedDataset
from sameo_model.data.index_cache import open_index
from sameo_model.data.index_format import InstanceFlag
from sameo_model.data.outputs import Output, check_no_image, check_outputs
from sameo_model.data.parallel import default_workers
from sameo_model.data.readers import cocoa, cocoa_cls, d2sa, kins, muva
from sameo_model.data.readers.amodal_coco import amodal_coco_source
from sameo_model.data.readers.coco_instances import coco_instances_source
from sameo_model.data.readers.flat_coco import FlatCocoSource, FlatKeys
from sameo_model.data.source import Source
from sameo_model.evaluation.front_ends.aisformer_pairs import partner_of
from sameo_model.evaluation.predictions import RUN_FILE
from sameo_model.evaluation.result_files import REPORT_FILES, RESULT_FILE, files_beside


def _flat(name: str, keys: FlatKeys, **more: Any) -> Callable[[Path, Path], Source]:
    return lambda annotations, images: FlatCocoSource(name, "", annotations, images, keys, **more)


FORMATS: dict[str, Callable[[Path, Path], Source]] = {
    "amodal_coco": amodal_coco_source,
    "coco_instances": coco_instances_source,
    "cocoa": partial(cocoa.CocoaSource, "cocoa", ""),
    "cocoa_cls": _flat("cocoa_cls", cocoa_cls.KEYS, has_coco_ids=True),
    "d2sa": _flat("d2sa", d2sa.KEYS),
    "kins": _flat("kins", kins.KEYS),
    "muva": lambda annotations, images: muva.MuvaSource("muva", "", annotations, images, muva.KEYS),
}


@dataclass(frozen=True)
class TruthSet:
    """The images that are evaluated."""

    images: IndexedDataset  # those with true masks, after `--limit`
    all_images: IndexedDataset  # all images of the annotations, in their order
    categories: dict[int, str]  # names of the classes by number
    # what the reader repaired or left out, in sentences
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
        ValueError: If the annotations are damaged, an option is out of range, or an output would
            replace an input.
    """
    if not options.annotations.is_file():
        raise FileNotFoundError(f"annotations {options.annotations} do not exist")
    if not options.images.is_dir():
        raise FileNotFoundError(f"image folder {options.images} does not exist; check --images")
    for name in ("limit", "workers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    outputs = _outputs(options)
    check_outputs(outputs, _inputs(options))
    source = FORMATS[options.dataset](options.annotations, options.images)
    images = open_index([source], workers=options.workers, progress=True)
    check_no_image(outputs, images)
    require_agreement(options.dataset, images.box_agreement)
    notes = [
        f"annotations: {entry['count']} x {entry['sentence']} ({entry['action']}; first: "
        f"{entry['examples'][0]})"
        for entry in images.defects.values()
    ]
    is_amodal = options.dataset == "amodal_coco" and images.has_masks(InstanceFlag.HAS_AMODAL)
    if is_amodal and not images.has_masks(InstanceFlag.HAS_VISIBLE):
        notes.append(
            f"no annotation of {options.annotations} has a `visible_mask`, so `segmentation` is "
            f"taken for the whole object; if it is the visible part alone (plain COCO instances), "
            f"pass --dataset coco_instances"
        )
    return TruthSet(images.take(slice(options.limit)), images, images.classes, notes)


def _outputs(options: argparse.Namespace) -> list[Output]:
    """Return the files that a command writes."""
    outputs = [("--json", path) for path in (files_beside(options.json) if options.json else [])]
    if report := getattr(options, "report", None):
        # `--json` may name the result in the report's folder, which is the same.
        paths = [report / name for name in REPORT_FILES]
        same = options.json if options.json == report / RESULT_FILE else None
        outputs += [("--report", path) for path in paths if path != same]
    if options.predictions:
        outputs.append(("--predictions", options.predictions / RUN_FILE))
    return outputs


def _inputs(options: argparse.Namespace) -> list[Path]:
    """Return the files that a command reads, but for the images."""
    named = [options.annotations, Path(options.model or "")]
    if detections := getattr(options, "detections", None):
        named += [detections, partner_of(detections)]
    return [path for path in named if path.is_file()]


def has_amodal(truth: TruthSet) -> bool:
    """Return whether any instance has a whole shape."""
    return truth.images.has_masks(InstanceFlag.HAS_AMODAL)


def check_amodal(options: argparse.Namespace, truth: TruthSet) -> None:
    """Refuse annotations of visible masks alone where whole shapes are needed.

    Raises:
        ValueError: If no instance has an amodal mask.
    """
    if not has_amodal(truth) and truth.images.shown_instances().any():
        raise ValueError(
            f"{options.annotations} ({options.dataset}) must have amodal masks for this, but it "
            f"annotates the visible part of each object alone; use a set with whole shapes, or "
            f"`evaluate masks --prompts visible`, which scores visible masks"
        )
