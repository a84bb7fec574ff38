"""Checkpoints of a run: written whole or not at all, resumed exactly, refused if they differ."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import logging
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sameo_model.modeling.checkpoint import HEADER_KEY, describe
from sameo_model.runtime.files import write_whole
from sameo_model.training.config import TrainConfig
from sameo_model.training.config_loading import config_from_dict
from sameo_model.training.optimisation import MovingAverage
from sameo_model.training.step import Network

CHECKPOINT_NAME = "last.ckpt"
CONFIG_NAME = "config.json"

# May change between the parts of one run without changing what it learns.
FREE_KEYS = frozenset(
    (
        *("output", "workers", "max_unreadable", "max_images_at_once", "allow_changes"),
        *("log_interval", "checkpoint_interval", "compile", "embedding_cache_gb"),
        *("val", "val_interval", "val_images", "val_prompts", "val_overlays"),
    )
)
# What the saved state consists of, so that nobody can change it half-way.
FIXED_KEYS = frozenset(("preset", "image_size", "visible_decoder", "decoders", "trainable"))

FULL_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))

log = logging.getLogger(__name__)


@dataclass
class RunState:
    """Everything that a run needs to continue."""

    model: Network
    optimiser: torch.optim.Optimizer
    # what the data sets of `train` hold, by their place in the list
    data: dict[str, str]
    average: MovingAverage | None = None  # moving average of weights, None without
    scaler: Any = None  # gradient scaler of float16, None without
    step: int = 0
    # highest validation score so far, None before the first validation
    best_score: float | None = None


def save_run(output: Path, config: TrainConfig, run: RunState) -> None:
    """Write the run's checkpoint; the one before stays until the new one is whole.

    Raises:
        OSError: If it cannot be written, as on a full disk.
    """
    content = {
        "model": run.model.state_dict(),
        HEADER_KEY: describe(run.model),
        "optimiser": run.optimiser.state_dict(),
        "average": run.average.weights if run.average else None,
        "scaler": run.scaler.state_dict() if run.scaler else None,
        "step": run.step,
        "best_score": run.best_score,
        "random_state": torch.get_rng_state(),
        "config": json.dumps(dataclasses.asdict(config)),
        "data": run.data,
    }
    file = io.BytesIO()
    torch.save(content, file)
    path = output / CHECKPOINT_NAME
    try:
        write_whole(path, file.getvalue())
    except OSError as error:
        kept = "the previous one was kept" if path.exists() else "there is none yet"
        raise OSError(
            f"checkpoint of step {run.step} cannot be written to {path} ({error.strerror}), "
            f"{kept}; free some space and start the same command again to resume"
        ) from error


@contextmanager
def explain_full_disk(output: Path) -> Iterator[None]:
    """Say where and what to do when anything inside the block finds the disk full.

    Raises:
        OSError: In place of the system's.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise OSError(
            f"nothing more can be written to {output} ({error.strerror}); free some space and "
            "start the same command again to resume at the last checkpoint"
        ) from error


def resume_run(output: Path, config: TrainConfig, run: RunState) -> None:
    """Load the checkpoint in `output` into `run`, if there is one.

    Raises:
        ValueError: If the checkpoint is damaged, or the run was started with another configuration
            or other data.
    """
    path = output / CHECKPOINT_NAME
    if not path.exists():
        return
    content = _load(path)
    before = config_from_dict(json.loads(content["config"]), source=str(path))
    # Older checkpoints do not say what their data were.
    check_same_run(path, before, config, content.get("data", run.data), run.data)
    run.model.load_state_dict(content["model"])
    if _optimised(before) == _optimised(config):
        _load_optimiser(run.optimiser, content["optimiser"])
    else:
        log.warning("the optimiser starts anew, as it or the weights that it updates changed")
    if run.average:
        # Weights that were not averaged so far start from those of this moment.
        current = MovingAverage(run.model, 0.0).weights
        saved = content.get("average") or {}
        run.average.weights = {
            name: saved.get(name, value).to(value) for name, value in current.items()
        }
    if run.scaler and content.get("scaler"):
        run.scaler.load_state_dict(content["scaler"])
    if content.get("random_state") is not None:
        torch.set_rng_state(content["random_state"])
    run.step = int(content["step"])
    run.best_score = content.get("best_score")
    log.info("resuming %s at step %d", output, run.step)


def _optimised(config: TrainConfig) -> tuple[str, int, bool]:
    """Return what the state of an optimiser depends on, beside `FIXED_KEYS`."""
    return config.optimiser.name, config.frozen_blocks, config.frozen_depthwise


def _load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of weights; settings such as the weight decay stay those of this run."""
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimiser.param_groups
    ]
    optimiser.load_state_dict(state)
    for group, own in zip(optimiser.param_groups, settings, strict=True):
        group.update(own)


def _load(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        ValueError: If it is empty, truncated or something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        state = "damaged or truncated" if path.stat().st_size else "empty"
        raise ValueError(
            f"checkpoint {path} is {state}; put a whole copy in its place, or remove it to start "
            f"the run anew"
        ) from error
    keys = {"config", "model", "optimiser", "step"}
    if not isinstance(content, dict) or not keys <= content.keys():
        raise ValueError(
            f"checkpoint {path} must hold {', '.join(sorted(keys))} of a run, but it does not; "
            f"remove it to start the run anew"
        )
    return content


def remove_leftovers(output: Path) -> None:
    """Remove what a run left that was killed while it wrote a checkpoint."""
    for pattern in (f".{CHECKPOINT_NAME}.*", ".*.safetensors.*"):
        for path in output.glob(pattern):
            path.unlink()


def write_config(output: Path, config: TrainConfig) -> None:
    """Write the resolved configuration into the run folder."""
    write_whole(output / CONFIG_NAME, json.dumps(dataclasses.asdict(config), indent=2) + "\n")


def check_same_run(
    path: Path,
    saved: TrainConfig,
    config: TrainConfig,
    saved_data: dict[str, str],
    data: dict[str, str],
) -> None:
    """Refuse to resume what would not be the same run.

    Args:
        saved: Configuration in it.
        saved_data: What its data sets held, by their place in `train`.
        data: The same now.

    Raises:
        ValueError: If values differ that may not.
    """
    before = _to_plain(saved) | {"data": saved_data}
    now = _to_plain(config) | {"data": data}
    differing = [key for key in now if key not in FREE_KEYS and before[key] != now[key]]
    fixed = [key for key in differing if key in FIXED_KEYS]
    if fixed:
        raise ValueError(
            f"{path} holds another network ({_list_differences(fixed, before, now)}); start a new "
            f"run in another output folder, with init={path}"
        )
    if differing and not config.allow_changes:
        raise ValueError(
            f"{path} belongs to a run with another configuration or other data "
            f"({_list_differences(differing, before, now)}); choose another output folder, restore "
            "these values, or resume with allow_changes=true"
        )


def _to_plain(config: TrainConfig) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _list_differences(keys: Sequence[str], before: dict[str, Any], now: dict[str, Any]) -> str:
    return "; ".join(line for key in keys for line in _name_differences(key, before[key], now[key]))


def _name_differences(key: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for name in now
            if before.get(name) != now[name]
            for line in _name_differences(f"{key}.{name}", before.get(name), now[name])
        ]
    return [f"{key}: {before!r} then, {now!r} now"]
