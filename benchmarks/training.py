r"""How many instances per second training takes, against a plain loop.

    python -m benchmarks.training --data data/scenes/train --image-size 512 --json speed.json

The plain loop is what one writes first: every instance is its own sample, so an image is loaded,
resized and encoded once for each of its boxes, one after the other with the training. Both loops
train the mask decoder of the same network with the same loss and optimiser on the same images.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from sameo_model.modeling.presets import build_sameo
from sameo_model.modeling.sameo import Sameo
from sameo_model.runtime.files import write_json
from sameo_model.training.config import TrainConfig
from sameo_model.training.config_loading import config_from_dict
from sameo_model.training.optimisation import build_optimiser
from sameo_model.training.run_log import METRICS_NAME
from sameo_model.training.sample_plan import Draw, TrainingSet
from sameo_model.training.samples import TrainingSamples, collate
from sameo_model.training.setup import open_sources
from sameo_model.training.step import TrainingStep
from sameo_model.training.trainer import train
from sameo_model.training.validation import ValidationResult

Clock = Callable[[], float]


def measure_plain_loop(
    config: TrainConfig,
    model: Sameo,
    sources: Sequence[TrainingSet],
    clock: Clock = time.perf_counter,
) -> float:
    """Return instances per second of the plain loop over the second half of `config.steps`."""
    fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)
    optimiser = build_optimiser(model, config.optimiser)
    module, optimiser = fabric.setup(TrainingStep(model, config), optimiser)
    samples = TrainingSamples(sources, config.samples, image_size=model.image_size, seed=0)
    draws = _single_instances(sources)
    num_boxes = config.images_per_step * config.samples.boxes_per_image
    started = clock()
    for step in range(config.steps):
        if step == config.steps // 2:
            started = clock()
        batch = collate([samples[next(draws)] for _ in range(num_boxes)])
        losses, _ = module(fabric.to_device(batch))
        fabric.backward(losses["total"])
        optimiser.step()
        optimiser.zero_grad()
        losses["total"].item()
    elapsed_s = clock() - started
    return (config.steps - config.steps // 2) * num_boxes / elapsed_s


def _single_instances(sources: Sequence[TrainingSet]) -> Iterator[Draw]:
    while True:
        for source_number, source in enumerate(sources):
            for image_index in range(len(source.images)):
                for row in range(len(source.images[image_index].instances)):
                    stream = (source_number, image_index, row)
                    yield Draw(stream, source_number, image_index, (row,))


def measure_trainer(
    config: TrainConfig,
    model: Sameo,
    sources: Sequence[TrainingSet],
    clock: Clock = time.perf_counter,
) -> float:
    """Return instances per second of `train` over the second half of `config.steps`."""
    half = config.steps // 2
    times_s = []

    def take_time(_: Sameo) -> ValidationResult:
        times_s.append(clock())
        return ValidationResult({config.best_metric: 0.0})

    train(dataclasses.replace(config, val_interval=half), model, sources, take_time)
    lines = map(json.loads, (Path(config.output) / METRICS_NAME).read_text().splitlines())
    last = [line for line in lines if "train/images_per_s" in line][-1]
    boxes_per_image = last["train/instances_per_s"] / last["train/images_per_s"]
    num_instances = (config.steps - half) * config.images_per_step * boxes_per_image
    return num_instances / (times_s[-1] - times_s[0])


def measure_all(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Measure the plain loop, `train`, and `train` from a full cache, one after the other."""
    rates = {}
    clock = time.process_time if options.processor_time else time.perf_counter
    for name, changes in (
        ("plain loop, encodes once per instance", {}),
        ("train", {}),
        ("train, filling the cache", {"embedding_cache": str(folder / "cache")}),
        ("train, cached embeddings", {"embedding_cache": str(folder / "cache")}),
    ):
        config = _make_config(options, str(folder / name), changes)
        sources = open_sources(config.train)
        model = build_sameo(options.preset, options.image_size or None)
        measure = measure_plain_loop if name.startswith("plain") else measure_trainer
        rates[name] = measure(config, model, sources, clock)
    del rates["train, filling the cache"]
    return rates


def _make_config(options: argparse.Namespace, output: str, changes: dict[str, Any]) -> TrainConfig:
    return config_from_dict(
        {
            "train": [{"root": str(options.data)}],
            "preset": options.preset,
            "image_size": options.image_size,
            "samples": {"boxes_per_image": options.boxes, "augment": False},
            "images_per_step": options.images,
            "steps": 2 * options.steps,
            "log_interval": options.steps,
            "checkpoint_interval": 2 * options.steps,
            "precision": options.precision,
            "workers": 0 if options.processor_time else options.workers,
            "output": output,
            **changes,
        }
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="data set in amodal COCO form")
    # Networks for windows share no encoding between boxes, and count windows as images.
    add(
        "--preset",
        choices=("efficient_sam_vitt", "efficient_sam_vits"),
        default="efficient_sam_vitt",
    )
    add("--image-size", type=int, default=0, help="default: the preset's own")
    add("--images", type=int, default=4, help="images per step (default 4)")
    add("--boxes", type=int, default=8, help="most boxes per image (default 8)")
    add("--steps", type=int, default=10, help="measured steps, after as many to warm up")
    add("--precision", default="bf16-mixed")
    add("--workers", type=int, default=1)
    add(
        "--processor-time",
        action="store_true",
        help="count processor seconds, without workers: for machines that are busy with other work",
    )
    add("--json", type=Path, metavar="OUT")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rates = measure_all(options, Path(folder))
    slowest = rates["plain loop, encodes once per instance"]
    print("| loop | instances per second | ratio |\n| --- | --- | --- |")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.1f} | {rate / slowest:.1f} |")
    conditions = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name != "json"
    }
    conditions |= {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print("\n" + ", ".join(f"{name} {value}" for name, value in conditions.items()))
    if options.json:
        write_json(options.json, {"rates": rates, "conditions": conditions})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
