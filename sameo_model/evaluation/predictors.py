"""Open the model that is to be scored, on the backend that was asked for."""

from __future__ import annotations

from sameo_model.runtime import Predictor, load_predictor
from sameo_model.runtime.backends.base import BACKENDS

BACKEND_NAMES = ("auto", "torch", *BACKENDS)


def open_predictor(model: str | None, backend: str, threads: int | None = None) -> Predictor:
    """Load a model.

    Args:
        model: Bundle folder or name, with `torch` also a checkpoint file; None is the bundled
            `sameo_lite`.
        backend: One of `BACKEND_NAMES`.
        threads: Number of CPU threads of the runtime's backends; None leaves it to them.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If model or backend are not known or damaged.
        BackendUnavailableError: If the backend cannot run here.
    """
    if backend == "torch":
        from sameo_model.evaluation.torch_predictor import load_torch_predictor

        return load_torch_predictor(model)
    return load_predictor(model, backend, threads=threads)
