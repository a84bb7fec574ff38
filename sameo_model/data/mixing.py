"""Mix data sets for zero-shot training (paper section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from sameo_model.data.index import IndexedDataset
from sameo_model.data.index_format import NO_COCO_ID


@dataclass(frozen=True, slots=True)
class BatchImage:
    """Some instances of one image, served by one encoding.

    Attributes:
        dataset: Key of the data set in the sampler.
        image_index: Index of the image in that data set.
        instance_indices: Indices into the image's `instances`, ascending.
    """

    dataset: str
    image_index: int
    instance_indices: tuple[int, ...]


class MixingSampler:
    """Endless batches, each from one data set, drawn with probability log(size) / sum of logs.

    Batch n depends on the arguments and n alone: every rank and every run plans the same batches,
    and each rank keeps its share of the prompts. Within a data set, images come in a new random
    order each time all of them were drawn. An instance serves as `batch_sampler` of a DataLoader.
    """

    def __init__(
        self,
        datasets: Mapping[str, IndexedDataset],
        *,
        batch_size: int,
        instances_per_image: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Prepare batches from step 0 on.

        Args:
            datasets: Data sets by name, held-out ones left out (`without_photographs`).
            batch_size: Prompts per step over all ranks.
            instances_per_image: Most prompts K that one image gets in a batch.
            seed: Chooses the sequence of batches.
            rank: Which share of each batch is yielded.
            world_size: Number of shares; divides `batch_size`.

        Raises:
            ValueError: If an argument is out of range or a data set has fewer than two members,
                whose probability would be 0.
        """
        if batch_size < 1 or instances_per_image < 1:
            raise ValueError(
                f"batch_size and instances_per_image must be at least 1, got {batch_size} and "
                f"{instances_per_image}"
            )
        if not 0 <= rank < world_size or batch_size % world_size:
            raise ValueError(
                f"world_size must divide batch_size and exceed rank, got batch_size {batch_size}, "
                f"world_size {world_size}, rank {rank}"
            )
        self._names = sorted(datasets)
        self._pools = [_Pool.of(datasets[name], seed, i) for i, name in enumerate(self._names)]
        self.probabilities = self._probabilities()
        self._batch_size = batch_size
        self._instances_per_image = instances_per_image
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self.step = 0

    def _probabilities(self) -> dict[str, float]:
        if not self._names:
            raise ValueError("datasets must name at least one data set, got none")
        sizes = [pool.counts.sum() for pool in self._pools]
        for name, count in zip(self._names, sizes, strict=True):
            if count < 2:
                raise ValueError(
                    f"data set {name} must have at least 2 instances to be drawn with probability "
                    f"log(size) / sum of logs, got {count}; leave it out"
                )
        logs = np.log(sizes)
        return dict(zip(self._names, (logs / logs.sum()).tolist(), strict=True))

    def __iter__(self) -> Iterator[list[BatchImage]]:
        """Yield this rank's share of one batch after the other, without end."""
        while True:
            share = self._batch_size // self._world_size
            yield _cut(self._plan(), self._rank * share, (self._rank + 1) * share)

    def seek(self, step: int) -> None:
        """Go to the batch of a step, so that a resumed run sees the samples it would have seen.

        A DataLoader plans ahead of what training has used, so the step to resume from is the
        trainer's, not `self.step`.
        """
        for pool in self._pools:
            pool.rewind()
        self.step = 0
        while self.step < step:
            self._plan()

    def _plan(self) -> list[BatchImage]:
        """Return the next batch of all ranks."""
        generator = np.random.default_rng([self._seed, self.step])
        self.step += 1
        number = generator.choice(len(self._names), p=list(self.probabilities.values()))
        batch: list[BatchImage] = []
        missing = self._batch_size
        while missing:
            image_index, count = self._pools[number].next_image()
            num_chosen = min(count, self._instances_per_image, missing)
            chosen = np.sort(generator.choice(count, num_chosen, replace=False))
            batch.append(BatchImage(self._names[number], image_index, tuple(chosen.tolist())))
            missing -= num_chosen
        return batch


@dataclass
class _Pool:
    """The images of one data set that show instances, in an order that changes each round."""

    image_indices: np.ndarray
    counts: np.ndarray
    seed: tuple[int, ...]
    round: int = 0
    position: int = 0
    _order: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @staticmethod
    def of(dataset: IndexedDataset, seed: int, number: int) -> _Pool:
        counts = dataset.num_instances_per_image()
        image_indices = np.flatnonzero(counts)
        return _Pool(image_indices, counts[image_indices], (seed, number))

    def next_image(self) -> tuple[int, int]:
        """Return index and number of instances of the next image."""
        if self.position == len(self._order):
            # The trailing 1 keeps these streams apart from those of the batches.
            generator = np.random.default_rng([*self.seed, self.round, 1])
            self._order = generator.permutation(len(self.image_indices))
            self.round += 1
            self.position = 0
        row = self._order[self.position]
        self.position += 1
        return int(self.image_indices[row]), int(self.counts[row])

    def rewind(self) -> None:
        """Start over."""
        self._order = self._order[:0]
        self.round = self.position = 0


def _cut(batch: list[BatchImage], start: int, stop: int) -> list[BatchImage]:
    """Return the prompts from number `start` to before `stop`."""
    share = []
    for item in batch:
        num_prompts = len(item.instance_indices)
        kept = item.instance_indices[max(start, 0) : max(stop, 0)]
        if kept:
            share.append(replace(item, instance_indices=kept))
        start, stop = start - num_prompts, stop - num_prompts
    return share


def coco_photographs(dataset: IndexedDataset) -> set[int]:
    """Return the numbers of the COCO photographs that a data set shows."""
    ids = dataset.image_table["coco_image_ids"][dataset.image_rows]
    return set(np.unique(ids).tolist()) - {NO_COCO_ID}


def without_photographs(dataset: IndexedDataset, coco_image_ids: set[int]) -> IndexedDataset:
    """Return a view of a data set without the images that show some COCO photographs."""
    shown = np.isin(dataset.image_table["coco_image_ids"], list(coco_image_ids))
    keep_all = np.ones(len(dataset.instance_table), dtype=bool)
    return dataset.select(keep_all, np.logical_not(shown.any(axis=1)))
