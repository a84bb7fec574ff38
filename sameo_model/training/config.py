"""Training configuration: frozen dataclasses hold every default once, YAML files override them."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from sameo_model.modeling.sameo import MaskSelection
from sameo_model.training.samples import SampleOptions

Decoder = Literal["mask_decoder", "visible_decoder"]
Part = Literal["image_encoder", "prompt_encoder", "mask_decoder", "visible_decoder"]


@dataclass(frozen=True)
class DataSource:
    """One data set to train or validate on.

    Attributes:
        root: folder of the data set, or its annotation file.
        name: format, a name that `python -m sameo_model.datasets list` shows.
        split: split within the data set, where it has several.
        weight: relative share of samples; the default of 0 means the number of its images.
    """

    root: str
    name: str = "amodal_coco"
    split: str | None = None
    weight: float = 0.0


@dataclass(frozen=True)
class OptimiserOptions:
    """How weights are updated; the defaults are the paper's (section 4.1).

    Attributes:
        name: `adam`, `adamw` or `sgd`.
        lr: learning rate.
        encoder_lr_scale: factor on `lr` for the image encoder's pretrained weights.
        weight_decay: decoupled for adamw.
        schedule: `constant` or `cosine` (down to 2 % of `lr` at the last step).
        warmup_steps: steps of linear warm-up.
        max_grad_norm: gradients are scaled down to this norm; 0 leaves them alone.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-4
    encoder_lr_scale: float = 1.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    max_grad_norm: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a training run.

    Attributes:
        train: data sets to train on.
        val: data sets to validate on; none skips validation.
        preset: network (see `sameo_model.modeling.presets`).
        image_size: side of the square model input; 0 is the preset's own.
        init: checkpoint to start from; empty starts from the preset's pretrained backbone.
        copy_visible_decoder: start the amodal decoder as a copy of the visible one (stage 2).
        decoders: decoders whose loss counts: `mask_decoder` draws the amodal masks,
            `visible_decoder` the visible ones; with both, the sum of their losses.
        trainable: parts that are updated; the rest stays frozen.
        mask_selection: which candidate masks carry the mask loss (see `sameo_loss`).
        samples: how samples are drawn.
        optimiser: how weights are updated.
        images_per_step: images in each optimiser step, over all processes.
        steps: optimiser steps.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        workers: processes that prepare samples, per training process.
        seed: of samples and initial weights.
        log_interval: steps between log entries.
        checkpoint_interval: steps between checkpoints.
        val_interval: steps between validations; 0 validates at the end only.
        val_images: images used for each validation; 0 uses all.
        output: run folder (checkpoints, TensorBoard, resolved configuration).
    """

    train: tuple[DataSource, ...] = ()
    val: tuple[DataSource, ...] = ()
    preset: str = "sameo_lite"
    image_size: int = 0
    init: str = ""
    copy_visible_decoder: bool = False
    decoders: tuple[Decoder, ...] = ("mask_decoder",)
    trainable: tuple[Part, ...] = ("mask_decoder",)
    mask_selection: MaskSelection = "min_loss"
    samples: SampleOptions = field(default_factory=SampleOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    images_per_step: int = 4
    steps: int = 1000
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    workers: int = 1
    seed: int = 0
    log_interval: int = 20
    checkpoint_interval: int = 200
    val_interval: int = 0
    val_images: int = 0
    output: str = "runs/train"


def load_config(path: str | Path, overrides: list[str] | None = None) -> TrainConfig:
    """Read a training configuration.

    Args:
        path: YAML file whose keys are the fields of `TrainConfig`.
        overrides: `key=value` pairs, nested keys with dots (`optimiser.lr=3e-4`), values in YAML.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If keys are unknown or values ill-typed; every problem is named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}; see config/train for examples")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be YAML, {error}") from error
    for override in overrides or []:
        key, sign, value = override.partition("=")
        if not sign:
            raise ValueError(f"an override must look like key=value, got {override!r}")
        _set_nested(values, key.strip().split("."), yaml.safe_load(value))
    return config_from_dict(values, source=str(path))


def config_from_dict(values: dict[str, Any], source: str = "the configuration") -> TrainConfig:
    """Build a `TrainConfig` from nested plain values; the inverse of `dataclasses.asdict`.

    Raises:
        ValueError: If keys are unknown or values ill-typed; every problem is named.
    """
    problems: list[str] = []
    config = _build(TrainConfig, values, "", problems)
    if not problems:
        problems += _check(config)
    if problems:
        raise ValueError(f"{source} cannot be used: " + "; ".join(problems))
    return typing.cast(TrainConfig, config)


def _set_nested(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
    values[keys[-1]] = value


def _build(kind: type, values: Any, prefix: str, problems: list[str]) -> Any:
    if not isinstance(values, dict):
        problems.append(f"{prefix.rstrip('.') or 'the file'} must hold keys, got {values!r}")
        return None
    hints = typing.get_type_hints(kind)
    known = {}
    for key, value in values.items():
        if key in hints:
            known[key] = _convert(hints[key], value, f"{prefix}{key}", problems)
        else:
            near = difflib.get_close_matches(str(key), hints, n=1)
            hint = f", did you mean {near[0]}?" if near else f"; known: {', '.join(hints)}"
            problems.append(f"unknown key {prefix}{key}{hint}")
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is f.default_factory is dataclasses.MISSING and f.name not in known
    ]
    problems += [f"{prefix}{name} is missing" for name in missing]
    return None if missing else kind(**known)


def _convert(hint: Any, value: Any, key: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, f"{key}.", problems)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            problems.append(f"{key} must be one of {', '.join(get_args(hint))}, got {value!r}")
        return value
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if not isinstance(value, (list, tuple)):
            problems.append(f"{key} must be a list, got {value!r}")
            return ()
        return tuple(_convert(item, v, f"{key}[{i}]", problems) for i, v in enumerate(value))
    allowed = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in allowed and isinstance(value, str):
        value = _float_or_same(value)  # YAML reads 1e-4 as text
    if float in allowed and type(value) is int:
        value = float(value)
    if type(value) not in allowed:
        names = " or ".join(kind.__name__ for kind in allowed)
        problems.append(f"{key} must be {names}, got {value!r}")
    return value


def _float_or_same(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _check(config: TrainConfig) -> list[str]:
    problems = [
        f"{key} must name at least one, got none"
        for key in ("train", "decoders", "trainable")
        if not getattr(config, key)
    ]
    for key in ("images_per_step", "steps", "log_interval", "checkpoint_interval"):
        if getattr(config, key) < 1:
            problems.append(f"{key} must be at least 1, got {getattr(config, key)}")
    return problems
