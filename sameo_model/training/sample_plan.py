"""Which images and instances each step takes; a function of configuration and step alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np

from sameo_model.data.index import IndexedDataset
from sameo_model.training.config import TrainConfig


@dataclass(frozen=True)
class TrainingSet:
    """Images of one data set."""

    images: IndexedDataset  # what is left of the set
    # relative share of the samples with `mixing: weights` (0: the number of images)
    weight: float = 0.0
    label: str = ""  # name and folder
    num_held_out: int = 0  # images that `held_out` left out
    is_complete: bool = True  # whether every object of each image is labelled

    def describe_content(self) -> str:
        """Return numbers and a digest that differ if images or instances are others."""
        images = self.images
        shown = images.instance_table[images.shown_instances()]
        ids, counts = images.image_table["image_id"], images.num_instances_per_image()
        keys = ("annotation_id", "amodal_area", "visible_area", "amodal_box_xywh")
        columns = (ids[images.image_rows], counts, *(shown[key] for key in keys))
        digest = hashlib.sha256(b"".join(column.tobytes() for column in columns))
        return f"{len(images)} images, {len(shown)} instances, digest {digest.hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to prepare."""

    stream: tuple[int, ...]  # numbers that, with the run's seed, seed the sample's randomness
    source: int
    image_index: int
    # indices into the image's instances; None leaves the choice to chance
    instance_indices: tuple[int, ...] | None = None


class SamplePlan:
    """The draws of one process for each step from `first_step` on; a DataLoader's batch sampler.

    Any step can be planned without what came before it, so a resumed run sees the samples that it
    would have seen.
    """

    def __init__(
        self,
        config: TrainConfig,
        sources: Sequence[TrainingSet],
        *,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Plan for the process `rank` of `world_size`.

        Raises:
            ValueError: If the processes cannot share a step evenly, or there are no images.
        """
        if not any(len(source.images) for source in sources):
            raise ValueError("the training set must hold at least one image, got none")
        key = "images_per_step" if config.mixing == "weights" else "prompts_per_step"
        if getattr(config, key) % world_size:
            raise ValueError(
                f"{key} must be a multiple of the number of processes, got "
                f"{getattr(config, key)} and {world_size}"
            )
        self.config = config
        self.sources = sources
        self.first_step = first_step
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.config.steps - self.first_step

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this process' draws of one step after the other."""
        return self._by_weights() if self.config.mixing == "weights" else self._by_log_size()

    def _by_weights(self) -> Iterator[list[Draw]]:
        sizes = np.array([len(source.images) for source in self.sources])
        probabilities = draw_probabilities(self.config, self.sources)
        share = self.config.images_per_step // self.world_size
        for step in range(self.first_step, self.config.steps):
            start = step * self.config.images_per_step + self.rank * share
            yield [self._draw(n, sizes, probabilities) for n in range(start, start + share)]

    def _draw(self, number: int, sizes: np.ndarray, probabilities: np.ndarray) -> Draw:
        # The trailing 1 keeps this stream apart from the one that changes the sample.
        generator = np.random.default_rng([self.config.seed, number, 1])
        source = int(generator.choice(len(sizes), p=probabilities))
        return Draw((number,), source, int(generator.integers(sizes[source])))

    def _by_log_size(self) -> Iterator[list[Draw]]:
        share = self.config.prompts_per_step // self.world_size
        start = self.rank * share
        for draws in islice(self._log_size_steps(), self.first_step, self.config.steps):
            yield _cut(draws, start, start + share)

    def _log_size_steps(self) -> Iterator[list[Draw]]:
        """Yield the draws of all processes for each step from 0 on (paper section 4.3)."""
        config = self.config
        probabilities = draw_probabilities(config, self.sources)
        seeds = ((config.seed, number) for number in range(len(self.sources)))
        rounds = [
            _rounds(source.images, seed) for source, seed in zip(self.sources, seeds, strict=True)
        ]
        for step in count():
            generator = np.random.default_rng([config.seed, step])
            number = int(generator.choice(len(rounds), p=probabilities))
            draws, missing = [], config.prompts_per_step
            while missing:
                image, size = next(rounds[number])
                num_chosen = min(size, config.samples.boxes_per_image, missing)
                chosen = np.sort(generator.choice(size, num_chosen, replace=False))
                draws.append(Draw((step, number, image), number, image, tuple(chosen.tolist())))
                missing -= num_chosen
            yield draws


def _rounds(images: IndexedDataset, seed: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield index and number of instances of images that show some, each round in a new order."""
    counts = images.num_instances_per_image()
    shown = np.flatnonzero(counts)
    for number in count():
        # The trailing 1 keeps these streams apart from those of the steps.
        generator = np.random.default_rng([*seed, number, 1])
        for index in generator.permutation(shown).tolist():
            yield index, int(counts[index])


def _cut(draws: list[Draw], start: int, stop: int) -> list[Draw]:
    """Return the prompts of a step from number `start` to before `stop`."""
    share = []
    for draw in draws:
        indices = draw.instance_indices or ()
        if kept := indices[max(start, 0) : max(stop, 0)]:
            share.append(replace(draw, instance_indices=kept))
        start, stop = start - len(indices), stop - len(indices)
    return share


def draw_probabilities(config: TrainConfig, sources: Sequence[TrainingSet]) -> np.ndarray:
    """Return float (S,), the share of the images, with `log_size` of the steps, of each source.

    Raises:
        ValueError: If a source is too small for `mixing: log_size`.
    """
    if config.mixing == "weights":
        sizes = np.array([len(source.images) for source in sources])
        given = np.array([source.weight for source in sources])
        weights = np.where(sizes > 0, np.where(given > 0, given, sizes), 0.0)
        return weights / weights.sum()
    counts = [int(source.images.num_instances_per_image().sum()) for source in sources]
    for source, size in zip(sources, counts, strict=True):
        if size < 2:
            raise ValueError(
                f"data set {source.label} must have at least 2 instances to be drawn with "
                f"probability log(size) / sum of logs, got {size}; leave it out"
            )
    return np.log(counts) / np.log(counts).sum()
