"""Find complete objects in modal data sets (paper section 3.3, complete object collection).

An object is complete if the amodal mask that a trained model predicts for it agrees with its true
visible mask. Scores are kept in files, one per block of images, so that an interrupted run
continues, several machines can share the work, and thresholds may change without a new prediction.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from sameo_model.data.index import IndexedDataset
from sameo_model.data.prompts import instance_box_xyxy
from sameo_model.data.types import AmodalImage
from sameo_model.runtime import Predictor, load_predictor
from sameo_model.runtime.types import MaskCrop
from sameo_model.synthesis.blocks import Block, run_blocks, shard_range, split_blocks
from sameo_model.synthesis.placement import touches_border

NO_MODEL = "none"
NO_MODEL_CONTACT_SHARE = 0.05
"""Largest share of a complete object's outline that others touch where no model judges."""
BLOCK_IMAGES = 64

_SCORES = [
    ("image_index", "<i4"),
    ("instance_index", "<i4"),
    ("area", "<i4"),
    ("iou", "<f4"),
    ("contact_share", "<f4"),
    ("touches_border", "?"),
]
SCORE_ROW = np.dtype(_SCORES)
POOL_ROW = np.dtype([("source", "<i4"), *_SCORES])


@dataclass(frozen=True)
class CompletenessRule:
    """When an object counts as complete."""

    min_iou: float = 0.9  # least IoU of predicted amodal and true visible mask
    min_area: int = 1024  # least visible area in pixels; smaller objects are not predicted either
    max_image_share: float = 0.5  # largest visible area as a share of the image
    # take objects that touch the image's border, which usually cuts them
    allow_border: bool = False
    # largest share of the outline that other annotated objects touch, which may be what covers it;
    # 1 takes all. See `default_rule`.
    max_contact_share: float = 1.0

    def __post_init__(self) -> None:
        for name in ("min_iou", "max_image_share", "max_contact_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.min_area < 1:
            raise ValueError(f"min_area must be at least 1 pixel, got {self.min_area}")

    def select(self, rows: np.ndarray) -> np.ndarray:
        """Return bool (R,), which rows of scores belong to complete objects."""
        complete = rows["iou"] >= self.min_iou
        complete &= rows["contact_share"] <= self.max_contact_share
        return complete & (self.allow_border | ~rows["touches_border"])


def default_rule(model: str) -> CompletenessRule:
    """Return the rule for a model's name; without one, neighbours and border decide alone."""
    if model == NO_MODEL:
        return CompletenessRule(max_contact_share=NO_MODEL_CONTACT_SHARE)
    return CompletenessRule()


def score_objects(
    datasets: Sequence[IndexedDataset],
    folder: Path,
    *,
    rule: CompletenessRule,
    model: str,
    backend: str,
    workers: int,
    shard: tuple[int, int],
) -> None:
    """Score the objects of a shard's images that have no scores yet.

    Args:
        model: Name or folder of a trained bundle; "none" gives every object the IoU 1, so that the
            other tests decide alone.
        workers: Number of processes, each with its own copy of the model on one thread.
        shard: (i, n), which part of the blocks to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    blocks = []
    for source, dataset in enumerate(datasets):
        ranges = list(split_blocks(len(dataset), BLOCK_IMAGES))
        blocks += [
            Block(score_path(folder, source, number), ranges[number], source)
            for number in shard_range(len(ranges), shard)
        ]
    score = partial(_score_block, datasets, rule, model, backend)
    run_blocks(score, blocks, workers=workers, title="complete objects", unit="images")


def load_pool(
    datasets: Sequence[IndexedDataset], folder: Path, rule: CompletenessRule, seed: int
) -> np.ndarray:
    """Collect the complete objects of all blocks.

    Returns:
        POOL_ROW (P,), in an order that the seed chooses.

    Raises:
        FileNotFoundError: If blocks are not scored yet.
        ValueError: If fewer than two photographs show complete objects.
    """
    pools = [np.zeros(0, dtype=POOL_ROW)]
    for number, dataset in enumerate(datasets):
        num_blocks = -(-len(dataset) // BLOCK_IMAGES)
        paths = [score_path(folder, number, block) for block in range(num_blocks)]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"all {num_blocks} blocks of {dataset.name} must be scored before composing, but "
                f"{len(missing)} are not; run `--stage complete` for every shard first"
            )
        rows = np.concatenate([np.load(path) for path in paths])
        rows = rows[rule.select(rows)]
        pool = np.zeros(len(rows), dtype=POOL_ROW)
        pool["source"] = number
        for name, _ in _SCORES:
            pool[name] = rows[name]
        pools.append(pool)
    pool = np.concatenate(pools)
    num_photographs = len(np.unique(pool[["source", "image_index"]]))
    if num_photographs < 2:
        raise ValueError(
            f"complete objects must come from at least 2 photographs, got {len(pool)} objects of "
            f"{num_photographs}; lower min_iou or allow objects at the border"
        )
    return np.random.default_rng([seed, 0, 0]).permutation(pool)


def score_path(folder: Path, source: int, block: int) -> Path:
    """Return the score file of a block."""
    return folder / f"{source}-{block:06d}.npy"


def _score_block(
    datasets: Sequence[IndexedDataset],
    rule: CompletenessRule,
    model: str,
    backend: str,
    block: Block,
) -> None:
    cv2.setNumThreads(1)
    predictor = None if model == NO_MODEL else _predictor(model, backend)
    images = datasets[block.source]
    rows = [row for k in block.numbers for row in _score_image(rule, predictor, images[k], k)]
    path = block.record_path
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npy")
    np.save(temporary, np.array(rows, dtype=SCORE_ROW))
    temporary.replace(path)


def _score_image(
    rule: CompletenessRule, predictor: Predictor | None, image: AmodalImage, index: int
) -> list[tuple[int, int, int, float, float, bool]]:
    masks = [instance.visible_mask() for instance in image.instances]
    areas = [int(np.count_nonzero(mask)) for mask in masks]
    largest = rule.max_image_share * image.image_hw[0] * image.image_hw[1]
    candidates = [i for i, area in enumerate(areas) if rule.min_area <= area <= largest]
    if not candidates or not image.path.is_file():
        return []
    if predictor is None:
        ious = [1.0] * len(candidates)
    else:
        try:
            photograph = image.load_rgb()
        except ValueError:
            # Damaged: its objects cannot be judged, and so they are not used.
            return []
        boxes = np.stack([instance_box_xyxy(image.instances[i], "visible") for i in candidates])
        ious = _predicted_ious(predictor, photograph, boxes, [masks[i] for i in candidates])
    return [
        (
            index,
            number,
            areas[number],
            iou,
            _contact_share(number, masks),
            touches_border(masks[number]),
        )
        for number, iou in zip(candidates, ious, strict=True)
    ]


def _predicted_ious(
    predictor: Predictor, photograph: np.ndarray, boxes_xyxy: np.ndarray, masks: list[np.ndarray]
) -> list[float]:
    """Return the IoU of each predicted amodal mask with the true visible mask."""
    prediction = predictor.decode(predictor.encode(photograph), boxes_xyxy, visible=False)
    return [
        crop.iou(MaskCrop.from_mask(mask))
        for crop, mask in zip(prediction.amodal_masks, masks, strict=True)
    ]


@lru_cache(maxsize=1)
def _predictor(model: str, backend: str) -> Predictor:
    return load_predictor(model, backend, threads=1)


def _contact_share(number: int, masks: list[np.ndarray]) -> float:
    """Return which share of the pixels around an object belongs to other objects."""
    others = np.zeros(masks[number].shape, dtype=bool)
    for other, mask in enumerate(masks):
        if other != number:
            others |= mask
    grown = cv2.dilate(masks[number].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    around = grown & ~masks[number]
    return float((others & around).sum() / max(int(around.sum()), 1))
