"""Training configuration: frozen dataclasses that hold every default once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sameo_model.data.prompts import PromptKind
from sameo_model.modeling.lite_encoder import NUM_BLOCKS
from sameo_model.modeling.sameo import MaskSelection
from sameo_model.runtime.bundle import DEFAULT_MODEL
from sameo_model.runtime.clicks import MAX_CLICKS

Decoder = Literal["mask_decoder", "visible_decoder"]
Preset = Literal["sameo_lite", "efficient_sam_vitt", "efficient_sam_vits", "box_detector"]
Part = Literal["image_encoder", "prompt_encoder", "mask_decoder", "visible_decoder", "box_head"]
Metric = Literal[
    "miou_full",
    "miou_full_occluded",
    "miou_full_unoccluded",
    "miou_hidden",
    "miou_visible",
    "boundary_f",
    "iou_spearman",
    "box_visible_ap",
    "box_visible_ap50",
    "box_visible_ar100",
]


@dataclass(frozen=True)
class DataSource:
    """One data set to train or validate on."""

    root: str  # folder of the data set
    name: str = "amodal_coco"  # format, a name that `python -m sameo_model.datasets list` shows
    # split within the data set, where it has several; `a+b` takes two as one set
    split: str | None = None
    # relative share of samples with `mixing: weights`; the default of 0 for all sets means the
    # numbers of their images
    weight: float = 0.0
    # only instances of which at least this share is hidden, in [0, 1]; above 0 leaves out sets that
    # know visible masks alone
    min_occlusion: float = 0.0
    quality_control: bool = True  # whether the set's rules of paper section 3.2 apply
    # box detector: whether every object of each image is labelled; where not, cells without a
    # labelled object that score above 0.3 teach nothing
    complete: bool = True


@dataclass(frozen=True)
class SampleOptions:
    """How a training sample is drawn."""

    boxes_per_image: int = 8  # most boxes K that an image gets in a step
    target_stride: int = 4  # model input pixels per pixel of the true masks (4 is the logits' own)
    # `visible`, `amodal` or `random` (section 3.1): the true mask whose tight box is the prompt
    prompt: Literal["random", "visible", "amodal"] = "random"
    amodal_prompts: float = 0.5  # with `random`: probability of amodal, for each object
    # each side of a box moves by up to a share of the box's size; the share is drawn for each image
    # from 0 to this number
    box_jitter: float = 0.0
    # probability that the prompts of an image are boxes that a detector finds there, mistakes
    # included; objects that it misses keep the prompt that they had
    found_boxes: float = 0.0
    detector: str = DEFAULT_MODEL  # bundle with that detector
    # other cameras and views: colours, blur, noise, mirror images; with image framing a random part
    # of the image, with windows quarter turns and a random padding
    augment: bool = True
    paste: float = 0.0  # probability of pasting a whole object of another image over this one
    min_window: float = 0.5  # image framing: smallest part of the image as a share of its side
    # clicks for each box at random places of the visible part, from none to this number (at most
    # 4; appendix E)
    points: int = 0
    # sets that know visible masks alone: objects that no other one comes near teach the whole mask
    isolated_as_whole: bool = False
    # window framing: smallest and largest padding that `augment` draws
    padding: tuple[float, float] = (0.3, 0.75)


@dataclass(frozen=True)
class BoxOptions:
    """How a training sample of the box detector is drawn."""

    # of the square part of an image that the network sees in training, pixels, a multiple of 32;
    # the whole image has `image_size` at scale 1
    side: int = 384
    scale: tuple[float, float] = (0.75, 1.6)  # smallest and largest scale of the image
    empty_images: tuple[str, ...] = ()  # folders with images that show nothing to find
    # folders with images of anything, of which parts are printed on cloths; none takes
    # `empty_images`
    prints: tuple[str, ...] = ()
    empty_share: float = 0.1  # probability of an image without objects, half of them cloths
    unwanted: tuple[str, ...] = ()  # classes that are neither objects to find nor background


@dataclass(frozen=True)
class OptimiserOptions:
    """How weights are updated; the defaults are the paper's (section 4.1)."""

    name: Literal["adam", "adamw", "sgd"] = "adam"  # `adam`, `adamw` or `sgd`
    lr: float = 1e-4  # learning rate
    encoder_lr_scale: float = 1.0  # factor on `lr` for the image encoder's pretrained weights
    weight_decay: float = 0.0  # decoupled for adamw
    # `constant` or `cosine` (down to 2 % of `lr` at the last step)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0  # steps of linear warm-up
    max_grad_norm: float = 0.0  # gradients are scaled down to this norm; 0 leaves them alone
    # decay of the moving average of the trained weights, which then is what is validated and
    # written as the result; 0 keeps none
    ema_decay: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a training run."""

    train: tuple[DataSource, ...] = ()  # data sets to train on
    # data sets whose photographs are left out of `train`, which may share them
    held_out: tuple[DataSource, ...] = ()
    val: tuple[DataSource, ...] = ()  # data sets to validate on; none skips validation
    preset: Preset = "sameo_lite"  # network (see `sameo_model.modeling.presets`), or `box_detector`
    image_size: int = 0  # side of the square model input; 0 is that of `init`, or the preset's own
    init: str = ""  # checkpoint to start from; empty starts from the preset's pretrained backbone
    # give official EfficientSAM weights a visible decoder: a copy of their decoder as it was; other
    # checkpoints keep theirs in any case
    visible_decoder: bool = False
    # start the amodal decoder as a copy of the visible one (stage 2)
    copy_visible_decoder: bool = False
    # decoders whose loss counts: `mask_decoder` draws the amodal masks, `visible_decoder` the
    # visible ones; with both, the sum of their losses. The decoder of `sameo_lite` learns both; of
    # sets that know visible masks alone, these.
    decoders: tuple[Decoder, ...] = ("mask_decoder",)
    trainable: tuple[Part, ...] = ("mask_decoder",)  # parts that are updated; the rest stays frozen
    # first blocks of an EfficientNet-Lite backbone that stay as they are, with the stem; 3 freezes
    # all up to stride 4, 5 up to stride 8
    frozen_blocks: int = 0
    # whether the depthwise kernels of that backbone stay as they are. Their gradients take most of
    # a step on a CPU, and they are a twentieth of its weights.
    frozen_depthwise: bool = False
    # which candidate masks carry the mask loss (see `sameo_loss`)
    mask_selection: MaskSelection = "min_loss"
    # which candidate masks carry the IoU loss (equation 5): `all` of them, or those `selected` for
    # the mask loss
    iou_candidates: Literal["all", "selected"] = "all"
    samples: SampleOptions = field(default_factory=SampleOptions)  # how samples are drawn
    boxes: BoxOptions = field(default_factory=BoxOptions)  # how those of the box detector are drawn
    # how images are drawn. `weights`: each on its own, with the sources' weights. `log_size`: each
    # step from one source, with probability log(its instances) / sum of the logs (section 4.3), and
    # within a source each image once per round.
    mixing: Literal["weights", "log_size"] = "weights"
    images_per_step: int = 4  # with `weights`, images in each optimiser step, over all processes
    prompts_per_step: int = 32  # with `log_size`, boxes in each optimiser step, over all processes
    # most images that go through the network together; a larger step accumulates gradients over
    # several passes. 0 never splits a step.
    max_images_at_once: int = 0
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)  # how weights are updated
    steps: int = 1000  # optimiser steps
    # `32-true`, `bf16-mixed` or, on a GPU, `16-mixed`
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False  # compile encoder and decoders before the first step
    # folder that keeps the frozen encoder's embeddings, empty for none; only for EfficientSAM,
    # without image augmentation
    embedding_cache: str = ""
    embedding_cache_gb: float = 10.0  # most 10^9 bytes that this folder may hold
    workers: int = 1  # processes that prepare samples, per training process
    max_unreadable: int = 10  # image files that may be unreadable before the run stops
    seed: int = 0  # of samples and initial weights
    log_interval: int = 20  # steps between log entries
    checkpoint_interval: int = 200  # steps between checkpoints
    val_interval: int = 0  # steps between validations; 0 validates at the end only
    # images used for each validation, drawn from all sets of `val` in equal parts, always the same
    # ones; 0 uses all
    val_images: int = 0
    # true masks whose boxes prompt; scores are averaged over the kinds
    val_prompts: tuple[PromptKind, ...] = ("visible",)
    val_overlays: int = 4  # validation images whose masks are drawn into TensorBoard each time
    best_metric: Metric = "miou_full"  # score whose highest value makes a checkpoint the best one
    allow_changes: bool = False  # resume although the run in `output` was started with other values
    output: str = "runs/train"  # run folder (checkpoints, TensorBoard, resolved configuration)


def find_problems(config: TrainConfig) -> list[str]:
    """Return what makes no sense in a well-typed configuration, one sentence each."""
    problems = [
        f"{key} must name at least one, got none"
        for key in ("train", "decoders", "trainable", "val_prompts")
        if not getattr(config, key)
    ]
    lowest = {
        **dict.fromkeys(("images_per_step", "prompts_per_step", "steps", "log_interval"), 1),
        **dict.fromkeys(("checkpoint_interval", "samples.boxes_per_image"), 1),
        "samples.target_stride": 1,
        **dict.fromkeys(("max_images_at_once", "workers", "max_unreadable", "val_interval"), 0),
        **dict.fromkeys(("val_images", "val_overlays", "embedding_cache_gb", "seed"), 0),
        **dict.fromkeys(("optimiser.lr", "optimiser.encoder_lr_scale"), 0),
        **dict.fromkeys(("optimiser.warmup_steps", "optimiser.weight_decay"), 0),
        "optimiser.max_grad_norm": 0,
    }
    values = {key: _get_nested(config, key) for key in lowest}
    problems += [
        f"{key} must be at least {low}, got {values[key]}"
        for key, low in lowest.items()
        if values[key] < low
    ]
    if not 0 <= config.optimiser.ema_decay < 1:
        problems.append(f"optimiser.ema_decay must lie in [0, 1), got {config.optimiser.ema_decay}")
    low, high = config.samples.padding
    if not 0 <= low <= high <= 4:
        problems.append(f"samples.padding must be two numbers in [0, 4], got {low}, {high}")
    if not 0 <= config.samples.points <= MAX_CLICKS:
        problems.append(
            f"samples.points must be from 0 to {MAX_CLICKS}, got {config.samples.points}"
        )
    if not 0 <= config.samples.box_jitter < 0.5:
        problems.append(f"samples.box_jitter must lie in [0, 0.5), got {config.samples.box_jitter}")
    problems += [
        f"{key} must lie in [0, 1], got {value}"
        for key in ("samples.paste", "samples.amodal_prompts", "samples.found_boxes")
        if not 0 <= (value := _get_nested(config, key)) <= 1
    ]
    if not 0 < config.samples.min_window <= 1:
        problems.append(f"samples.min_window must lie in (0, 1], got {config.samples.min_window}")
    weights = [source.weight for source in config.train]
    if weights and (min(weights) < 0 or (max(weights) > 0 and min(weights) == 0)):
        problems.append(f"train must have a weight above 0 for all sets or for none, got {weights}")
    if not 0 <= config.frozen_blocks <= NUM_BLOCKS:
        problems.append(f"frozen_blocks must be from 0 to {NUM_BLOCKS}, got {config.frozen_blocks}")
    has_lite_backbone = config.preset in ("sameo_lite", "box_detector")
    if (config.frozen_blocks or config.frozen_depthwise) and not has_lite_backbone:
        problems.append(
            "frozen_blocks and frozen_depthwise belong to presets sameo_lite and box_detector, got "
            f"{config.preset}"
        )
    if config.preset == "box_detector":
        problems += _find_box_problems(config)
    return problems + _find_preset_problems(config) + _find_cache_problems(config)


def _find_preset_problems(config: TrainConfig) -> list[str]:
    """Return what does not suit the network, and would be noticed after the training only."""
    problems = []
    learning = {
        "box_detector": ("image_encoder", "box_head"),
        "sameo_lite": ("image_encoder", "prompt_encoder", "mask_decoder"),
    }.get(config.preset, ("image_encoder", "prompt_encoder", *config.decoders))
    if config.trainable and not set(learning) & set(config.trainable):
        problems.append(
            f"trainable of {config.preset} must name one of {', '.join(learning)}, got "
            f"{', '.join(config.trainable)}"
        )
    is_detector = config.preset == "box_detector"
    if config.val and config.best_metric.startswith("box_") != is_detector:
        kind = "a box_* score" if is_detector else "a score of masks"
        problems.append(f"best_metric of {config.preset} must be {kind}, got {config.best_metric}")
    return problems


def _find_box_problems(config: TrainConfig) -> list[str]:
    boxes = config.boxes
    problems = []
    if boxes.side <= 0 or boxes.side % 32:
        problems.append(f"boxes.side must be a positive multiple of 32, got {boxes.side}")
    if not 0 < boxes.scale[0] <= boxes.scale[1]:
        problems.append(f"boxes.scale must be two positive numbers, got {list(boxes.scale)}")
    if not 0 <= boxes.empty_share < 1:
        problems.append(f"boxes.empty_share must lie in [0, 1), got {boxes.empty_share}")
    needed = {
        "mixing: log_size": config.mixing == "weights",
        "compile": not config.compile,
        "embedding_cache": not config.embedding_cache,
        "max_images_at_once": not config.max_images_at_once,
    }
    return problems + [
        f"{key} is for mask networks, leave it out with preset box_detector"
        for key, is_met in needed.items()
        if not is_met
    ]


def _get_nested(config: TrainConfig, key: str) -> float:
    value = config
    for name in key.split("."):
        value = getattr(value, name)
    return value  # type: ignore[return-value]


def _find_cache_problems(config: TrainConfig) -> list[str]:
    if not config.embedding_cache:
        return []
    needed = {
        "trainable without image_encoder": "image_encoder" not in config.trainable,
        "samples.augment=false": not config.samples.augment,
        "samples.paste=0": not config.samples.paste,
        "samples.found_boxes=0": not config.samples.found_boxes,
        "a preset efficient_sam_*": config.preset.startswith("efficient_sam"),
    }
    return [
        f"embedding_cache needs {sentence}, because it keeps one embedding per image file"
        for sentence, is_met in needed.items()
        if not is_met
    ]
