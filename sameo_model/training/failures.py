"""What stops a run: values that are not finite, too many unreadable images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sameo_model.training.step import Batch

log = logging.getLogger(__name__)


class UnreadableImages:
    """Names and counts image files that samples could not use."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reasons: dict[str, str] = {}

    def check(self, batches: Sequence[Batch]) -> None:
        """Take in what the samples of a step met.

        Raises:
            RuntimeError: If the limit is passed.
        """
        for batch in batches:
            for path, reason in batch["unreadable"].items():
                if path not in self.reasons:
                    self.reasons[path] = reason
                    log.warning("skipped image %d: %s", len(self.reasons), reason)
        if len(self.reasons) > self.limit:
            raise RuntimeError(
                f"at most {self.limit} images may be unreadable, got {len(self.reasons)}: "
                f"{', '.join(self.reasons)}; repair them or raise max_unreadable, then start "
                "again to resume"
            )


def check_finite(
    subject: str, value: Tensor, step: int, batches: Sequence[Batch], output: Path
) -> None:
    """Stop the run at a value that is not finite, and keep the samples that led to it.

    Args:
        step: optimiser step, from 0.

    Raises:
        FloatingPointError: If the value is not finite.
    """
    if torch.isfinite(value):
        return
    path = output / f"failed_step_{step}.pt"
    try:
        torch.save(list(batches), path)
        kept = f"its samples are in {path}"
    except (OSError, RuntimeError) as error:
        kept = f"its samples could not be saved ({error})"
    images = ", ".join(sorted({name for batch in batches for name in batch["paths"]}))
    raise FloatingPointError(
        f"{subject} must be finite, got {value.item()} at step {step} with {images}; {kept}; lower "
        "optimiser.lr or set optimiser.max_grad_norm, then start again to resume"
    )
