"""Confidence intervals and paired tests by resampling images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
DEFAULT_REPLICATES = 1000


@dataclass(frozen=True)
class Difference:
    """A difference with its uncertainty."""

    value: float
    low: float  # lower end of its 95 % confidence interval
    high: float
    # probability of a difference at least this far from 0 in either direction if there was none,
    # estimated from the replicates on either side of 0
    p_value: float


def draw_weights(num_images: int, replicates: int, seed: int = 0) -> np.ndarray:
    """Draw how often each image is in each replicate.

    Returns:
        float64 (R, I), each row adds up to I.
    """
    generator = np.random.default_rng(seed)
    shares = np.full(num_images, 1 / num_images)
    return generator.multinomial(num_images, shares, size=replicates).astype(float)


def interval(replicates: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of replicates, float (R,); NaN ones do not count."""
    known = replicates[~np.isnan(replicates)]
    if not known.size:
        return float("nan"), float("nan")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def difference(value: float, replicates: np.ndarray) -> Difference:
    """Judge a difference by its replicates.

    Args:
        value: The difference on the whole data set.
        replicates: float (R,), the difference in each replicate.
    """
    known = replicates[~np.isnan(replicates)]
    low, high = interval(replicates)
    # One more on either side: no finite number of replicates proves a probability of 0.
    below, above = (known <= 0).sum() + 1, (known >= 0).sum() + 1
    p_value = min(1.0, 2 * float(min(below, above)) / (len(known) + 1))
    return Difference(value, low, high, p_value)


def clustered_mean(values: np.ndarray, clusters: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function of image weights that averages values which belong to images.

    Args:
        values: float (N,); NaN values do not count.
        clusters: int (N,), position of the image of each value.
    """
    known = ~np.isnan(values)
    values, clusters = values[known], clusters[known]

    def mean(weights: np.ndarray) -> float:
        weight = weights[clusters]
        total = weight.sum()
        return float(weight @ values / total) if total else float("nan")

    return mean


def resample(function: Callable[[np.ndarray], float], weights: np.ndarray) -> np.ndarray:
    """Return the function's value for each row of weights (R, I), float (R,)."""
    return np.array([function(row) for row in weights])
