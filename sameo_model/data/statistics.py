"""Table 1 of the paper for any data set, and the distribution of occlusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sameo_model.data.catalogue import Table1Row
from sameo_model.data.index import IndexedDataset
from sameo_model.data.index_format import InstanceFlag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_BINS = 20


@dataclass(frozen=True)
class DatasetStatistics:
    """Numbers of Table 1; shares are in [0, 1]."""

    num_images: int  # images that show at least one instance
    num_images_without_instances: int  # images that show none
    num_instances: int  # all instances
    num_unknown: int  # instances whose amodal or visible mask is unknown; they do not count below
    # share of occluded instances: the visible mask differs from the amodal one in any pixel
    poi: float | None
    mean_ror: float | None  # mean share of the object that is hidden, over occluded instances
    # how many occluded instances fall in each of 20 equal bins of that share
    histogram: tuple[int, ...]


def compute_statistics(dataset: IndexedDataset) -> DatasetStatistics:
    """Count a data set or view; masks are not decoded."""
    counts = dataset.num_instances_per_image()
    table = dataset.instance_table
    shown = dataset.shown_instances()
    both = InstanceFlag.HAS_AMODAL | InstanceFlag.HAS_VISIBLE
    is_known = shown & ((table["flags"] & both) == both)
    amodal_area = table["amodal_area"][is_known].astype(np.float64)
    hidden_area = amodal_area - table["visible_area"][is_known]
    is_occluded = hidden_area > 0
    rates = hidden_area[is_occluded] / amodal_area[is_occluded]
    histogram, _ = np.histogram(rates, bins=NUM_BINS, range=(0, 1))
    return DatasetStatistics(
        num_images=int((counts > 0).sum()),
        num_images_without_instances=int((counts == 0).sum()),
        num_instances=int(shown.sum()),
        num_unknown=int(shown.sum() - is_known.sum()),
        poi=float(is_occluded.mean()) if len(is_occluded) else None,
        mean_ror=float(rates.mean()) if len(rates) else None,
        histogram=tuple(histogram.tolist()),
    )


def compare_with_paper(statistics: DatasetStatistics, row: Table1Row) -> dict[str, dict[str, Any]]:
    """Return `{key: {measured, paper, difference}}` for the four numbers of Table 1."""
    comparison = {}
    for key, paper in asdict(row).items():
        measured = getattr(statistics, key)
        difference = None if measured is None else measured - paper
        comparison[key] = {"measured": measured, "paper": paper, "difference": difference}
    return comparison


def draw_histogram(histogram: Sequence[int], title: str) -> Figure:
    """Draw the distribution of occlusion over occluded instances.

    Args:
        histogram: Counts over equal bins of [0, 1].
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.stairs(histogram, np.linspace(0, 1, len(histogram) + 1), fill=True)
    axes.set(title=title, xlabel="hidden share of the object, occluded instances", xlim=(0, 1))
    axes.set_ylabel("instances")
    return figure
