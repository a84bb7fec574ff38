"""The training loop: resumable at any step, on one process or several (Lightning Fabric)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import cv2
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.modeling.checkpoint import save_checkpoint
from sameo_model.modeling.sameo import Sameo
from sameo_model.training.box_samples import BoxSamples, collate_boxes
from sameo_model.training.checkpointing import (
    RunState,
    explain_full_disk,
    remove_leftovers,
    resume_run,
    save_run,
    write_config,
)
from sameo_model.training.config import TrainConfig
from sameo_model.training.embedding_cache import EmbeddingCache, fingerprint_encoder
from sameo_model.training.failures import UnreadableImages, check_finite
from sameo_model.training.interruption import Interruption, deferred_interrupt
from sameo_model.training.optimisation import MovingAverage, build_optimiser, set_learning_rate
from sameo_model.training.run_log import Meter, RunLog
from sameo_model.training.sample_plan import SamplePlan, TrainingSet
from sameo_model.training.samples import TrainingSamples, collate_step
from sameo_model.training.step import Batch, Network, build_step
from sameo_model.training.validation import ValidationResult

BEST_NAME = "best.safetensors"
GIGA = 1e9

Validate = Callable[[Any], ValidationResult]


def train(
    config: TrainConfig,
    model: Network,
    sources: Sequence[TrainingSet],
    validate: Validate | None = None,
) -> Network:
    """Train `model` in place as `config` says, continuing the run in `config.output` if any.

    The run folder receives `config.json`, `last.ckpt` (written whole or not at all, every
    `checkpoint_interval` steps, at Ctrl-C and at the end), `best.safetensors` (the network of the
    best validation), TensorBoard events and `metrics.jsonl`. Under `torchrun` every process calls
    this, and Ctrl-C loses the steps since the last checkpoint.

    Args:
        model: network with its initial weights; replaced by the checkpoint's when resuming.
        validate: called with the model every `val_interval` steps and at the end.

    Returns:
        `model`, trained, in eval mode; its moving average if there is one.

    Raises:
        ValueError: If `config.output` holds a run with another configuration or other data.
        FloatingPointError: If loss or gradients are not finite.
        RuntimeError: If more image files are unreadable than allowed.
        OSError: If checkpoint or log cannot be written.
        KeyboardInterrupt: If the user pressed Ctrl-C; the current step is saved.
    """
    return Trainer(config, model, sources, validate).run()


class Trainer:
    """One run of `train`."""

    def __init__(
        self,
        config: TrainConfig,
        model: Network,
        sources: Sequence[TrainingSet],
        validate: Validate | None = None,
    ) -> None:
        """Load the checkpoint if there is one, and set everything up; see `train`."""
        self.config = config
        self.validate = validate
        is_blind = isinstance(model, Sameo) and not model.has_visible_decoder
        if validate and config.best_metric == "miou_visible" and is_blind:
            raise _undefined_metric(config.best_metric)
        self.output = Path(config.output)
        self.output.mkdir(parents=True, exist_ok=True)
        self.fabric = start_fabric(config)
        # The networks hold no dropout, and batch statistics stay those of the pretrained
        # backbone, so the model is in eval mode throughout.
        self.model = model.eval()
        step_module = build_step(model, config)
        optimiser = build_optimiser(model, config.optimiser)
        if config.compile and isinstance(model, Sameo):
            compile_parts(model)
        self.module, self.optimiser = self.fabric.setup(step_module, optimiser)
        # Only now are the weights on their device, where what belongs to them must be too.
        average = None
        if config.optimiser.ema_decay:
            average = MovingAverage(model, config.optimiser.ema_decay)
        data = {f"train[{n}]": one.describe_content() for n, one in enumerate(sources)}
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        self.state = RunState(model, optimiser, data, average, scaler)
        resume_run(self.output, config, self.state)
        self.cache = self._open_cache()
        self.unreadable = UnreadableImages(config.max_unreadable)
        self.loader = self._build_loader(sources)

    def run(self) -> Network:
        """Do the steps that are left."""
        state, config = self.state, self.config
        is_first = self.fabric.is_global_zero
        if is_first:
            remove_leftovers(self.output)
            write_config(self.output, config)
        self.log = RunLog(
            self.output, first_step=state.step, num_steps=config.steps, is_silent=not is_first
        )
        try:
            with (
                explain_full_disk(self.output),
                deferred_interrupt(self.fabric.world_size == 1) as interruption,
            ):
                self._do_steps(Meter(), interruption)
        finally:
            self.log.close()
        if state.average:
            state.average.copy_into_model()
        return self.model

    def _do_steps(self, meter: Meter, interruption: Interruption) -> None:
        state, config = self.state, self.config
        for batches in _start_workers(self.loader):
            losses, num_images, num_instances = self._step(batches)
            state.step += 1
            is_last = state.step == config.steps
            self.log.advance()
            meter.add(losses, num_images, num_instances)
            if is_last or state.step % config.log_interval == 0:
                self.log.log_training(state.step, meter.take())
            # Before the checkpoint, so that none claims a validation that was not finished.
            if is_last or (config.val_interval and state.step % config.val_interval == 0):
                self._validate()
            is_stopped = interruption.is_asked
            if self.fabric.is_global_zero and (
                is_last or is_stopped or state.step % config.checkpoint_interval == 0
            ):
                save_run(self.output, config, state)
            if is_stopped and not is_last:
                raise KeyboardInterrupt

    def _step(self, batches: Sequence[Batch]) -> tuple[dict[str, float], int, int]:
        """Do one optimiser step.

        Returns:
            Losses, and the numbers of images and boxes of all processes.
        """
        config, step, world_size = self.config, self.state.step, self.fabric.world_size
        self.unreadable.check(batches)
        counts = torch.tensor([[b["num_images"], int(b["is_valid"].sum())] for b in batches]).sum(0)
        if world_size > 1:
            counts = cast(Tensor, self.fabric.all_reduce(counts, reduce_op="sum"))
        num_images, num_instances = counts.tolist()
        sums: dict[str, float] = {}
        for number, batch in enumerate(batches):
            # Every box of the step counts the same, however steps are split; processes average
            # their gradients, hence the number of processes.
            share = int(batch["is_valid"].sum()) / num_instances * world_size
            with self._without_sync(number + 1 < len(batches)):
                losses = self._losses(batch)
                self.fabric.backward(losses["total"] * share)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item() * share
        set_learning_rate(self.optimiser, config.optimiser, step, config.steps)
        sums["grad_norm"] = self._clip_gradients(batches)
        sums["lr"] = self.optimiser.param_groups[-1]["lr"]
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.state.average:
            self.state.average.update(step)
        return sums, num_images, num_instances

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        losses, encoded = self.module(self.fabric.to_device(batch))
        check_finite("the loss", losses["total"], self.state.step, [batch], self.output)
        if self.cache and len(encoded):
            is_new = (~batch["is_cached"]).tolist()
            paths = [path for path, new in zip(batch["paths"], is_new, strict=True) if new]
            for path, embedding in zip(paths, encoded.cpu().numpy(), strict=True):
                self.cache.write(Path(path), embedding)
        return losses

    def _clip_gradients(self, batches: Sequence[Batch]) -> float:
        """Scale gradients down and return their norm before that."""
        max_norm = self.config.optimiser.max_grad_norm or float("inf")
        clipped = self.fabric.clip_gradients(
            self.module, self.optimiser, max_norm=max_norm, error_if_nonfinite=False
        )
        norm = cast(Tensor, clipped)
        # In float16 gradients overflow now and then; the scaler skips such steps.
        if self.state.scaler is None:
            check_finite("the gradient", norm, self.state.step, batches, self.output)
        return float(norm)

    def _without_sync(self, enabled: bool) -> AbstractContextManager:
        if self.fabric.world_size == 1:
            return nullcontext()
        return self.fabric.no_backward_sync(self.module, enabled=enabled)

    def _validate(self) -> None:
        if self.validate is None:
            return
        if self.fabric.is_global_zero:
            average, step = self.state.average, self.state.step
            with average.applied() if average else nullcontext():
                result = self.validate(self.model)
                self.log.log_validation(step, result.scores)
                self.log.log_overlays(step, result.overlays)
                self._keep_best(result.scores.get(self.config.best_metric))
        self.fabric.barrier()

    def _keep_best(self, score: float | None) -> None:
        if score is None:
            raise _undefined_metric(self.config.best_metric)
        if self.state.best_score is None or score > self.state.best_score:
            self.state.best_score = score
            save_checkpoint(self.model, self.output / BEST_NAME)

    def _open_cache(self) -> EmbeddingCache | None:
        if not self.config.embedding_cache or isinstance(self.model, BoxDetector):
            return None
        return EmbeddingCache(
            self.config.embedding_cache,
            fingerprint_encoder(self.model, self.config.precision),
            self.config.embedding_cache_gb * GIGA,
            num_writers=self.fabric.world_size,
        )

    def _build_samples(
        self, sources: Sequence[TrainingSet]
    ) -> tuple[Dataset, Callable[[list[dict[str, Any]]], list[Batch]]]:
        """Return the samples, and how those of a step are joined."""
        config, side = self.config, self.model.image_size
        if isinstance(self.model, BoxDetector):
            boxes = BoxSamples(sources, config.boxes, image_size=side, seed=config.seed)
            return boxes, collate_boxes
        masks = TrainingSamples(
            sources,
            config.samples,
            image_size=side,
            seed=config.seed,
            framing=self.model.framing,
            cache=self.cache,
        )
        return masks, partial(collate_step, max_images=config.max_images_at_once)

    def _build_loader(self, sources: Sequence[TrainingSet]) -> DataLoader:
        config = self.config
        samples, collate = self._build_samples(sources)
        plan = SamplePlan(
            config,
            sources,
            first_step=self.state.step,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )
        return DataLoader(
            samples,
            batch_sampler=plan,  # type: ignore[arg-type]
            collate_fn=collate,
            num_workers=config.workers,
            worker_init_fn=_set_up_worker,
            prefetch_factor=4 if config.workers else None,
        )


def start_fabric(config: TrainConfig) -> Fabric:
    """Start Lightning Fabric on this process' device.

    Raises:
        ValueError: If the precision needs another device.
    """
    if config.precision == "16-mixed" and not torch.cuda.is_available():
        raise ValueError("precision 16-mixed needs a GPU, got the CPU; use bf16-mixed or 32-true")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator="auto",
        devices=local,
        num_nodes=world_size // local,
        # Which mask tokens get a gradient depends on the read-out.
        strategy="ddp_find_unused_parameters_true" if world_size > 1 else "auto",
        precision=config.precision,
    )
    fabric.launch()
    torch.manual_seed(config.seed)
    return fabric


def compile_parts(model: Sameo) -> None:
    """Compile encoder and decoders in place, so that names of weights stay."""
    model.image_encoder.compile()
    # The number of boxes differs from step to step.
    model.mask_decoder.compile(dynamic=True)
    if model.visible_decoder is not None:
        model.visible_decoder.compile(dynamic=True)


def _undefined_metric(name: str) -> ValueError:
    return ValueError(
        f"best_metric must be a score that validation gives, got {name}, which is undefined for "
        "this network and these images; choose another one"
    )


def _start_workers(loader: DataLoader[Any]) -> Iterator[Any]:
    """Iterate over a loader whose workers use one thread of OpenCV each.

    OpenCV's threads end before the fork: a worker that inherited them would wait for them for ever.
    """
    num_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return iter(loader)
    finally:
        cv2.setNumThreads(num_threads)


def _set_up_worker(worker: int) -> None:
    # Ctrl-C in a terminal reaches workers too, but the current step still needs them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
