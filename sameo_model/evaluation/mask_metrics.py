"""Mean IoU of a promptable model with true boxes as prompts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from sameo_model.data.index import IndexedDataset
from sameo_model.data.prompts import (
    PromptKind,
    instance_box_xyxy,
    jitter_boxes_xyxy,
    random_clicks_xy,
)
from sameo_model.data.types import AmodalImage, AmodalInstance
from sameo_model.evaluation.bootstrap import clustered_mean, draw_weights, interval, resample
from sameo_model.evaluation.instance_scores import InstanceScore, score_instance
from sameo_model.evaluation.predictions import predict_images
from sameo_model.runtime import Predictor
from sameo_model.runtime.types import FloatArray

BIN_EDGES = (0.0, 0.1, 0.3, 0.5, 0.8, 1.0)
SIZE_EDGES_PX = (0, 32, 70, 150)
BASELINES = ("visible", "box", "hull")


def evaluate_masks(
    predictor: Predictor,
    images: Sequence[AmodalImage],
    *,
    prompts: PromptKind = "visible",
    seed: int = 0,
    points: int = 0,
) -> dict[str, Any]:
    """Score a model on true boxes and average; the in-process form of `evaluate masks`.

    Args:
        images: Images with the true visible mask of each object, and the amodal one where the
            data set has it.
        points: Clicks beside each box, at random places of the visible part, at most 4.

    Returns:
        What `summarise` returns.

    Raises:
        ValueError: If no object can be scored, or an argument is out of range.
    """
    prompted = PromptedImages(images, prompts, seed=seed, points=points)
    return summarise([score for scores in score_masks(predictor, prompted) for score in scores])


@dataclass(frozen=True)
class PromptedImage:
    """An image, those of its objects that can be scored, and their prompts."""

    image: AmodalImage
    instances: Sequence[AmodalInstance]  # n objects that can be scored, with a box
    boxes_xyxy: FloatArray  # float32 (N, 4), x1, y1, x2, y2 in pixels
    # float32 (N, P, 2), clicks beside the boxes, pixels; None without
    points_xy: FloatArray | None = None

    @classmethod
    def build(
        cls, image: AmodalImage, prompts: PromptKind, box_noise: float, seed: int, points: int = 0
    ) -> PromptedImage:
        """Draw the prompts of an image; they depend on the seed and the image's id alone."""
        instances = scorable_instances(image, prompts)
        boxes_xyxy = np.zeros((0, 4), dtype=np.float32)
        if instances:
            boxes_xyxy = np.stack([instance_box_xyxy(item, prompts) for item in instances])
        if box_noise:
            generator = np.random.default_rng([seed, abs(image.image_id)])
            boxes_xyxy = jitter_boxes_xyxy(boxes_xyxy, box_noise, generator, image.image_hw)
        if not points:
            return cls(image, instances, boxes_xyxy)
        # The trailing 1 keeps the clicks apart from the noise, so that either can change alone.
        generator = np.random.default_rng([seed, abs(image.image_id), 1])
        clicks = [random_clicks_xy(item.visible_mask(), points, generator) for item in instances]
        points_xy = np.stack(clicks) if clicks else np.zeros((0, points, 2), dtype=np.float32)
        return cls(image, instances, boxes_xyxy, points_xy)


class PromptedImages:
    """Images with objects that can be scored, and their prompts; records are not kept.

    Attributes:
        images: The images; of a data set a view, which reads a record when it is asked for.
        boxes: float32 (N, 4) by image id, x1, y1, x2, y2 in pixels.
        points: float32 (N, P, 2) by image id, clicks, pixels; empty without.
    """

    def __init__(
        self,
        images: Sequence[AmodalImage],
        prompts: PromptKind,
        box_noise: float = 0.0,
        seed: int = 0,
        points: int = 0,
    ) -> None:
        self._how = (prompts, box_noise, seed, points)
        self.boxes: dict[int, FloatArray] = {}
        self.points: dict[int, FloatArray] = {}
        shown = []
        for number, image in enumerate(images):
            item = self.prompt(image)
            if item.instances:
                shown.append(number)
                self.boxes[image.image_id] = item.boxes_xyxy
                if item.points_xy is not None:
                    self.points[image.image_id] = item.points_xy
        self.images: Sequence[AmodalImage] = (
            images.take(shown)
            if isinstance(images, IndexedDataset)
            else [images[number] for number in shown]
        )

    def prompt(self, image: AmodalImage) -> PromptedImage:
        """Return an image with its prompts, the same each time."""
        return PromptedImage.build(image, *self._how)


def score_masks(
    predictor: Predictor, prompted: PromptedImages, **how: Any
) -> Iterator[list[InstanceScore]]:
    """Yield the scores of each image.

    Args:
        **how: Further arguments of `predict_images`.
    """
    images, boxes, points = prompted.images, prompted.boxes, prompted.points
    for image, objects in predict_images(predictor, images, boxes, points=points, **how):
        item = prompted.prompt(image)
        yield [
            score_instance(image, instance, predicted, box_xyxy)
            for instance, predicted, box_xyxy in zip(
                item.instances, objects, item.boxes_xyxy, strict=True
            )
        ]


def scorable_instances(image: AmodalImage, prompts: PromptKind) -> list[AmodalInstance]:
    """Return the objects with a true visible mask and a prompt box.

    Where the amodal mask is known it must not be empty; where it is not, the visible box prompts.
    """
    return [
        instance
        for instance in image.instances
        if instance.visible_rle is not None
        and (instance.amodal_rle is None or _has_area(instance.amodal_box_xywh))
        and _has_area(instance.box_xywh(prompts))
    ]


def _has_area(box_xywh: tuple[float, ...] | None) -> bool:
    return box_xywh is not None and box_xywh[2] > 0 and box_xywh[3] > 0


def summarise(scores: Sequence[InstanceScore]) -> dict[str, Any]:
    """Average over objects; every value is a fraction, None where nothing counts towards it.

    An object is occluded if its occlusion rate is above 0.05. `miou_hidden` averages over
    occluded objects only, in `bins` too; nothing is counted as 0 or 1 for the others. Where no
    amodal mask is annotated, all that needs one is None, and the bins are empty.

    Returns:
        The keys of `evaluate masks` without `settings` and `per_instance`.

    Raises:
        ValueError: If there is no score, or visible masks alone and none was predicted.
    """
    if not scores:
        raise ValueError(
            "no object with both a true amodal and a true visible mask was found; evaluate on a "
            "data set that annotates both, or, if its masks are visible parts alone (plain COCO "
            "instances), pass --dataset coco_instances --prompts visible"
        )
    if all(math.isnan(score.iou_full) and math.isnan(score.iou_visible) for score in scores):
        raise ValueError(
            "visible masks alone are annotated, so the model must predict visible masks, but it "
            "has no visible decoder; use one that has, or a data set with amodal masks"
        )
    known = [score for score in scores if not math.isnan(score.occlusion_rate)]
    unoccluded = [score for score in known if not score.is_occluded]
    occluded = [score for score in scores if score.is_occluded]
    summary: dict[str, Any] = {
        "num_instances": len(scores),
        "num_occluded": len(occluded) if known else None,
        "miou_full": _mean(scores, "iou_full"),
        "miou_full_occluded": _mean(occluded, "iou_full"),
        "miou_full_unoccluded": _mean(unoccluded, "iou_full"),
        "miou_hidden": _mean(occluded, "iou_hidden"),
        "miou_visible": _mean(scores, "iou_visible"),
        "miou_visible_unoccluded": _mean(unoccluded, "iou_visible"),
        "agreement_unoccluded": _mean(unoccluded, "agreement"),
        "boundary_f": _mean(scores, "boundary_f"),
        "boundary_f_visible": _mean(scores, "boundary_f_visible"),
        "iou_spearman": spearman(
            [score.predicted_iou for score in known], [score.iou_full for score in known]
        ),
    }
    for name in BASELINES:
        summary[f"baseline_{name}_miou_full"] = _mean(scores, f"baseline_{name}")
        summary[f"baseline_{name}_miou_full_occluded"] = _mean(occluded, f"baseline_{name}")
    summary["bins"] = _bins(known)
    summary["sizes"] = _sizes(scores)
    return summary


def intervals(
    scores: Sequence[InstanceScore], *, replicates: int, seed: int = 0
) -> dict[str, list[float] | None]:
    """Return 95 % bootstrap intervals of the main averages, resampling images.

    Returns:
        Lower and upper end by the keys of `summarise`; None where nothing counts.
    """
    numbers = {image: i for i, image in enumerate(sorted({score.image_id for score in scores}))}
    weights = draw_weights(len(numbers), replicates, seed)
    occluded = [score for score in scores if score.is_occluded]
    chosen = {
        "miou_full": ("iou_full", scores),
        "miou_full_occluded": ("iou_full", occluded),
        "miou_hidden": ("iou_hidden", occluded),
        "miou_visible": ("iou_visible", scores),
        "boundary_f": ("boundary_f", scores),
        "boundary_f_visible": ("boundary_f_visible", scores),
    }
    result: dict[str, list[float] | None] = {}
    for name, (column, rows) in chosen.items():
        values = np.array([getattr(score, column) for score in rows], dtype=float)
        clusters = np.array([numbers[score.image_id] for score in rows], dtype=int)
        low, high = interval(resample(clustered_mean(values, clusters), weights))
        result[name] = None if math.isnan(low) else [low, high]
    return result


def _bins(scores: Sequence[InstanceScore]) -> list[dict[str, Any]]:
    rows = []
    for number, (low, high) in enumerate(pairwise(BIN_EDGES)):
        chosen = [score for score in scores if bin_index(score.occlusion_rate) == number]
        rows.append(
            {
                "lo": low,
                "hi": high,
                "num": len(chosen),
                "miou_full": _mean(chosen, "iou_full"),
                "miou_hidden": _mean(chosen, "iou_hidden"),
            }
        )
    return rows


def _sizes(scores: Sequence[InstanceScore]) -> list[dict[str, Any]]:
    """Average over objects of like size: by the longer side of the visible mask's box, pixels."""
    rows = []
    for low, high in pairwise((*SIZE_EDGES_PX, math.inf)):
        chosen = [score for score in scores if low <= score.visible_side_px < high]
        rows.append(
            {
                "lo_px": low,
                "hi_px": None if math.isinf(high) else high,
                "num": len(chosen),
                "miou_full": _mean(chosen, "iou_full"),
                "miou_visible": _mean(chosen, "iou_visible"),
                "boundary_f": _mean(chosen, "boundary_f"),
                "boundary_f_visible": _mean(chosen, "boundary_f_visible"),
            }
        )
    return rows


def bin_index(occlusion_rate: float) -> int:
    """Return the number of the occlusion bin, 0 to 4; 1.0 belongs to the last one."""
    return min(int(np.searchsorted(BIN_EDGES, occlusion_rate, side="right")) - 1, 4)


def _mean(scores: Iterable[InstanceScore], name: str) -> float | None:
    values = np.array([getattr(score, name) for score in scores], dtype=float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return the rank correlation of two series; None where it does not exist."""
    if len(np.unique(first)) < 2 or len(np.unique(second)) < 2:
        return None
    value = float(spearmanr(first, second).statistic)
    return None if math.isnan(value) else value
