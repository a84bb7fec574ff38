"""Build what a training run needs from its configuration: images, network, validation."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from sameo_model.data.collection import open_dataset
from sameo_model.data.index import IndexedDataset
from sameo_model.data.index_format import InstanceFlag
from sameo_model.data.parallel import default_workers
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.instance_scores import OCCLUDED_ABOVE
from sameo_model.modeling.box_checkpoint import load_box_detector
from sameo_model.modeling.box_detector import BOX_DETECTOR, IMAGE_SIZE, BoxDetector
from sameo_model.modeling.checkpoint import load_checkpoint, stored_image_size
from sameo_model.modeling.lite_encoder import LiteImageEncoder, load_imagenet_weights
from sameo_model.modeling.presets import PRESETS, build_sameo
from sameo_model.training.box_validation import BoxValidation
from sameo_model.training.config import DataSource, TrainConfig
from sameo_model.training.sample_plan import TrainingSet
from sameo_model.training.step import Network
from sameo_model.training.validation import Validation

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
VAL_SEED = 0  # not the run's own: runs of several seeds are validated on the same images
_LOGGER = logging.getLogger(__name__)


def keep_freed_memory() -> None:
    """Have this process use freed memory again.

    By default glibc returns large blocks to the kernel, which then clears new pages for every
    tensor: a quarter of a step on a CPU. Does nothing with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def open_sources(
    sources: Sequence[DataSource], held_out: Sequence[DataSource] = (), *, needs_amodal: bool = True
) -> list[TrainingSet]:
    """Open data sets for training or validation.

    Only instances with the true masks that are needed are kept, and images that show one.

    Args:
        held_out: data sets whose COCO photographs are left out of `sources`.
        needs_amodal: whether both masks are needed, or the visible one is enough.

    Raises:
        FileNotFoundError: If one of them does not exist.
        ValueError: If a name is unknown, nothing is left of a set, or `held_out` can leave nothing
            out.
    """
    opened = [_open(source, needs_amodal) for source in sources]
    for source, images in zip(sources, opened, strict=True):
        if not len(images):
            raise ValueError(
                f"data set {source.name} in {source.root} must hold an image with a usable "
                f"instance, got none after filtering; it needs amodal and visible masks, and "
                f"min_occlusion ({source.min_occlusion}) and the quality control rules apply"
            )
    photographs = _held_out_photographs(held_out)
    return [
        _leave_out(source, images, photographs, held_out)
        for source, images in zip(sources, opened, strict=True)
    ]


def _held_out_photographs(held_out: Sequence[DataSource]) -> set[int]:
    """Return the numbers of the COCO photographs that must not be trained on."""
    photographs: set[int] = set()
    for source in held_out:
        found = _open_files(source).coco_photographs()
        if not found:
            raise ValueError(
                f"held_out leaves out photographs by their COCO number, but {source.name} in "
                f"{source.root} has none; remove it from held_out, and its images from train"
            )
        photographs |= found
    return photographs


def _leave_out(
    source: DataSource,
    images: IndexedDataset,
    photographs: set[int],
    held_out: Sequence[DataSource],
) -> TrainingSet:
    left = images.without_photographs(photographs)
    if not len(left):
        names = ", ".join(f"{item.name} {item.split or ''}".strip() for item in held_out)
        raise ValueError(
            f"data set {source.name} in {source.root} must keep an image, but held_out leaves "
            f"nothing of it: each of its {len(images):,} images shows a photograph of {names}; "
            "leave the set out of train, or hold out the split alone that you evaluate on"
        )
    label = f"{source.name} {source.root}" + (f" {source.split}" if source.split else "")
    num_left_out = len(images) - len(left)
    return TrainingSet(left, source.weight, label, num_left_out, source.complete)


def check_roots(sources: Sequence[DataSource]) -> None:
    """Find missing folders before any data set is opened, all of them at once.

    Raises:
        FileNotFoundError: If there are any.
    """
    missing = [source for source in sources if not Path(source.root).exists()]
    if missing:
        raise FileNotFoundError(
            "; ".join(
                f"data set {source.name} must lie in {source.root}, but there is no such folder"
                for source in missing
            )
            + "; change the root in the configuration"
        )


def _open(source: DataSource, needs_amodal: bool) -> IndexedDataset:
    images = _open_files(source, quality_control=source.quality_control)
    needs_amodal = needs_amodal or source.min_occlusion > 0
    _check_truth(source, images, needs_amodal)
    table = images.instance_table
    needed = InstanceFlag.HAS_VISIBLE
    if needs_amodal:
        needed |= InstanceFlag.HAS_AMODAL
    hidden = np.where(
        table["flags"] & InstanceFlag.HAS_AMODAL, table["amodal_area"] - table["visible_area"], 0
    )
    keep = (
        ((table["flags"] & needed) == needed)
        & (table["visible_area"] > 0)
        & (hidden >= source.min_occlusion * table["amodal_area"])
    )
    return images.select(keep, drop_empty=True)


def _check_truth(source: DataSource, images: IndexedDataset, needs_amodal: bool) -> None:
    """Say at once what a set of visible masks alone lacks, under its own or another name."""
    shown = images.shown_instances()
    if needs_amodal and shown.any() and not images.has_masks(InstanceFlag.HAS_AMODAL):
        raise ValueError(
            f"data set {source.name} in {source.root} must have amodal masks to teach whole "
            f"shapes, but it annotates the visible part of each object alone; use a set with both"
        )
    if shown.any() and not images.has_masks(InstanceFlag.HAS_VISIBLE):
        raise ValueError(
            f"data set {source.name} in {source.root} must have visible masks beside the amodal "
            f"ones, but no annotation has one; if its `segmentation` is the visible part alone "
            f"(plain COCO instances), its name is coco_instances"
        )


def _open_files(source: DataSource, *, quality_control: bool = False) -> IndexedDataset:
    """Open a set; the first time a large one is indexed on all cores, with a progress bar."""
    return open_dataset(
        source.name,
        source.root,
        source.split,
        quality_control=quality_control,
        workers=default_workers(),
        progress=True,
    )


def needs_amodal(config: TrainConfig) -> bool:
    """Return whether the network learns nothing from sets that know visible masks alone."""
    return config.preset != BOX_DETECTOR and not PRESETS[config.preset].shares_decoder


def build_model(config: TrainConfig) -> Network:
    """Build the network with the weights that the run starts from.

    Raises:
        FileNotFoundError: If `config.init` names no checkpoint.
        ValueError: If the checkpoint is of another preset, or has no decoder to copy.
    """
    torch.manual_seed(config.seed)
    if config.preset == BOX_DETECTOR:
        return _build_detector(config)
    image_size = config.image_size or None
    named = (*config.decoders, *config.trainable)
    needs_visible = config.visible_decoder or "visible_decoder" in named
    if not config.init:
        model = build_sameo(config.preset, image_size, visible_decoder=needs_visible)
        if isinstance(model.image_encoder, LiteImageEncoder):
            load_imagenet_weights(model.image_encoder.backbone)
    else:
        model = load_checkpoint(
            config.init, image_size=image_size, visible_decoder=needs_visible or None
        )
        _tell_of_another_size(config)
        if model.preset != config.preset:
            raise ValueError(
                f"init must hold a {config.preset} network, got {model.preset} in {config.init}; "
                "change preset or init"
            )
    if config.copy_visible_decoder:
        if model.visible_decoder is None:
            raise ValueError(
                f"copy_visible_decoder needs a visible decoder, {config.init} has none"
            )
        model.mask_decoder.load_state_dict(model.visible_decoder.state_dict())
    if "mask_decoder" in config.decoders:
        model.mask_selection = config.mask_selection
    if "visible_decoder" in config.decoders:
        model.visible_mask_selection = config.mask_selection
    # Convolutions of the CPU and of recent GPUs are faster on this layout.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _build_detector(config: TrainConfig) -> BoxDetector:
    if config.init:
        model = load_box_detector(config.init)
        model.image_size = config.image_size or model.image_size
    else:
        model = BoxDetector(config.image_size or IMAGE_SIZE).eval()
        load_imagenet_weights(model.image_encoder.backbone)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _tell_of_another_size(config: TrainConfig) -> None:
    stored = stored_image_size(config.init)
    if stored and config.image_size not in (0, stored):
        _LOGGER.warning(
            "image_size: %s has an input of %d x %d pixels, and this run makes it a network of "
            "%d x %d; image_size=0 keeps the input of init",
            *(config.init, stored, stored, config.image_size, config.image_size),
        )


def build_validation(
    config: TrainConfig, trained: Sequence[TrainingSet] = ()
) -> Validation | BoxValidation | None:
    """Open the validation images; None if the run has none.

    Args:
        trained: What the run trains on; validation images that are part of it are told.

    Raises:
        FileNotFoundError: If a data set does not exist.
        ValueError: If a name is unknown, nothing is left of one, or the images cannot have the
            score that chooses the best network.
    """
    if not config.val:
        return None
    is_detector = config.preset == BOX_DETECTOR
    sources = open_sources(config.val, needs_amodal=not is_detector)
    sets = [source.images for source in sources]
    rows = _spread([len(images) for images in sets], config.val_images)
    chosen = [[one[i] for i in some.tolist()] for one, some in zip(sets, rows, strict=True)]
    images = [image for some in chosen for image in some]
    _tell_of_trained_images(images, trained)
    if is_detector:
        names = ["/".join(Path(one.label.split(" ", 1)[1]).parts[-2:]) for one in sources]
        return BoxValidation(dict(zip(names, chosen, strict=True)), config.val_overlays)
    _check_metric(config.best_metric, images)
    return Validation(images, config.val_prompts, config.val_overlays)


def _tell_of_trained_images(images: Sequence[AmodalImage], trained: Sequence[TrainingSet]) -> None:
    """Warn where validation images are trained on, as files or as photographs of COCO."""
    photographs: set[int] = set()
    files: set[Path] = set()
    names = {image.path.name for image in images}
    find_folder = cache(Path.resolve)
    for source in trained:
        photographs |= source.images.coco_photographs()
        named = (one for one in source.images.image_paths() if os.path.basename(one) in names)
        files |= {find_folder(path.parent) / path.name for path in map(Path, named)}
    seen = [
        image.path
        for image in images
        if find_folder(image.path.parent) / image.path.name in files
        or photographs.intersection(image.coco_image_ids)
    ]
    if seen:
        _LOGGER.warning(
            "val: %d of its %d images are trained on too, such as %s, so its scores say nothing of "
            "new images; leave them out of train",
            *(len(seen), len(images), seen[0]),
        )


def _check_metric(name: str, images: Sequence[AmodalImage]) -> None:
    """Refuse a score that only some objects have, where none of these is one of them."""
    rates = [one.occlusion_rate or 0.0 for image in images for one in image.instances]
    scored = {
        "miou_hidden": max(rates) > OCCLUDED_ABOVE,
        "miou_full_occluded": max(rates) > OCCLUDED_ABOVE,
        "miou_full_unoccluded": min(rates) <= OCCLUDED_ABOVE,
    }
    if not scored.get(name, True):
        raise ValueError(
            f"best_metric {name} needs an object that it scores, got occlusion rates from "
            f"{min(rates):.2f} to {max(rates):.2f} in the {len(images)} images of val, where above "
            f"{OCCLUDED_ABOVE:g} is occluded; choose another score or another set"
        )


def _spread(sizes: Sequence[int], wanted: int) -> list[np.ndarray]:
    """Choose images of several sets in equal parts, more of the others where one is too small.

    Args:
        sizes: Images of each set.
        wanted: Images to choose over all sets; 0 takes all.

    Returns:
        int64 (n,) for each set, indices in ascending order, the same in every run.
    """
    wanted = min(wanted or sum(sizes), sum(sizes))
    counts = dict.fromkeys(range(len(sizes)), 0)
    # Smallest sets first, so that what they lack falls to the larger ones.
    for position, number in enumerate(sorted(counts, key=lambda n: sizes[n])):
        part = -(-wanted // (len(sizes) - position))
        counts[number] = min(part, sizes[number])
        wanted -= counts[number]
    return [
        np.sort(np.random.default_rng([VAL_SEED, n]).permutation(size)[: counts[n]])
        for n, size in enumerate(sizes)
    ]
