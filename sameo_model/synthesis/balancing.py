"""Choose views so that all rates of occlusion are common enough to learn from."""

from __future__ import annotations

import numpy as np

# Rates of occlusion (lower end of each bin) and the share of instances that each should have.
BINS = (0.0, 0.05, 0.3, 0.5)
WANTED = (0.4, 0.2, 0.2, 0.2)
CANDIDATES_PER_VIEW = 3


def choose_views(rates: list[list[float]], num_views: int) -> list[int]:
    """Return which views to take so that their instances together come near the wanted shares.

    Views are added one by one, each time the one that brings the shares nearest.

    Args:
        rates: Occlusion rates in [0, 1] of each candidate's instances.

    Returns:
        Indices of candidates, in rising order.
    """
    counts = np.array([np.bincount(np.digitize(r, BINS[1:]), minlength=len(BINS)) for r in rates])
    wanted, chosen = np.array(WANTED), list[int]()
    total = np.zeros(len(BINS))
    while len(chosen) < min(num_views, len(rates)):
        sums = total + counts
        distance = np.abs(sums / np.maximum(sums.sum(axis=1, keepdims=True), 1) - wanted).sum(
            axis=1
        )
        distance[chosen] = np.inf
        best = int(distance.argmin())
        chosen.append(best)
        total = sums[best]
    return sorted(chosen)
