"""Export a typed bundle with its TensorRT engines, or say what that would take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sameo_model.export.parity import (
    MIN_MEAN_MASK_IOU,
    DetectorParity,
    ParityImage,
    PrecisionParity,
    default_images,
    load_images,
    measure_detector,
    measure_precision,
)
from sameo_model.export.precision import write_typed_bundle
from sameo_model.export.records import EMULATED_KEY, add_scores
from sameo_model.export.verify import ParityError
from sameo_model.runtime.backends import cuda
from sameo_model.runtime.backends.base import BackendUnavailableError
from sameo_model.runtime.backends.build_progress import Report
from sameo_model.runtime.backends.engine_build import check_target
from sameo_model.runtime.backends.engine_cache import EngineCache
from sameo_model.runtime.backends.engine_plan import (
    EnginePlan,
    bundle_precision,
    plan_engines,
    plan_engines_for_target,
)
from sameo_model.runtime.backends.gpu import Gpu
from sameo_model.runtime.backends.tensorrt import start_backend
from sameo_model.runtime.backends.tensorrt_engine import TensorRtEngine
from sameo_model.runtime.backends.tensorrt_flavour import Flavour, load_flavour
from sameo_model.runtime.bundle import Bundle

Say = Callable[[str], None]


@dataclass(frozen=True)
class ParityRequest:
    """On what a precision is measured, and when it is refused."""

    images_dir: Path | None = None  # folder of further images; None takes the built-in ones alone
    boxes: str | None = None  # their boxes, in any form that `runtime.box_parsing.read_boxes` reads
    min_mean_mask_iou: float = MIN_MEAN_MASK_IOU  # smallest mean IoU of masks and boxes


def write_precision(
    source: Bundle, folder: Path, precision: str, request: ParityRequest, say: Say
) -> Bundle:
    """Write a bundle in a precision into an empty folder, measured by emulation.

    Args:
        source: A float32 bundle, or one that has the precision already.
        precision: One of `precision.PRECISIONS`.

    Raises:
        ValueError: If the precision is unknown or the source has another one.
        ParityError: If its masks or boxes are too far from those of float32.
    """
    bundle = write_typed_bundle(source, folder, precision)
    if precision == bundle_precision(source):
        _check_earlier_parity(source, request.min_mean_mask_iou)
        return bundle
    images = _images(request, source.info.image_size)
    parity = measure_precision(source.folder, folder, precision, images)
    measured = _judge(parity, source, request, say)
    if source.detector is not None and bundle.detector is not None:
        images = _images(request, source.detector_size)
        found = measure_detector(source.detector, bundle.detector, precision, images)
        measured["detector"] = _judge(found, source, request, say)
    return add_scores(bundle, {EMULATED_KEY: measured})


def _images(request: ParityRequest, image_size: int) -> list[ParityImage]:
    images = default_images(image_size)
    if request.images_dir is not None:
        images += load_images(request.images_dir, request.boxes or "", image_size)
    return images


def _judge(
    parity: PrecisionParity | DetectorParity, source: Bundle, request: ParityRequest, say: Say
) -> dict[str, Any]:
    """Return what was measured, for `model.json`, unless it is refused."""
    say(str(parity))
    if fault := parity.fault(request.min_mean_mask_iou):
        raise ParityError(
            f"precision {parity.precision} of {source.info.name} was refused: {fault}; choose "
            "another --precision, or lower --min-mask-iou"
        )
    return {name: value for name, value in asdict(parity).items() if name != "precision"}


def _check_earlier_parity(bundle: Bundle, min_mean_mask_iou: float) -> None:
    """Refuse a bundle whose own export measured less than is asked for now."""
    measured = bundle.info.scores.get(EMULATED_KEY, {})
    ious = {
        "mask": measured.get("mean_mask_iou", 1.0),
        "box": measured.get("detector", {}).get("mean_box_iou", 1.0),
    }
    for kind, mean_iou in ious.items():
        if not mean_iou >= min_mean_mask_iou:
            raise ParityError(
                f"precision {bundle_precision(bundle)} of {bundle.info.name} was refused: mean "
                f"{kind} IoU must reach {min_mean_mask_iou}, was {mean_iou:.4f} when it was "
                "exported; choose another --precision, or lower --min-mask-iou"
            )


def check_machine(flavour_name: str, target: str | None) -> None:
    """Refuse in seconds what `export_engines` could not build here.

    Args:
        flavour_name: `tensorrt` or `tensorrt-rtx`.
        target: Compute capability such as `SM86`; None is this machine's GPU.

    Raises:
        ValueError: If the flavour cannot build for the target.
        BackendUnavailableError: If TensorRT, or without a target a GPU, is missing.
    """
    flavour = load_flavour(flavour_name)
    if target is not None:
        check_target(flavour, target)
        return
    with _gpu_for(flavour):
        pass


def export_engines(
    bundle: Bundle, flavour_name: str, target: str | None, cache_dir: Path | None, say: Say
) -> None:
    """Build a bundle's engines, or take them from the cache, and put them beside its graphs.

    With a GPU the engines are run and checked, unless they are for another one.

    Args:
        flavour_name: `tensorrt` or `tensorrt-rtx`.
        target: Compute capability such as `SM86`; None is this machine's GPU.
        cache_dir: Folder of the engine cache; None is the user's.

    Raises:
        ValueError: If the flavour cannot build for the target.
        BackendUnavailableError: If TensorRT, or without a target a GPU, is missing.
        RuntimeError: If a build fails, or an engine its check.
    """
    flavour = load_flavour(flavour_name)
    if target is not None:
        plan = plan_engines_for_target(bundle, flavour, target, cache_dir)
        engines, _ = plan.load_or_build(show_progress)
        say(f"engines built for {target} by {flavour}; none was run: that takes such a GPU")
    else:
        with _gpu_for(flavour) as gpu:
            plan = plan_engines(bundle, flavour, gpu.name, gpu.compute_capability, cache_dir)
            start_backend(gpu, bundle, plan, show_progress).close()
            engines, _ = plan.load_or_build()
            say(f"engines ran on {gpu.name} with {flavour}")
    for graph, data in engines.items():
        EngineCache(bundle.folder).store(plan.keys[graph], data, plan.estimate_s(graph), graph)


def describe_plan(
    bundle: Bundle, flavour_name: str, target: str | None, cache_dir: Path | None
) -> Iterator[str]:
    """Yield what an export would do, line by line: version, GPU, keys, builds and their time."""
    flavour = load_flavour(flavour_name)
    yield f"flavour     {flavour.name}"
    yield f"version     {flavour.version}"
    if target is None:
        with _gpu_for(flavour) as gpu:
            plan = plan_engines(bundle, flavour, gpu.name, gpu.compute_capability, cache_dir)
            yield f"GPU         {gpu.name}"
    else:
        plan = plan_engines_for_target(bundle, flavour, target, cache_dir)
        yield f"GPU         any with {target}; none is needed for the build"
    yield f"precision   {plan.precision}"
    yield f"cache       {plan.cache.folder}"
    yield from _describe_engines(plan)


def _describe_engines(plan: EnginePlan) -> Iterator[str]:
    total_s = 0.0
    for graph, key in plan.keys.items():
        status = plan.status(graph)
        yield f"engine      {graph}: key {key.digest[:16]}, {status}"
        if not status.startswith("ready"):
            total_s += plan.estimate_s(graph)
    yield f"build       needed, about {total_s:.0f} s" if total_s else "build       not needed"


@contextmanager
def _gpu_for(flavour: Flavour) -> Iterator[Gpu]:
    try:
        gpu = cuda.open_gpu(lambda data, stream: TensorRtEngine(flavour, data, stream))
    except BackendUnavailableError as error:
        hint = (
            f"; name the GPU to build for, one of {', '.join(flavour.target_names)}, with "
            "--compute-capability"
            if flavour.can_target_other_gpus
            else "; run this on the robot"
        )
        raise BackendUnavailableError(
            f"{flavour} has no GPU to build for: {error}{hint}"
        ) from error
    try:
        yield gpu
    finally:
        gpu.close()


def show_progress(graph: str) -> Report:
    """Return a report that shows a build's progress on standard error."""
    is_terminal = sys.stderr.isatty()
    shown = [-10.0]

    def report(fraction: float, phase: str, elapsed_s: float) -> None:
        if not is_terminal and elapsed_s - shown[0] < 10.0:
            return
        shown[0] = elapsed_s
        line = f"building {graph}: {100 * fraction:3.0f} % after {elapsed_s:.0f} s, {phase}"
        print(f"{line:<100.100s}", file=sys.stderr, end="\r" if is_terminal else "\n", flush=True)

    return report
