"""A sheet of random instances: the image, the visible, the amodal and the hidden part."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from sameo_model.data.index import IndexedDataset
from sameo_model.data.types import AmodalImage, AmodalInstance

TILE_PX = 200
CAPTION_PX = 22
MARGIN_SHARE = 0.25
_VISIBLE_RGB = (40, 200, 80)
_AMODAL_RGB = (60, 120, 255)
_HIDDEN_RGB = (255, 60, 60)


def draw_contact_sheet(dataset: IndexedDataset, num_instances: int, seed: int) -> np.ndarray:
    """Draw random instances, one row each.

    Args:
        dataset: Data set or view with at least one instance.
        num_instances: Number of rows, fewer if there are fewer instances.

    Returns:
        uint8 (rows * 222, 800, 3), RGB: image, visible, amodal and hidden part side by side, cut
        around the instance, under a caption.

    Raises:
        ValueError: If the data set shows no instance.
    """
    rows = [_draw_row(*pair) for pair in _choose(dataset, num_instances, seed)]
    if not rows:
        raise ValueError(f"data set {dataset.name} must show at least one instance, got none")
    return np.concatenate(rows)


def _choose(
    dataset: IndexedDataset, num_instances: int, seed: int
) -> Iterator[tuple[AmodalImage, AmodalInstance]]:
    counts = dataset.num_instances_per_image()
    last = np.cumsum(counts)
    total = int(counts.sum())
    generator = np.random.default_rng(seed)
    for number in generator.choice(total, min(num_instances, total), replace=False):
        index = int(np.searchsorted(last, number, side="right"))
        image = dataset[index]
        yield image, image.instances[number - (last[index] - counts[index])]


def _draw_row(image: AmodalImage, instance: AmodalInstance) -> np.ndarray:
    pixels = image.load_rgb()
    empty = np.zeros(image.image_hw, dtype=bool)
    visible = empty if instance.visible_rle is None else instance.visible_mask()
    amodal = empty if instance.amodal_rle is None else instance.amodal_mask()
    window = _window(instance, image.image_hw)
    tiles = [
        pixels,
        _paint(pixels, visible, _VISIBLE_RGB),
        _paint(pixels, amodal, _AMODAL_RGB),
        _paint(pixels, amodal & ~visible, _HIDDEN_RGB),
    ]
    body = np.concatenate([_fit(tile[window]) for tile in tiles], axis=1)
    rate = "unknown" if instance.occlusion_rate is None else f"{instance.occlusion_rate:.0%}"
    caption = np.full((CAPTION_PX, body.shape[1], 3), 255, dtype=np.uint8)
    text = f"{instance.category or 'object'}  hidden {rate}  {image.path.name}"
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(caption, text, (4, 16), font, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([caption, body])


def _window(instance: AmodalInstance, image_hw: tuple[int, int]) -> tuple[slice, slice]:
    box_xywh = instance.amodal_box_xywh or instance.visible_box_xywh
    assert box_xywh is not None
    x, y, width, height = box_xywh
    side = max(width, height) * (1 + 2 * MARGIN_SHARE)
    x1, y1 = x + width / 2 - side / 2, y + height / 2 - side / 2
    return (
        slice(max(0, int(y1)), min(image_hw[0], int(y1 + side) + 1)),
        slice(max(0, int(x1)), min(image_hw[1], int(x1 + side) + 1)),
    )


def _paint(pixels: np.ndarray, mask: np.ndarray, colour_rgb: tuple[int, int, int]) -> np.ndarray:
    painted = pixels.copy()
    painted[mask] = (0.4 * painted[mask] + 0.6 * np.array(colour_rgb)).astype(np.uint8)
    return painted


def _fit(tile: np.ndarray) -> np.ndarray:
    """Scale a cut-out into a grey square tile, keeping its aspect."""
    height, width = tile.shape[:2]
    scale = TILE_PX / max(height, width)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    fitted = np.full((TILE_PX, TILE_PX, 3), 220, dtype=np.uint8)
    y, x = (TILE_PX - size_wh[1]) // 2, (TILE_PX - size_wh[0]) // 2
    fitted[y : y + size_wh[1], x : x + size_wh[0]] = cv2.resize(
        tile, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    return fitted
