"""Check new engines against masks and boxes of the network itself, stored when it was exported.

Half precision fails silently: an engine can pass TensorRT's own tests and draw wrong masks, or
none. The image of the check is computed, so that a bundle holds only the small answers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sameo_model.runtime.backends.base import Backend, CellBoxes, DecoderOutput
from sameo_model.runtime.boxes import box_ious
from sameo_model.runtime.bundle import Bundle
from sameo_model.runtime.types import BoolArray, FloatArray, Uint8Array

_LOGGER = logging.getLogger(__name__)

REFERENCE_FILE = "reference_masks.npz"
REFERENCE_BOXES_FILE = "reference_boxes.npz"
MIN_MEAN_IOU = 0.95
MAX_SCORE_ERROR = 0.1
# Of the detector, those with the best scores.
_NUM_CELLS = 20
# Left, top, right and bottom of shapes on the image, in sixteenths of its side; later ones
# cover earlier ones.
_SHAPES = (
    ((1, 1, 7, 6), (200, 60, 40)),
    ((5, 3, 10, 9), (40, 160, 70)),
    ((9, 1, 15, 5), (230, 200, 60)),
    ((2, 8, 6, 15), (60, 80, 210)),
    ((5, 10, 12, 14), (180, 60, 190)),
    ((11, 7, 15, 13), (60, 200, 210)),
)


def reference_scene(image_size: int) -> tuple[Uint8Array, FloatArray]:
    """Compute overlapping ellipses and rectangles on a shaded ground, the same everywhere.

    Args:
        image_size: Side S of the image, pixels.

    Returns:
        uint8 (S, S, 3), RGB, and float32 (6, 4), the box of each shape, x1, y1, x2, y2 in pixels.
    """
    rows, columns = np.mgrid[:image_size, :image_size]
    ground = 90 + 60 * (rows + columns) // (2 * image_size)
    image = np.repeat(ground[..., None], 3, axis=2)
    boxes = np.array([box for box, _ in _SHAPES]) * image_size // 16
    for index, ((left, top, right, bottom), (_, colour)) in enumerate(
        zip(boxes.tolist(), _SHAPES, strict=True)
    ):
        inside = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
        if index % 2 == 0:
            across = (2 * columns + 1 - left - right) * (bottom - top)
            down = (2 * rows + 1 - top - bottom) * (right - left)
            inside = across**2 + down**2 <= ((right - left) * (bottom - top)) ** 2
        image[inside] = colour
    return image.astype(np.uint8), boxes.astype(np.float32)


def write_reference(folder: Path, output: DecoderOutput) -> None:
    """Store the masks that the network draws on `reference_scene` in a bundle's folder."""
    shape = np.array(output.amodal_logits.shape)
    amodal = np.packbits(output.amodal_logits > 0)
    path = folder / REFERENCE_FILE
    if output.visible_logits is None:
        np.savez_compressed(path, shape=shape, amodal=amodal)
    else:
        visible = np.packbits(output.visible_logits > 0)
        np.savez_compressed(path, shape=shape, amodal=amodal, visible=visible)


def read_reference(folder: Path) -> dict[str, BoolArray] | None:
    """Return the stored masks, bool (6, h, w), of the decoders `amodal` and `visible`.

    None if the bundle has none: it was exported before there were any.
    """
    path = folder / REFERENCE_FILE
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        shape = tuple(stored["shape"].tolist())
        count = int(np.prod(shape))
        return {
            name: np.unpackbits(stored[name], count=count).astype(np.bool_).reshape(shape)
            for name in stored.files
            if name != "shape"
        }


def write_reference_boxes(folder: Path, cells: CellBoxes) -> None:
    """Store what a detector's best cells say of `reference_scene` in a bundle's folder."""
    rows = np.argsort(-cells.scores)[:_NUM_CELLS]
    best = {name: values[rows] for name, values in cells._asdict().items()}
    np.savez_compressed(folder / REFERENCE_BOXES_FILE, rows=rows, **best)


def run_scene(backend: Backend, image: Uint8Array, boxes: FloatArray) -> DecoderOutput:
    """Draw all masks of boxes in an image of the model's own size.

    A backend for windows sees the whole image as the window of each box.

    Args:
        backend: What runs.
        image: uint8 (S, S, 3), RGB.
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels, at most `backend.max_boxes`.
    """
    visible = backend.has_visible_decoder
    if backend.encodes_images:
        return backend.decode(backend.encode(image), boxes, visible)
    return backend.segment(np.repeat(image[np.newaxis], len(boxes), axis=0), boxes, visible)


def check_against_reference(backend: Backend, bundle: Bundle) -> None:
    """Compare a backend's masks, and the boxes of its detector, with those of the bundle.

    Raises:
        RuntimeError: If they differ too much, or a value is not finite.
    """
    _check_masks(backend, bundle)
    if bundle.detector is not None:
        _check_boxes(backend, bundle)


def _check_masks(backend: Backend, bundle: Bundle) -> None:
    image, boxes = reference_scene(bundle.info.image_size)
    output = run_scene(backend, image, boxes)
    found = {"amodal": output.amodal_logits}
    if output.visible_logits is not None:
        found["visible"] = output.visible_logits
    _check_finite({**found, "predicted IoU": output.predicted_iou})
    reference = read_reference(bundle.folder)
    if reference is None:
        _warn_unchecked(bundle, "masks")
        return
    for name, logits in found.items():
        mean_iou = float(np.mean(mask_ious(logits > 0, reference[name])))
        if mean_iou < MIN_MEAN_IOU:
            raise RuntimeError(
                _refusal(f"its {name} masks have a mean IoU of {mean_iou:.3f} with the network's")
            )
        _LOGGER.info("new engine checked: mean IoU of %s masks %.4f", name, mean_iou)


def _check_boxes(backend: Backend, bundle: Bundle) -> None:
    image, _ = reference_scene(bundle.detector_size)
    found = backend.find_boxes(image)
    _check_finite(found._asdict())
    path = bundle.folder / REFERENCE_BOXES_FILE
    if not path.is_file():
        _warn_unchecked(bundle, "boxes")
        return
    with np.load(path, allow_pickle=False) as stored:
        rows = stored["rows"]
        expected = CellBoxes(*(stored[name] for name in CellBoxes._fields))
    mean_iou, score_error = compare_cells(CellBoxes(*(part[rows] for part in found)), expected)
    said = f"the detector's boxes have a mean IoU of {mean_iou:.3f} with the network's"
    said += f", a score is off by {score_error:.3f}"
    if not (mean_iou >= MIN_MEAN_IOU and score_error <= MAX_SCORE_ERROR):
        raise RuntimeError(_refusal(said))
    _LOGGER.info("new engine checked: %s", said)


def compare_cells(found: CellBoxes, expected: CellBoxes) -> tuple[float, float]:
    """Return the mean IoU of the boxes of the same cells, and the largest error of their scores."""
    pairs = zip(found[:2], expected[:2], strict=True)
    ious = [np.diagonal(box_ious(one, other)) for one, other in pairs]
    return float(np.mean(ious)), float(np.abs(found.scores - expected.scores).max())


def _check_finite(outputs: Mapping[str, FloatArray]) -> None:
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise RuntimeError(_refusal(f"the {name} output holds NaN or infinity"))


def _warn_unchecked(bundle: Bundle, what: str) -> None:
    _LOGGER.warning(
        "bundle %s holds no reference %s, so that the engines' %s were not checked; "
        "export it again",
        bundle.info.name,
        what,
        what,
    )


def mask_ious(first: BoolArray, second: BoolArray) -> FloatArray:
    """Return the IoU of each pair of masks.

    Args:
        first: bool (N, h, w).
        second: bool (N, h, w).

    Returns:
        float32 (N,); two empty masks have 1.
    """
    union = np.count_nonzero(first | second, axis=(1, 2))
    common = np.count_nonzero(first & second, axis=(1, 2))
    return np.where(union == 0, 1.0, common / np.maximum(union, 1)).astype(np.float32)


def _refusal(reason: str) -> str:
    return (
        f"a new engine failed its check and was deleted: {reason} (mean IoU must be at least "
        f"{MIN_MEAN_IOU}, scores may be off by {MAX_SCORE_ERROR}); export the bundle with "
        "'--precision f32', or use another backend"
    )
