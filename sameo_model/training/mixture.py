"""Say what a mixture of data sets holds and how often a run sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sameo_model.training.config import TrainConfig
from sameo_model.training.sample_plan import TrainingSet, draw_probabilities


@dataclass(frozen=True)
class Share:
    """What a run takes of one data set."""

    label: str  # name and folder of the set
    num_images: int  # images that are left after filtering
    num_instances: int  # instances on them
    num_held_out: int  # images that `held_out` left out
    probability: float  # share of the steps (`mixing: log_size`) or of the images (`weights`)
    rounds: float  # how often the run sees each image on average
    prompts_per_instance: float  # how often it prompts for each instance on average


def mixture_shares(config: TrainConfig, sources: Sequence[TrainingSet]) -> list[Share]:
    """Return what a whole run takes of each source, as expected values.

    Args:
        sources: Its training data, each with at least one image.

    Raises:
        ValueError: If a source is too small for `mixing: log_size`.
    """
    most = config.samples.boxes_per_image
    by_size = config.mixing == "log_size"
    probabilities = draw_probabilities(config, sources).tolist()
    shares = []
    for source, probability in zip(sources, probabilities, strict=True):
        counts = source.images.num_instances_per_image()
        prompts_per_round = int(np.minimum(counts, most).sum())
        per_step = (
            config.prompts_per_step / prompts_per_round
            if by_size
            else config.images_per_step / len(counts)
        )
        rounds = config.steps * probability * per_step
        shares.append(
            Share(
                source.label,
                len(counts),
                int(counts.sum()),
                source.num_held_out,
                probability,
                rounds,
                rounds * prompts_per_round / int(counts.sum()),
            )
        )
    return shares


def describe_mixture(config: TrainConfig, sources: Sequence[TrainingSet]) -> Iterator[str]:
    """Yield a table of the mixture line by line; see `Share`."""
    shares = mixture_shares(config, sources)
    width = max(len("training data"), *(len(share.label) for share in shares))
    yield (
        f"{'training data':{width}s} {'images':>9s} {'instances':>10s} {'held out':>9s} "
        f"{'share':>7s} {'rounds':>8s} {'prompts/instance':>17s}"
    )
    for share in shares:
        yield (
            f"{share.label:{width}s} {share.num_images:9,d} {share.num_instances:10,d} "
            f"{share.num_held_out:9,d} {100 * share.probability:6.1f}% {share.rounds:8.2f} "
            f"{share.prompts_per_instance:17.2f}"
        )
    yield (
        f"rounds of the images over {config.steps:,} steps, with at most "
        f"{config.samples.boxes_per_image} boxes of an image at a time; held out: images that "
        "show a photograph of held_out"
    )
