"""Write a network as a model bundle, atomically."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sameo_model.export.detector import Detector, write_detector
from sameo_model.export.graphs import (
    OPSET,
    click_graph,
    decoder_graph,
    encoder_graph,
    window_graph,
)
from sameo_model.export.records import DEFAULT_LICENCE
from sameo_model.export.verify import run_eager
from sameo_model.export.weights import attach_weights
from sameo_model.modeling.checkpoint import BUNDLE_WEIGHTS, load_checkpoint, save_checkpoint
from sameo_model.modeling.sameo import Sameo
from sameo_model.runtime import bundle as bundles
from sameo_model.runtime.backends.engine_check import reference_scene, write_reference

_LOGGER = logging.getLogger(__name__)


def export_bundle(
    model: Sameo,
    folder: str | Path,
    *,
    name: str | None = None,
    licence: str = DEFAULT_LICENCE,
    training: dict[str, Any] | None = None,
    scores: dict[str, Any] | None = None,
    points: bool = False,
    detector: Detector | None = None,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write a bundle: weights once as float16, graphs that point into them, and `model.json`.

    The graphs are traced from the network after its weights went through float16, so that eager
    network and graphs hold the same numbers; `load_checkpoint` on the folder gives that network.

    Args:
        model: The network; it is not changed.
        folder: Where the bundle goes: a new folder, or one that holds nothing or an old bundle,
            which is replaced.
        name: Name of the model; None takes the folder's.
        training: How the weights were trained, JSON values.
        scores: How the model scored and on what, JSON values.
        points: Whether to add the graph for clicks beside boxes.
        detector: Detector for images without given boxes; None adds none.
        check: Called with the finished bundle's folder before it is moved to its place; an
            exception stops the export, and nothing is left behind.

    Raises:
        FileExistsError: The folder holds something that is not a bundle.
    """
    folder = Path(folder)
    with replacing(folder) as draft:
        save_checkpoint(model, draft / BUNDLE_WEIGHTS, half=True)
        rounded = load_checkpoint(draft / BUNDLE_WEIGHTS)
        _write_graphs(rounded, draft)
        if points:
            _write_click_graph(rounded, draft)
        if detector is not None:
            write_detector(detector, draft)
        write_reference(draft, run_eager(rounded, *reference_scene(model.image_size)))
        bundles.write_bundle_info(
            draft,
            name=name or folder.resolve().name,
            preset=model.preset,
            framing=model.framing.to_json(),
            image_size=model.image_size,
            normalisation=_normalisation(model),
            opset=OPSET,
            mask_selection=model.mask_selection,
            has_visible_decoder=model.has_visible_decoder,
            licence=licence,
            training=training or {},
            scores=scores or {},
            detector={} if detector is None else detector.info(),
        )
        if check is not None:
            check(draft)


def _write_graphs(model: Sameo, folder: Path) -> None:
    if model.shares_decoder:
        _LOGGER.info("tracing the segmenter of windows")
        graphs = {bundles.WINDOW_SEGMENTER: window_graph(model)}
    else:
        _LOGGER.info("tracing the image encoder")
        graphs = {bundles.IMAGE_ENCODER: encoder_graph(model)}
        _LOGGER.info("tracing the mask decoder")
        graphs[bundles.MASK_DECODER] = decoder_graph(model, "amodal")
        if model.has_visible_decoder:
            _LOGGER.info("tracing the visible decoder")
            graphs[bundles.VISIBLE_DECODER] = decoder_graph(model, "visible")
    for name, graph in graphs.items():
        attach_weights(graph, folder / BUNDLE_WEIGHTS)
        (folder / name).write_bytes(graph.SerializeToString())


def _write_click_graph(model: Sameo, folder: Path) -> None:
    _LOGGER.info("tracing the graph for clicks")
    graph = click_graph(model)
    attach_weights(graph, folder / BUNDLE_WEIGHTS)
    name = bundles.CLICK_SEGMENTER if model.shares_decoder else bundles.CLICK_DECODER
    (folder / name).write_bytes(graph.SerializeToString())


def _normalisation(model: Sameo) -> dict[str, Any]:
    """Say for readers what the encoder does: (value - mean) / std of values 0 to 255."""
    normalisation = model.normalisation
    return {
        "mean": [round(255 * value, 6) for value in normalisation.mean],
        "std": [round(255 * value, 6) for value in normalisation.deviation],
    }


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a draft folder that replaces ``folder`` when the block succeeds, and only then."""
    is_bundle = (folder / bundles.MODEL_JSON).is_file()
    if folder.exists() and not is_bundle and (folder.is_file() or any(folder.iterdir())):
        raise FileExistsError(
            f"output {folder} must be a new or empty folder or a bundle to replace, but holds "
            "something else; choose another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    draft, old = workplace / "new", workplace / "old"
    try:
        draft.mkdir()
        yield draft
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(workplace)
