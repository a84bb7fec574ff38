"""Which engines a bundle needs on a GPU, whether they are there, and how missing ones are made."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sameo_model.runtime.backends.base import BackendUnavailableError
from sameo_model.runtime.backends.build_progress import Report
from sameo_model.runtime.backends.engine_build import (
    BuildSettings,
    build_engine,
    capability_text,
    check_target,
    shape_profile,
    target_of,
)
from sameo_model.runtime.backends.engine_cache import EngineCache, EngineKey, default_cache_dir
from sameo_model.runtime.backends.engine_check import REFERENCE_BOXES_FILE, REFERENCE_FILE
from sameo_model.runtime.backends.tensorrt_flavour import Flavour
from sameo_model.runtime.bundle import CLICK_GRAPHS, DETECTOR, DETECTOR_WEIGHTS, Bundle

_LOGGER = logging.getLogger(__name__)

PRECISION_KEY = "precision"
# Layer normalisation is one operator from 17 on; the parser of TensorRT 10.3 ends at 20.
OPSETS = (17, 20)
# Seconds per graph where this machine has not built one yet. RTX was measured on two CPU cores;
# for TensorRT they are what users of similar models report.
TYPICAL_BUILD_S = {"tensorrt": 300.0, "tensorrt-rtx": 15.0}


def bundle_precision(bundle: Bundle) -> str:
    """Return the precision in which a bundle's graphs are typed: its scores name it."""
    return str(bundle.info.scores.get(PRECISION_KEY, "f32"))


@dataclass(frozen=True)
class EnginePlan:
    """The engines of one bundle for one GPU.

    Attributes:
        bundle: The bundle.
        flavour: The TensorRT.
        keys: Key of the engine of each graph, by the graph's name.
        cache: Where engines are kept.
        settings: How missing ones are built.
    """

    bundle: Bundle
    flavour: Flavour
    keys: dict[str, EngineKey]
    cache: EngineCache
    settings: BuildSettings

    @property
    def precision(self) -> str:
        """Precision of the graphs."""
        return bundle_precision(self.bundle)

    def load_or_build(
        self, report: Callable[[str], Report] | None = None
    ) -> tuple[dict[str, bytes], set[str]]:
        """Return all engines by graph, and the names of those that were built just now.

        Args:
            report: Creates the progress callback of a graph; None logs the progress.

        Raises:
            RuntimeError: If an engine cannot be built or stored.
        """
        engines: dict[str, bytes] = {}
        new: set[str] = set()
        for graph, key in self.keys.items():
            shipped = self._beside_bundle().load(key)
            if shipped is not None:
                engines[graph] = shipped
                continue
            build = self._builder(graph, report)
            engines[graph], is_new = self.cache.load_or_build(key, build)
            if is_new:
                new.add(graph)
        return engines, new

    def status(self, graph: str) -> str:
        """Describe whether a graph's engine is there, and if not, why not."""
        if self._beside_bundle().load(self.keys[graph]) is not None:
            return "ready beside the bundle"
        return self.cache.status(self.keys[graph])

    def estimate_s(self, graph: str) -> float:
        """Return about how long a build of a graph's engine takes, seconds."""
        measured = self.cache.last_build_s(graph)
        return TYPICAL_BUILD_S[self.flavour.name] if measured is None else measured

    def forget(self, graphs: Iterable[str]) -> None:
        """Delete engines that failed their check."""
        for graph in graphs:
            self.cache.forget(self.keys[graph])

    def _beside_bundle(self) -> EngineCache:
        return EngineCache(self.bundle.folder)

    def _builder(self, graph: str, report: Callable[[str], Report] | None) -> Callable[[], bytes]:
        is_detector = f"{graph}.onnx" == DETECTOR
        image_size = self.bundle.detector_size if is_detector else self.bundle.info.image_size

        def build() -> bytes:
            _LOGGER.info(
                "building the engine of %s with %s, about %.0f s",
                graph,
                self.flavour,
                self.estimate_s(graph),
            )
            return build_engine(
                self.flavour,
                self.bundle.folder / f"{graph}.onnx",
                image_size,
                self.settings,
                report(graph) if report else None,
            )

        return build


def plan_engines(
    bundle: Bundle,
    flavour: Flavour,
    gpu_name: str,
    compute_capability: tuple[int, int],
    cache_dir: Path | None,
) -> EnginePlan:
    """Plan the engines of a bundle for this machine's GPU.

    Args:
        bundle: The bundle.
        flavour: The TensorRT.
        gpu_name: The GPU's name.
        compute_capability: The GPU's, such as (8, 7).
        cache_dir: Folder of the cache; None is the user's.

    Raises:
        BackendUnavailableError: If the flavour does not support the GPU.
        ValueError: If the bundle's opset is not supported.
    """
    target = target_of(compute_capability)
    if flavour.can_target_other_gpus and target not in flavour.target_names:
        known = ", ".join(flavour.target_names)
        raise BackendUnavailableError(
            f"{flavour} does not support GPU {gpu_name} ({target}; it supports {known}); install "
            "the Python package tensorrt instead"
        )
    return _plan(bundle, flavour, gpu_name, target, cache_dir)


def plan_engines_for_target(
    bundle: Bundle, flavour: Flavour, target: str, cache_dir: Path | None
) -> EnginePlan:
    """Plan engines for a named compute capability, such as `SM86`; no GPU is needed.

    Raises:
        ValueError: If the flavour cannot build for it, or the bundle's opset is not supported.
    """
    check_target(flavour, target)
    return _plan(bundle, flavour, "any", target, cache_dir)


def _plan(
    bundle: Bundle, flavour: Flavour, gpu_name: str, target: str, cache_dir: Path | None
) -> EnginePlan:
    first, last = OPSETS
    if not first <= bundle.info.opset <= last:
        raise ValueError(
            f"bundle {bundle.info.name} must have an opset from {first} to {last} for TensorRT, "
            f"but has {bundle.info.opset}; export it again with this version of sameo_model"
        )
    cache = EngineCache(cache_dir or default_cache_dir())
    # An engine of TensorRT for RTX serves every GPU of a compute capability.
    is_rtx = flavour.can_target_other_gpus
    settings = BuildSettings(
        target=target if is_rtx else None,
        timing_cache=None if is_rtx else cache.folder / f"timing-{flavour.version}.cache",
    )
    graphs = [
        name.removesuffix(".onnx")
        for name in bundle.info.files
        if name.endswith(".onnx") and name not in CLICK_GRAPHS
    ]
    keys = {
        graph: EngineKey(
            graph=graph,
            onnx_sha256=_graph_sha256(bundle, graph),
            flavour=flavour.name,
            version=flavour.version,
            gpu="any" if is_rtx else gpu_name,
            compute_capability=capability_text(target),
            precision=bundle_precision(bundle),
            shape_profile=shape_profile(graph),
            settings=f"workspace {settings.workspace_mb} MiB",
        )
        for graph in graphs
    }
    return EnginePlan(bundle, flavour, keys, cache, settings)


def _graph_sha256(bundle: Bundle, graph: str) -> str:
    """Return one SHA-256 over a graph and the files that hold its weights."""
    own = f"{graph}.onnx"
    weights = {DETECTOR_WEIGHTS}
    if own != DETECTOR:
        others = {DETECTOR_WEIGHTS, REFERENCE_FILE, REFERENCE_BOXES_FILE}
        weights = {name for name in bundle.info.files if not name.endswith(".onnx")} - others
    parts = [
        f"{name} {digest}"
        for name, digest in sorted(bundle.info.files.items())
        if name == own or name in weights
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
