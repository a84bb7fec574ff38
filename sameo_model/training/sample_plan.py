"""Which images and instances each step takes; a function of configuration and step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sameo_model.data.index import IndexedDataset
from sameo_model.data.mixing import MixingSampler
from sameo_model.training.config import TrainConfig


@dataclass(frozen=True)
class Source:
    """Images of one data set.

    Attributes:
        images: what is left of the set.
        weight: relative share of the samples with `mixing: weights` (0: the number of images).
        label: name and folder.
        num_held_out: images that `held_out` left out.
        is_complete: whether every object of each picture is labelled.
    """

    images: IndexedDataset
    weight: float = 0.0
    label: str = ""
    num_held_out: int = 0
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to prepare.

    Attributes:
        stream: numbers that, with the run's seed, seed the sample's randomness.
        source: index of the source.
        image_index: index of the image in the source.
        instance_indices: indices into the image's instances; None leaves the choice to chance.
    """

    stream: tuple[int, ...]
    source: int
    image_index: int
    instance_indices: tuple[int, ...] | None = None


class SamplePlan:
    """The draws of one process for each step from `first_step` on; a DataLoader's batch sampler.

    Any step can be planned without what came before it, so a resumed run sees the samples that it
    would have seen.
    """

    def __init__(
        self,
        config: TrainConfig,
        sources: Sequence[Source],
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
        probabilities = weight_probabilities(self.sources)
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
        sampler = log_size_sampler(self.config, self.sources, self.rank, self.world_size)
        sampler.seek(self.first_step)
        steps = range(self.first_step, self.config.steps)
        for step, prompted in zip(steps, sampler, strict=False):
            yield [
                Draw(
                    (step, int(item.dataset[:3]), item.image_index),
                    int(item.dataset[:3]),
                    item.image_index,
                    item.instance_indices,
                )
                for item in prompted
            ]


def weight_probabilities(sources: Sequence[Source]) -> np.ndarray:
    """Return float (S,), the share of the samples that each source has with its weight."""
    sizes = np.array([len(source.images) for source in sources])
    given = np.array([source.weight for source in sources])
    weights = np.where(sizes > 0, np.where(given > 0, given, sizes), 0.0)
    return weights / weights.sum()


def log_size_sampler(
    config: TrainConfig, sources: Sequence[Source], rank: int = 0, world_size: int = 1
) -> MixingSampler:
    """Return the sampler of `mixing: log_size`; its data sets are named `<number> <label>`."""
    # Numbers first: the sampler orders data sets by name, and names may repeat.
    keys = [f"{i:03d} {source.label}" for i, source in enumerate(sources)]
    return MixingSampler(
        {key: source.images for key, source in zip(keys, sources, strict=True)},
        batch_size=config.prompts_per_step,
        instances_per_image=config.samples.boxes_per_image,
        seed=config.seed,
        rank=rank,
        world_size=world_size,
    )
