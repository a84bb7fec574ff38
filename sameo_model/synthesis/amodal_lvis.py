"""Amodal-LVIS at scale (paper section 3.3): pairs of an occluded image and its untouched twin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from sameo_model.data.amodal_coco_writer import write_amodal_coco
from sameo_model.data.defects import MAX_EXAMPLES
from sameo_model.data.index import IndexedDataset
from sameo_model.data.rle import encode_instance
from sameo_model.data.types import AmodalImage, AmodalInstance
from sameo_model.runtime.bundle import sha256_of
from sameo_model.runtime.files import write_json
from sameo_model.synthesis.blocks import (
    Block,
    describe_set,
    merge_blocks,
    run_blocks,
    shard_range,
    split_blocks,
)
from sameo_model.synthesis.complete_objects import CompletenessRule
from sameo_model.synthesis.compositing import (
    CompositeRule,
    OccludedImage,
    compose,
    cut_out,
    draw_size_ratio,
    wanted_scale,
)

# Raise when the same seed gives other images.
VERSION = 1
BLOCK_PAIRS = 32
# Draws of an occluder whose size suits; with none, the last one is taken.
MAX_DRAWS = 30
NAME = "amodal_lvis"


@dataclass(frozen=True)
class AmodalLvisSettings:
    """Everything that the images follow from."""

    seed: int  # chooses pairs, rates and directions
    num_pairs: int  # pairs over all shards
    complete: CompletenessRule = field(default_factory=CompletenessRule)
    composite: CompositeRule = field(default_factory=CompositeRule)
    # "target" as in the paper, or "occluder", which annotates both objects
    annotate: Literal["target", "occluder"] = "target"
    image_format: Literal["jpg", "png"] = "jpg"  # "jpg" or "png"
    jpeg_quality: int = 92  # 0 to 100

    def __post_init__(self) -> None:
        if not 0 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality must be from 0 to 100, got {self.jpeg_quality}")


@dataclass(frozen=True)
class Shard:
    """What the pairs of a shard are made of."""

    datasets: Sequence[IndexedDataset]
    pool_path: Path  # POOL_ROW (P,), the complete objects
    category_ids: Mapping[str, int]  # number of every class name
    settings: AmodalLvisSettings
    folder: Path


def compose_shard(
    datasets: Sequence[IndexedDataset],
    pool_path: Path,
    output: Path,
    settings: AmodalLvisSettings,
    *,
    shard: tuple[int, int],
    workers: int,
    manifest: Mapping[str, Any],
) -> dict[str, Any]:
    """Make one shard, whole or what is missing of it, with its annotations; return its report.

    Args:
        pool_path: Complete objects, POOL_ROW (P,).
        shard: (i, n), which part of the pairs to make.
    """
    folder = output / f"shard-{shard[0]:05d}-of-{shard[1]:05d}"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "records").mkdir(exist_ok=True)
    names = sorted({name for dataset in datasets for name in dataset.category_names()})
    category_ids = {name or "object": number for number, name in enumerate(names, start=1)}
    pairs = shard_range(settings.num_pairs, shard)
    blocks = [
        Block(
            folder / "records" / f"{number:06d}.json",
            range(pairs.start + block.start, pairs.start + block.stop),
        )
        for number, block in enumerate(split_blocks(len(pairs), BLOCK_PAIRS))
    ]
    make = partial(_make_block, Shard(datasets, pool_path, category_ids, settings, folder))
    run_blocks(make, blocks, workers=workers, title="composites", unit="pairs")
    merge_blocks(folder, blocks)
    annotations_path = folder / "annotations.json"
    report = _report(folder, [block.record_path for block in blocks])
    write_json(folder / "report.json", report, indent=1)
    content = {
        "version": VERSION,
        "shard": list(shard),
        "first_pair": pairs.start,
        "num_pairs": len(pairs),
        "settings": asdict(settings),
        "annotations_sha256": sha256_of(annotations_path),
        **manifest,
    }
    write_json(folder / "manifest.json", content, indent=1)
    return report


def choose_pair(
    pool: np.ndarray, pair: int, settings: AmodalLvisSettings
) -> tuple[np.void, np.void, float, np.random.Generator]:
    """Choose target and occluder of a pair.

    Targets come in the order of the pool, so that each serves as often as any other; the occluder
    is the first random one from another photograph whose size suits.

    Args:
        pool: POOL_ROW (P,), in random order, of at least two photographs.

    Returns:
        Pool rows of target and occluder, the factor to resize the occluder by, and the generator
        for what else is random in this pair.
    """
    generator = np.random.default_rng([settings.seed, pair])
    target = pool[pair % len(pool)]
    rule = settings.composite
    ratio = draw_size_ratio(rule, generator)
    for _ in range(MAX_DRAWS):
        occluder = pool[generator.integers(len(pool))]
        scale = wanted_scale(float(target["area"]), float(occluder["area"]), ratio)
        if rule.min_scale <= scale <= rule.max_scale and not _same_photograph(occluder, target):
            return target, occluder, scale, generator
    # Rare: no size suits, so any other photograph has to do.
    others = np.flatnonzero(~_same_photograph(pool, target))
    occluder = pool[generator.choice(others)]
    scale = wanted_scale(float(target["area"]), float(occluder["area"]), ratio)
    return target, occluder, min(max(scale, rule.min_scale), rule.max_scale), generator


def _same_photograph(rows: np.ndarray | np.void, row: np.void) -> Any:
    is_same_image = rows["image_index"] == row["image_index"]
    return (rows["source"] == row["source"]) & is_same_image


def _make_block(shard: Shard, block: Block) -> None:
    cv2.setNumThreads(1)
    pool = np.load(shard.pool_path, mmap_mode="r")
    images: list[AmodalImage] = []
    failures: list[str] = []
    rates: list[list[float]] = []
    for pair in block.numbers:
        target, occluder, scale, generator = choose_pair(pool, pair, shard.settings)
        chosen = _look_up(shard.datasets, target), _look_up(shard.datasets, occluder)
        try:
            photograph, other_photograph = (image.load_rgb() for image, _ in chosen)
        except (FileNotFoundError, ValueError) as error:
            # Missing or damaged in every run, so that the set stays the same.
            failures.append(str(error))
            continue
        target_mask = chosen[0][1].visible_mask()
        cutout = cut_out(other_photograph, chosen[1][1].visible_mask())
        composite = compose(
            photograph, target_mask, cutout, scale, shard.settings.composite, generator
        )
        images += _save_pair(shard, pair, chosen, photograph, composite)
        rates.append([composite.requested_rate, composite.rate, composite.scale])
    write_json(_rates_path(block.record_path), {"failures": failures, "rates": rates}, indent=1)
    write_amodal_coco(block.record_path, images, shard.folder / "images")


def _save_pair(
    shard: Shard,
    pair: int,
    chosen: tuple[tuple[AmodalImage, AmodalInstance], tuple[AmodalImage, AmodalInstance]],
    photograph: np.ndarray,
    composite: OccludedImage,
) -> list[AmodalImage]:
    settings = shard.settings
    (target_image, target_instance), (other_image, other_instance) = chosen
    target_mask = target_instance.visible_mask()
    whole = _instance(shard, target_instance, 3 * pair + 1, target_mask, target_mask)
    hidden = _instance(shard, target_instance, 3 * pair + 2, target_mask, composite.visible_mask)
    instances = [hidden]
    if settings.annotate == "occluder":
        mask = composite.occluder_mask
        instances.append(_instance(shard, other_instance, 3 * pair + 3, mask, mask))
    both_ids = tuple(dict.fromkeys(target_image.coco_image_ids + other_image.coco_image_ids))
    views = [
        ("whole", photograph, [whole], target_image.coco_image_ids),
        ("occluded", composite.image, instances, both_ids),
    ]
    images = []
    for number, (kind, pixels, shown, coco_image_ids) in enumerate(views, start=1):
        path = shard.folder / "images" / f"{pair:09d}_{kind}.{settings.image_format}"
        _save(path, pixels, settings)
        hw = (pixels.shape[0], pixels.shape[1])
        images.append(AmodalImage(2 * pair + number, path, hw, shown, NAME, coco_image_ids))
    return images


def _look_up(
    datasets: Sequence[IndexedDataset], row: np.void
) -> tuple[AmodalImage, AmodalInstance]:
    image = datasets[row["source"]][int(row["image_index"])]
    return image, image.instances[row["instance_index"]]


def _instance(
    shard: Shard, source: AmodalInstance, number: int, amodal: np.ndarray, visible: np.ndarray
) -> AmodalInstance:
    category = source.category or "object"
    category_id = shard.category_ids[category]
    source_id = source.source_id or str(source.annotation_id)
    return encode_instance(number, category, category_id, amodal, visible, source_id)


def _save(path: Path, pixels: np.ndarray, settings: AmodalLvisSettings) -> None:
    # The twin is encoded anew as well: compression must not tell the two apart.
    options = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality]
    if settings.image_format == "png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, 3]
    if not cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options):
        raise OSError(f"image {path} could not be written; is the disk full?")


def _report(folder: Path, record_paths: Sequence[Path]) -> dict[str, Any]:
    statistics, paper = describe_set(folder, NAME)
    contents = [json.loads(_rates_path(path).read_text()) for path in record_paths]
    failures = [failure for content in contents for failure in content["failures"]]
    rates = np.array([rate for content in contents for rate in content["rates"]]).reshape(-1, 3)
    requested, measured, scale = rates.T
    return {
        **statistics,
        "num_pairs": len(rates),
        "mean_requested_rate": float(requested.mean()),
        "mean_measured_rate": float(measured.mean()),
        "mean_abs_rate_error": float(np.abs(measured - requested).mean()),
        "mean_scale": float(scale.mean()),
        "num_failures": len(failures),
        "failures": failures[:MAX_EXAMPLES],
        "paper": paper,
    }


def _rates_path(record_path: Path) -> Path:
    return record_path.with_suffix(".rates")
