"""Scores of detections: probabilities as they are, percentages as fractions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_SLACK = 1e-3  # what rounding may add to a probability

PERCENT_RULE = "scores must all be percentages or lie in [0, 1]"


def scores_to_fractions(scores: Sequence[float]) -> tuple[npt.NDArray[np.float64], bool]:
    """Bring the scores of one file or message to [0, 1].

    They are percentages if none is negative or above 100, the largest is above 2, and at least
    half of them are above 1: a detector's percentages rarely lie lower.

    Args:
        scores: N numbers; NaN is unknown.

    Returns:
        float64 (N,) in [0, 1], NaN where a score is unknown, or neither a probability nor a
        percentage; and whether they were percentages.
    """
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    known = values[~np.isnan(values)]
    is_percent = bool(
        known.size
        and known.max() > 2
        and known.min() >= 0
        and known.max() <= 100
        and 2 * np.count_nonzero(known > 1) >= known.size
    )
    if is_percent:
        values = values / 100
    is_usable = (values >= -_SLACK) & (values <= 1 + _SLACK)
    return np.where(is_usable, values.clip(0, 1), np.nan), is_percent
