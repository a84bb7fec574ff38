"""What differs between training masks and training boxes, chosen by the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.modeling.sameo import Sameo
from sameo_model.training.box_samples import BoxSamples, collate_boxes
from sameo_model.training.box_step import BoxTrainingStep
from sameo_model.training.config import TrainConfig
from sameo_model.training.embedding_cache import EmbeddingCache
from sameo_model.training.sample_plan import TrainingSet
from sameo_model.training.samples import TrainingSamples, collate_step
from sameo_model.training.step import TrainingStep

Network = Sameo | BoxDetector
Collate = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def build_step(model: Network, config: TrainConfig) -> nn.Module:
    """Return the module that turns a batch into losses."""
    if isinstance(model, BoxDetector):
        return BoxTrainingStep(model, config)
    return TrainingStep(model, config)


def build_samples(
    model: Network,
    config: TrainConfig,
    sources: Sequence[TrainingSet],
    cache: EmbeddingCache | None,
) -> tuple[Dataset, Collate]:
    """Return the samples of a run, and how those of a step are joined."""
    if isinstance(model, BoxDetector):
        samples = BoxSamples(sources, config.boxes, image_size=model.image_size, seed=config.seed)
        return samples, collate_boxes
    mask_samples = TrainingSamples(
        sources,
        config.samples,
        image_size=model.image_size,
        seed=config.seed,
        framing=model.framing,
        cache=cache,
    )
    return mask_samples, partial(collate_step, max_images=config.max_images_at_once)
