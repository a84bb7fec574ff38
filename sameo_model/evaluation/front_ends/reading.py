"""From a front end's file to detections of the images that are evaluated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.rle import encode_mask
from sameo_model.data.segmentation import parse_segmentation
from sameo_model.data.types import AmodalImage, DatasetFormatError, Rle
from sameo_model.evaluation.detections import BoxXyxy, Detection
from sameo_model.evaluation.front_ends.aisformer_pairs import add_visible_masks
from sameo_model.evaluation.front_ends.checks import check_boxes, check_scores
from sameo_model.evaluation.front_ends.coco_results import read_coco_results, read_detectron2
from sameo_model.evaluation.front_ends.doubts import note_repeats
from sameo_model.evaluation.front_ends.finders import ClassFinder, ImageFinder
from sameo_model.evaluation.front_ends.mmdetection_results import read_mmdetection
from sameo_model.evaluation.front_ends.raw import BoxFormat, RawDetection, RawFile
from sameo_model.runtime.scores import scores_to_fractions
from sameo_model.runtime.types import ImageHW

FORMATS = ("auto", "coco", "detectron2", "mmdetection")
_BY_SUFFIX = {
    ".json": "coco",
    ".pth": "detectron2",
    ".pt": "detectron2",
    ".pkl": "mmdetection",
    ".pickle": "mmdetection",
}


@dataclass(frozen=True)
class ReadOptions:
    """How a front end's file is to be read."""

    format: str = "auto"  # one of `FORMATS`; `auto` goes by the suffix of the file's name
    box_format: BoxFormat = "xywh"  # what the numbers of a box in JSON are
    mask_key: str = "segmentation"  # key of the mask that is scored in COCO's form
    class_specific: bool = False  # whether classes must be understood
    # the detector's classes in its order, for files that number classes by position; empty for the
    # annotations' classes by rising number
    class_names: Sequence[str] = ()
    # classes that annotations use, which one detection must have where classes count; empty for all
    used_classes: Collection[int] = ()
    for_prompting: bool = True  # whether a model is to be prompted with the boxes
    images_dir: Path | None = None  # folder that the images' own names are relative to


@dataclass(frozen=True)
class DetectionSet:
    """The detections of the evaluated images."""

    format: str  # format that the file turned out to have
    detections: list[Detection]  # those of known images, in the order of the file
    notes: list[str] = field(default_factory=list)  # what was left out, in sentences

    @property
    def has_masks(self) -> bool:
        """Whether detections brought masks of their own; no detections are a result too."""
        return not self.detections or any(d.mask_rle is not None for d in self.detections)


def read_detections(
    path: Path,
    images: Sequence[AmodalImage],
    categories: Mapping[int, str],
    options: ReadOptions | None = None,
) -> DetectionSet:
    """Read the detections of a front end.

    Raises:
        FileNotFoundError: If there is no such file.
        DatasetFormatError: If the file is damaged, is unsafe to read, belongs to another data
            set, or holds scores, boxes, masks or classes that cannot be right.
    """
    options = options or ReadOptions()
    if not path.is_file():
        raise FileNotFoundError(f"detections {path} do not exist; check --detections")
    raw = read_raw(path, options)
    check_scores(raw.detections)
    raw, notes = _normalise_scores(raw)
    raw, pair_notes = add_visible_masks(path, raw, options.mask_key)
    finder = ImageFinder(images, raw, path, options.images_dir)
    pairs = [(row, image) for row in raw.detections if (image := finder.find(row))]
    notes += [*pair_notes, *finder.notes()]
    if num_lost := len(raw.detections) - len(pairs):
        notes.append(f"{num_lost} detections of images without annotations were left out")
    _check_all_boxes(pairs, raw.box_format, path)
    classes = ClassFinder(
        categories, raw, path, names=options.class_names, is_strict=options.class_specific
    )
    defects = DefectLog()
    detections = [
        _to_detection(row, image, raw.box_format, classes, path, defects) for row, image in pairs
    ]
    if num_unusable := defects.counts[Defect.EMPTY_SEGMENTATION.name]:
        notes.append(
            f"{num_unusable} masks have no usable part, as a polygon of fewer than 3 points, and "
            f"count as empty"
        )
    if options.class_specific and options.used_classes:
        notes += _check_classes(detections, options.used_classes, path)
    notes += note_repeats(detections)
    num_bare = sum(detection.mask_rle is None for detection in detections)
    if 0 < num_bare < len(detections):
        notes.append(
            f"{num_bare} of {len(detections)} detections have no mask: the front end's own row "
            f"leaves them out"
        )
    return DetectionSet(raw.format, detections, [*notes, *classes.notes()])


def _check_classes(
    detections: Sequence[Detection], used_classes: Collection[int], path: Path
) -> list[str]:
    unused = [d.category_id for d in detections if d.category_id not in used_classes]
    if unused and len(unused) == len(detections):
        raise DatasetFormatError(
            f"classes of {path} must be among those that annotations use "
            f"({_numbers(used_classes)}), got {_numbers(unused)}; map the classes, or evaluate "
            f"without --class-specific"
        )
    if not unused:
        return []
    return [
        f"{len(unused)} detections do not count: no annotation uses their classes "
        f"({_numbers(unused)})"
    ]


def _numbers(classes: Collection[int]) -> str:
    first, more = sorted(set(classes))[:5], len(set(classes)) > 5
    return ", ".join(map(str, first)) + (", ..." if more else "")


def _normalise_scores(raw: RawFile) -> tuple[RawFile, list[str]]:
    """Turn percentages into fractions; other scores outside [0, 1] can only rank."""
    scores = [row.score for row in raw.detections]
    fractions, is_percent = scores_to_fractions(scores)
    if is_percent:
        rows = [
            replace(row, score=score)
            for row, score in zip(raw.detections, fractions.tolist(), strict=True)
        ]
        note = f"scores up to {max(scores):g} count as percentages and are divided by 100"
        return replace(raw, detections=rows), [note]
    if np.isnan(fractions).any():
        return raw, [
            f"scores from {min(scores):g} to {max(scores):g} are no probabilities: they rank the "
            f"detections, and --score-threshold and --uoais-threshold take them as they are"
        ]
    return raw, []


def read_raw(path: Path, options: ReadOptions) -> RawFile:
    """Read a front end's file without understanding its images and classes.

    Raises:
        DatasetFormatError: If the file is damaged, is unsafe to read, or has another form.
        ValueError: If nothing tells the format.
    """
    name = options.format
    if name == "auto":
        name = _BY_SUFFIX.get(path.suffix.lower(), "")
    if name == "coco":
        return read_coco_results(
            path,
            box_format=options.box_format,
            mask_key=options.mask_key,
            for_prompting=options.for_prompting,
        )
    if name == "detectron2":
        return read_detectron2(path, mask_key=options.mask_key)
    if name == "mmdetection":
        return read_mmdetection(path)
    raise ValueError(
        f"format of {path} must be one of {', '.join(FORMATS[1:])}, and its suffix tells none; "
        f"give --format"
    )


def _check_all_boxes(
    pairs: Sequence[tuple[RawDetection, AmodalImage]], box_format: BoxFormat, path: Path
) -> None:
    boxed = [(row.box, image.image_hw) for row, image in pairs if row.box is not None]
    for box, _ in boxed:
        is_list = isinstance(box, list | tuple) and len(box) == 4
        if not is_list or not all(isinstance(value, int | float) for value in box):
            raise DatasetFormatError(f"boxes of {path} must be four numbers each, got {box!r}")
    boxes = np.array([box for box, _ in boxed], dtype=float).reshape(-1, 4)
    check_boxes(boxes, [image_hw for _, image_hw in boxed], box_format, str(path))


def _to_detection(
    row: RawDetection,
    image: AmodalImage,
    box_format: BoxFormat,
    classes: ClassFinder,
    path: Path,
    defects: DefectLog,
) -> Detection:
    mask = _to_rle(row.mask, image, path, defects)
    return Detection(
        image.image_id,
        classes.find(row),
        float(row.score),
        to_xyxy(row.box, box_format, mask),
        mask,
        _to_rle(row.visible, image, path, defects),
        row.visible_share,
    )


def to_xyxy(box: Sequence[float] | None, box_format: BoxFormat, mask: Any) -> BoxXyxy:
    """Return a box as x1, y1, x2, y2; the tight box of an RLE mask where there is none."""
    if box is None:
        box, box_format = coco_mask.toBbox(mask).tolist(), "xywh"
    first, second, third, fourth = (float(value) for value in box)
    if box_format == "xyxy":
        return first, second, third, fourth
    return first, second, first + third, second + fourth


def _to_rle(segmentation: Any, image: AmodalImage, path: Path, defects: DefectLog) -> Rle | None:
    if segmentation is None:
        return None
    if isinstance(segmentation, Mapping) and not _has_size(segmentation, image.image_hw):
        raise DatasetFormatError(
            f"masks of image {image.image_id} in {path} must have its size {image.image_hw} "
            f"(H, W), got {segmentation.get('size')}; write masks in pixels of the original image"
        )
    rle = parse_segmentation(segmentation, image.image_hw, defects, image.image_id)
    if defects.counts[Defect.BAD_RUN_LENGTHS.name]:
        raise DatasetFormatError(
            f"a mask of image {image.image_id} in {path} has run lengths that do not fill the "
            f"image; write it again"
        )
    if rle is None:
        defects.add(Defect.EMPTY_SEGMENTATION, image.image_id)
    return rle or encode_mask(np.zeros(image.image_hw, dtype=np.uint8))


def _has_size(rle: Mapping[str, Any], image_hw: ImageHW) -> bool:
    size = rle.get("size")
    return isinstance(size, list | tuple) and tuple(size) == tuple(image_hw)
