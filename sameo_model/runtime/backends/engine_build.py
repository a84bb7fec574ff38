"""Build a TensorRT engine from a typed ONNX graph."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sameo_model.runtime.backends.base import MAX_BOXES
from sameo_model.runtime.backends.build_progress import (
    BuildProgress,
    Report,
    log_report,
    make_monitor,
)
from sameo_model.runtime.backends.tensorrt_flavour import OUT_OF_MEMORY, ErrorLog, Flavour
from sameo_model.runtime.bundle import DETECTOR_STRIDES, LOGIT_STRIDE, WINDOW_LOGIT_STRIDE
from sameo_model.runtime.files import write_whole

if TYPE_CHECKING:
    import tensorrt as trt

_LOGGER = logging.getLogger(__name__)

GRAPHS = ("image_encoder", "mask_decoder", "visible_decoder", "window_segmenter", "detector")
INPUTS = ("image", "images", "embedding", "boxes")
BOX_PROFILE = (1, 8, MAX_BOXES)
"""Smallest, usual and largest number of boxes, or of windows, of one call."""
WORKSPACE_MB = 4096
"""TensorRT for RTX refuses under 1,920 MiB for 64 boxes of a decoder at 1024x1024 in float32."""


@dataclass(frozen=True)
class BuildSettings:
    """What a build may be asked for.

    Attributes:
        target: Compute capability such as `SM86` to build for; None is this machine's GPU.
        workspace_mb: Most memory that the engine may use for its work, MiB.
        timing_cache: File in which TensorRT keeps its measurements; None keeps none.
    """

    target: str | None = None
    workspace_mb: int = WORKSPACE_MB
    timing_cache: Path | None = None


Shape = tuple[int, ...]


def graph_contract(graph: str, image_size: int) -> dict[str, tuple[str, Shape]]:
    """Return data type and shape of each input and output of a graph; -1 is the number of boxes.

    Args:
        graph: One of `GRAPHS`.
        image_size: Side S of the graph's square input, pixels.
    """
    if graph == "detector":
        cells = sum((image_size // stride) ** 2 for stride in DETECTOR_STRIDES)
        return {
            "image": ("UINT8", (1, image_size, image_size, 3)),
            "boxes": ("FLOAT", (cells, 4)),
            "amodal_boxes": ("FLOAT", (cells, 4)),
            "scores": ("FLOAT", (cells,)),
        }
    embedding = ("FLOAT", (1, 256, image_size // 16, image_size // 16))
    if graph == "image_encoder":
        return {"image": ("UINT8", (1, image_size, image_size, 3)), "embedding": embedding}
    stride = WINDOW_LOGIT_STRIDE if graph == "window_segmenter" else LOGIT_STRIDE
    logits = ("FLOAT", (-1, image_size // stride, image_size // stride))
    boxes = ("FLOAT", (-1, 4))
    iou = ("FLOAT", (-1,))
    if graph == "window_segmenter":
        return {
            "images": ("UINT8", (-1, image_size, image_size, 3)),
            "boxes": boxes,
            "amodal_logits": logits,
            "visible_logits": logits,
            "predicted_iou": iou,
        }
    inputs = {"embedding": embedding, "boxes": boxes}
    if graph == "mask_decoder":
        return {**inputs, "amodal_logits": logits, "predicted_iou": iou}
    return {**inputs, "visible_logits": logits}


def shape_profile(graph: str) -> str:
    """Return a description of the shapes that an engine accepts, for its key."""
    if graph in ("image_encoder", "detector"):
        return "fixed"
    return "boxes " + "/".join(str(count) for count in BOX_PROFILE)


def check_target(flavour: Flavour, target: str) -> None:
    """Refuse a compute capability that a flavour cannot build for.

    Raises:
        ValueError: If it cannot; the message says which it can.
    """
    if not flavour.can_target_other_gpus:
        raise ValueError(
            f"{flavour} builds engines only for this machine's GPU, not for {target}; leave the "
            "compute capability out and build on the robot, or use format tensorrt-rtx"
        )
    if target not in flavour.target_names:
        known = ", ".join(flavour.target_names)
        raise ValueError(f"compute capability for {flavour} must be one of {known}; got '{target}'")


def build_engine(
    flavour: Flavour,
    path: Path,
    image_size: int,
    settings: BuildSettings,
    report: Report | None = None,
) -> bytes:
    """Build the engine of one graph; this takes seconds to many minutes.

    Args:
        flavour: The TensorRT to build with.
        path: The graph, named as in `GRAPHS`; its weights lie beside it.
        image_size: Side S of the graph's square input, pixels.
        settings: How to build.
        report: Told how far the build is, about once a second; None logs it.

    Returns:
        The engine.

    Raises:
        FileNotFoundError: If there is no such graph.
        ValueError: If the graph is not one of this project, or the target is unknown.
        RuntimeError: If TensorRT cannot build it; the message holds TensorRT's own words.
        KeyboardInterrupt: If the user interrupted the build.
    """
    if not path.is_file():
        raise FileNotFoundError(f"graph {path} does not exist; export the bundle again")
    log = ErrorLog(flavour)
    api = flavour.api
    builder: trt.Builder = api.Builder(log.native)
    network: trt.INetworkDefinition = builder.create_network(_network_flags(api))
    _parse(api, network, path, log)
    _check_contract(network, path, image_size)
    config = _configure(flavour, builder, path.stem, image_size, settings)
    progress = BuildProgress(path.stem, report or log_report(path.stem))
    config.progress_monitor = make_monitor(api, progress)
    engine = builder.build_serialized_network(network, config)
    if progress.interrupted:
        raise KeyboardInterrupt(f"the build of {path.stem} was interrupted")
    if engine is None:
        raise RuntimeError(_build_failure(flavour, path, settings, log.summary()))
    _save_timing_cache(flavour, config, settings)
    return bytes(engine)


def _build_failure(flavour: Flavour, path: Path, settings: BuildSettings, reason: str) -> str:
    sentence = f"{flavour} could not build {path.name}: {reason}"
    if any(sign in reason for sign in OUT_OF_MEMORY):
        sentence += (
            f"; it may use {settings.workspace_mb} MiB: export the bundle with a smaller "
            "--image-size or in half precision, or stop other programs on the GPU"
        )
    return sentence


def _network_flags(api: Any) -> int:
    """Ask for a strongly typed network where that is not the only kind (TensorRT 10)."""
    flag = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(api: Any, network: trt.INetworkDefinition, path: Path, log: ErrorLog) -> None:
    parser: trt.OnnxParser = api.OnnxParser(network, log.native)
    if parser.parse_from_file(str(path)):
        return
    errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
    first = errors[0].splitlines()[0] if errors else log.summary()
    raise ValueError(
        f"graph {path} cannot be read by TensorRT ({first}); export the bundle again with this "
        "version of sameo_model"
    )


def _check_contract(network: trt.INetworkDefinition, path: Path, image_size: int) -> None:
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    tensors += [network.get_output(index) for index in range(network.num_outputs)]
    found: dict[str, tuple[str, Shape]]
    found = {tensor.name: (tensor.dtype.name, _to_shape(tensor.shape)) for tensor in tensors}
    expected = graph_contract(path.stem, image_size)
    if found != expected:
        raise ValueError(
            f"graph {path} must have {_describe(expected)}, but has {_describe(found)}; it "
            "belongs to another model or version: export the bundle again"
        )


def _to_shape(dims: Any) -> Shape:
    """Return TensorRT's sizes, a sequence that its type stubs do not declare as one."""
    return tuple(dims)


def _describe(tensors: dict[str, tuple[str, Shape]]) -> str:
    return ", ".join(f"{name} {kind} {list(shape)}" for name, (kind, shape) in tensors.items())


def _configure(
    flavour: Flavour, builder: trt.Builder, graph: str, image_size: int, settings: BuildSettings
) -> trt.IBuilderConfig:
    api = flavour.api
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, settings.workspace_mb << 20)
    # float32 in the graph means float32: TensorFloat-32 has the 10 bits of float16.
    config.clear_flag(api.BuilderFlag.TF32)
    # Lets fewer boxes take less memory, so that a full GPU can be answered with smaller chunks.
    resize = getattr(api.PreviewFeature, "RUNTIME_ACTIVATION_RESIZE_10_10", None)
    if resize is not None:
        config.set_preview_feature(resize, True)
    contract = graph_contract(graph, image_size)
    dynamic = {n: shape for n, (_, shape) in contract.items() if n in INPUTS and shape[0] == -1}
    if dynamic:
        profile = builder.create_optimization_profile()
        for name, shape in dynamic.items():
            profile.set_shape(name, *(api.Dims((count, *shape[1:])) for count in BOX_PROFILE))
        config.add_optimization_profile(profile)
    if settings.target is not None:
        check_target(flavour, settings.target)
        _set_target(config, getattr(api.ComputeCapability, settings.target))
    if flavour.has_timing_cache and settings.timing_cache is not None:
        config.set_timing_cache(_load_timing_cache(config, settings.timing_cache), True)
    return config


def _set_target(config: Any, capability: Any) -> None:
    """Name the compute capability; this exists in TensorRT for RTX alone."""
    config.num_compute_capabilities = 1
    config.set_compute_capability(capability, 0)


def _load_timing_cache(config: trt.IBuilderConfig, path: Path) -> trt.ITimingCache:
    saved = b""
    with suppress(FileNotFoundError):
        saved = path.read_bytes()
    cache = config.create_timing_cache(saved)
    # TensorRT refuses a damaged one, or one of another version.
    return config.create_timing_cache(b"") if cache is None else cache


def _save_timing_cache(
    flavour: Flavour, config: trt.IBuilderConfig, settings: BuildSettings
) -> None:
    if not flavour.has_timing_cache or settings.timing_cache is None:
        return
    try:
        write_whole(settings.timing_cache, bytes(config.get_timing_cache().serialize()))
    except OSError as error:
        _LOGGER.warning("timing cache %s was not saved: %s", settings.timing_cache, error)


def target_of(compute_capability: tuple[int, int]) -> str:
    """Return the name of a compute capability, (8, 6) as `SM86`."""
    return "SM{}{}".format(*compute_capability)


def capability_text(target: str) -> str:
    """Return a target's compute capability for keys, `SM86` as `8.6`."""
    match = re.fullmatch(r"SM(\d+)(\d)", target)
    if match is None:
        raise ValueError(f"compute capability must look like SM86, got '{target}'")
    return f"{match[1]}.{match[2]}"
