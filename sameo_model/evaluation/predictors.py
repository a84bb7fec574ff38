"""Open the model that is to be scored, on the backend that was asked for."""

from __future__ import annotations

from sameo_model.runtime import Predictor, load_predictor
from sameo_model.runtime.backends.base import BACKENDS
from sameo_model.runtime.bundle import MODEL_JSON, find_bundle, sha256_of

BACKEND_NAMES = ("auto", "torch", *BACKENDS)
PRECISIONS = ("f32", "bf16", "f16")


def open_predictor(
    model: str | None,
    backend: str,
    *,
    threads: int | None = None,
    precision: str | None = None,
    framing: str | None = None,
) -> Predictor:
    """Load a model.

    Args:
        model: Bundle folder or name, with `torch` also a checkpoint file; None is the bundled
            `sameo_lite`.
        backend: One of `BACKEND_NAMES`.
        threads: Number of CPU threads of the runtime's backends; None leaves it to them.
        precision: One of `PRECISIONS`; None leaves it to the backend. PyTorch knows f32 alone.
        framing: `image`, `window`, or None for the model's own.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If model or backend are not known or damaged, or the backend cannot run in the
            precision.
        BackendUnavailableError: If the backend cannot run here.
    """
    if backend == "torch":
        if precision not in (None, "f32"):
            raise ValueError(
                f"backend torch evaluates in precision f32, not '{precision}'; leave --precision "
                f"out, or use --backend openvino"
            )
        from sameo_model.evaluation.torch_predictor import load_torch_predictor

        return load_torch_predictor(model, framing=framing)
    return load_predictor(model, backend, precision=precision, threads=threads, framing=framing)


def describe_predictor(predictor: Predictor, model: str | None) -> dict[str, str]:
    """Return what tells one model and its way of running from another."""
    backend = predictor.backend
    weights_sha256 = getattr(backend, "weights_sha256", None)
    return {
        "model": predictor.name,
        "sha256": weights_sha256()
        if weights_sha256
        else sha256_of(find_bundle(model) / MODEL_JSON),
        "backend": backend.name,
        "device": backend.device,
        "framing": predictor.framing.kind,
    }
