"""The training loop: resumable at any step, on one process or several (Lightning Fabric)."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import cv2
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from sameo_model.modeling.checkpoint import HEADER_KEY, describe
from sameo_model.modeling.sameo import DecoderName, Sameo
from sameo_model.training.config import Decoder, OptimiserOptions, Part, TrainConfig
from sameo_model.training.losses import sameo_loss
from sameo_model.training.samples import Source, TrainingSamples

CHECKPOINT_NAME = "last.ckpt"
CORNER_LABELS = (2, 3)  # a box is its top-left and bottom-right corner

log = logging.getLogger(__name__)
Batch = dict[str, Tensor]
Validate = Callable[[Sameo], dict[str, Any]]


class TrainingStep(nn.Module):
    """Loss of one batch; every image is encoded once for all of its boxes (equation 1)."""

    def __init__(self, model: Sameo, config: TrainConfig) -> None:
        """Wrap `model` and freeze the parts that `config` does not train."""
        super().__init__()
        self.model = model
        self.decoders = config.decoders
        self.mask_selection = config.mask_selection
        self.encoder_frozen = "image_encoder" not in config.trainable
        for part in get_args(Part):
            module = getattr(model, part, None)
            if module is not None:
                module.requires_grad_(part in config.trainable)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of `sameo_loss`, summed over the decoders, for a batch of samples.

        Args:
            batch: `image` uint8 (B, 3, S, S), `boxes_xyxy` float32 (B, N, 4) in pixels of the
                image, `amodal` and `visible` bool (B, N, h, w).
        """
        with torch.set_grad_enabled(not self.encoder_frozen and torch.is_grad_enabled()):
            embeddings = self.model.encode(batch["image"].float() / 255)
        losses: dict[str, Tensor] = {}
        for decoder in self.decoders:
            for name, value in self._decoder_losses(decoder, embeddings, batch).items():
                losses[name] = losses.get(name, 0.0) + value
        return losses

    def _decoder_losses(
        self, decoder: Decoder, embeddings: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        kind: DecoderName = "amodal" if decoder == "mask_decoder" else "visible"
        height, width = batch["image"].shape[-2:]
        boxes, target = batch["boxes_xyxy"], batch[kind]
        labels = torch.tensor(CORNER_LABELS, device=boxes.device).expand(*boxes.shape[:2], 2)
        logits, iou = self.model.decode(
            embeddings,
            boxes.unflatten(-1, (2, 2)),
            labels,
            (height, width),
            multimask=self.mask_selection != "token0",
            decoder=kind,
        )
        logits = logits.flatten(0, 1)
        if target.shape[-2:] != logits.shape[-2:]:
            size = tuple(target.shape[-2:])
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        return sameo_loss(
            logits, iou.flatten(0, 1), target.flatten(0, 1), mask_selection=self.mask_selection
        )


def train(
    config: TrainConfig,
    model: Sameo,
    sources: Sequence[Source],
    validate: Validate | None = None,
) -> Sameo:
    """Train `model` in place as `config` says, continuing the run in `config.output` if any.

    The run folder receives `config.json`, `last.ckpt` (written whole or not at all, every
    `checkpoint_interval` steps and at the end), TensorBoard events and `metrics.jsonl`.

    Args:
        config: the run.
        model: network with its initial weights; replaced by the checkpoint's when resuming.
        sources: training images.
        validate: called with the model every `val_interval` steps and at the end; its numbers
            are logged.

    Returns:
        `model`, trained, in eval mode.

    Raises:
        ValueError: If `config.output` holds a run with another configuration.
        FloatingPointError: If the loss is not finite.
    """
    # The networks hold no dropout, and batch statistics stay those of the pretrained backbone,
    # so the model is in eval mode throughout.
    model.eval()
    output = Path(config.output)
    fabric = Fabric(accelerator="auto", precision=config.precision)
    fabric.launch()
    fabric.seed_everything(config.seed, verbose=False)
    step_module = TrainingStep(model, config)
    optimiser = build_optimiser(step_module.model, config.optimiser)
    first_step = _resume(output, config, model, optimiser)
    module, optimiser = fabric.setup(step_module, optimiser)
    loader = _build_loader(config, model, sources, first_step, fabric)
    writer = SummaryWriter(str(output), purge_step=first_step) if fabric.is_global_zero else None
    progress = tqdm(
        total=config.steps,
        initial=first_step,
        desc=output.name,
        unit="step",
        disable=not fabric.is_global_zero,
    )
    meter = _Meter(config)
    for step, batch in enumerate(loader, start=first_step):
        losses = module(fabric.to_device(batch))
        if not torch.isfinite(losses["total"]):
            raise FloatingPointError(
                f"the loss must be finite, got {losses['total'].item()} at step {step}; lower "
                f"optimiser.lr or set optimiser.max_grad_norm, then start again to resume"
            )
        fabric.backward(losses["total"])
        if config.optimiser.max_grad_norm:
            fabric.clip_gradients(module, optimiser, max_norm=config.optimiser.max_grad_norm)
        _set_learning_rate(optimiser, config, step)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        done = step + 1
        progress.update()
        if scalars := meter.update(done, losses):
            progress.set_postfix_str(" ".join(f"{k} {v:.3g}" for k, v in scalars.items()))
            _log_scalars(writer, output, done, {f"train/{k}": v for k, v in scalars.items()})
        if fabric.is_global_zero and (
            done % config.checkpoint_interval == 0 or done == config.steps
        ):
            _save(output, config, model, optimiser, done)
        if validate and (
            done == config.steps or (config.val_interval and done % config.val_interval == 0)
        ):
            if fabric.is_global_zero:
                scores = validate(model)
                _log_scalars(writer, output, done, {f"val/{k}": v for k, v in scores.items()})
            fabric.barrier()
    progress.close()
    if writer:
        writer.close()
    return model


def build_optimiser(model: nn.Module, options: OptimiserOptions) -> torch.optim.Optimizer:
    """Build the optimiser over the trainable weights; `base_lr` of a group precedes schedules."""
    groups = []
    for is_encoder, scale in ((True, options.encoder_lr_scale), (False, 1.0)):
        weights = [
            weight
            for name, weight in model.named_parameters()
            if weight.requires_grad and name.startswith("image_encoder.backbone") == is_encoder
        ]
        if weights:
            base_lr = options.lr * scale
            groups.append({"params": weights, "lr": base_lr, "base_lr": base_lr})
    if options.name == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=options.weight_decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.name]
    return kind(groups, weight_decay=options.weight_decay)


class _SampleOrder(Sampler[int]):
    """Sample numbers of the steps from `first_step` on that belong to one process."""

    def __init__(self, config: TrainConfig, first_step: int, rank: int, world_size: int) -> None:
        self.config = config
        self.first_step = first_step
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        remaining = self.config.steps - self.first_step
        return remaining * self.config.images_per_step // self.world_size

    def __iter__(self) -> Iterator[int]:
        per_step = self.config.images_per_step
        share = per_step // self.world_size
        for step in range(self.first_step, self.config.steps):
            start = step * per_step + self.rank * share
            yield from range(start, start + share)


def _build_loader(
    config: TrainConfig,
    model: Sameo,
    sources: Sequence[Source],
    first_step: int,
    fabric: Fabric,
) -> DataLoader:
    if config.images_per_step % fabric.world_size:
        raise ValueError(
            f"images_per_step must be a multiple of the number of processes, got "
            f"{config.images_per_step} and {fabric.world_size}"
        )
    samples = TrainingSamples(
        sources, config.samples, image_size=model.image_size, seed=config.seed
    )
    return DataLoader(
        samples,
        batch_size=config.images_per_step // fabric.world_size,
        sampler=_SampleOrder(config, first_step, fabric.global_rank, fabric.world_size),
        num_workers=config.workers,
        worker_init_fn=_limit_threads,
        persistent_workers=config.workers > 0,
        prefetch_factor=4 if config.workers else None,
    )


def _limit_threads(worker: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _set_learning_rate(optimiser: torch.optim.Optimizer, config: TrainConfig, step: int) -> None:
    options = config.optimiser
    factor = min(1.0, (step + 1) / max(1, options.warmup_steps))
    if options.schedule == "cosine":
        progress = step / max(1, config.steps)
        factor *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor


class _Meter:
    """Means of the loss parts and the speed since the last log entry."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.sums: dict[str, float] = {}
        self.count = 0
        self.start_s = time.perf_counter()

    def update(self, done: int, losses: dict[str, Tensor]) -> dict[str, float]:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.item()
        self.count += 1
        if done % self.config.log_interval and done != self.config.steps:
            return {}
        elapsed_s = time.perf_counter() - self.start_s
        images = self.count * self.config.images_per_step
        scalars = {name: value / self.count for name, value in self.sums.items()}
        scalars["images_per_s"] = images / elapsed_s
        scalars["instances_per_s"] = scalars["images_per_s"] * self.config.samples.boxes_per_image
        self.sums, self.count, self.start_s = {}, 0, time.perf_counter()
        return scalars


def _log_scalars(
    writer: SummaryWriter | None, output: Path, step: int, scalars: dict[str, Any]
) -> None:
    if writer is None:
        return
    numbers = {k: float(v) for k, v in scalars.items() if isinstance(v, (int, float))}
    for name, value in numbers.items():
        writer.add_scalar(name, value, step)
    with (output / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, **numbers}) + "\n")


def _save(
    output: Path,
    config: TrainConfig,
    model: Sameo,
    optimiser: torch.optim.Optimizer,
    step: int,
) -> None:
    """Write the checkpoint whole or not at all."""
    state = {
        "model": model.state_dict(),
        HEADER_KEY: describe(model),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "config": json.dumps(dataclasses.asdict(config)),
    }
    temporary = output / f".{CHECKPOINT_NAME}.tmp"
    try:
        torch.save(state, temporary)
        os.replace(temporary, output / CHECKPOINT_NAME)
    finally:
        temporary.unlink(missing_ok=True)


def _resume(
    output: Path, config: TrainConfig, model: Sameo, optimiser: torch.optim.Optimizer
) -> int:
    """Load the run's checkpoint if there is one and return the first step to do."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / CHECKPOINT_NAME
    if not path.exists():
        (output / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=2))
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    _check_same_run(path, json.loads(state["config"]), config)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    log.info("resuming %s at step %d", output, state["step"])
    return int(state["step"])


# May change between the parts of one run without changing what it learns.
FREE_KEYS = frozenset(
    (
        "output",
        "workers",
        "log_interval",
        "checkpoint_interval",
        "val",
        "val_interval",
        "val_images",
    )
)


def _check_same_run(path: Path, saved: dict[str, Any], config: TrainConfig) -> None:
    current = json.loads(json.dumps(dataclasses.asdict(config)))
    differing = [
        f"{key}: {saved.get(key)!r} then, {value!r} now"
        for key, value in current.items()
        if key not in FREE_KEYS and saved.get(key) != value
    ]
    if differing:
        raise ValueError(
            f"{path} belongs to a run with another configuration ({'; '.join(differing)}); "
            "choose another output folder, or restore these values to resume"
        )
