"""A contact sheet: a look at a synthesised set before anything is trained on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from sameo_model.runtime.images import read_image
from sameo_model.synthesis.records import read_records

NUM_TILES, COLUMNS = 24, 4
_TILE_WH = (320, 240)
Item = TypeVar("Item")


def draw_instances(
    image: NDArray[np.uint8], annotations: list[dict[str, Any]]
) -> NDArray[np.uint8]:
    """Return the image with hidden parts tinted and amodal outlines drawn.

    Args:
        image: uint8 (H, W, 3), any channel order, 0-255.
        annotations: Amodal COCO annotations of this image.

    Returns:
        uint8 (H, W, 3).
    """
    drawn = image.copy()
    for place, annotation in enumerate(annotations):
        colour = np.random.default_rng(place).integers(80, 256, 3)
        amodal = coco_mask.decode(annotation["segmentation"])
        hidden = (amodal == 1) & (coco_mask.decode(annotation["visible_mask"]) == 0)
        drawn[hidden] = (0.5 * drawn[hidden] + 0.5 * colour).astype(np.uint8)
        outlines, _ = cv2.findContours(amodal, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour.tolist(), 2)
    return drawn


def write_contact_sheet(output: Path, record_paths: Sequence[Path] | None = None) -> Path:
    """Write `contact_sheet.png` with images spread evenly over the set and return its path.

    Args:
        record_paths: Records to choose from, each amodal COCO; None takes those of all scenes.
    """
    if record_paths is None:
        records = [record for _, record in read_records(output)]
    else:
        records = [json.loads(path.read_text()) for path in _spread(record_paths, NUM_TILES)]
    pairs = [(record, image) for record in records for image in record["images"]]
    tiles = []
    for record, entry in _spread(pairs, NUM_TILES):
        image = cv2.cvtColor(read_image(output / "images" / entry["file_name"]), cv2.COLOR_RGB2BGR)
        of_image = (a for a in record["annotations"] if a["image_id"] == entry["id"])
        mine = [annotation for annotation in of_image if not annotation["iscrowd"]]
        drawn = draw_instances(np.asarray(image, dtype=np.uint8), mine)
        tiles.append(cv2.resize(drawn, _TILE_WH, interpolation=cv2.INTER_AREA))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[k : k + COLUMNS], axis=1) for k in range(0, len(tiles), COLUMNS)]
    path = output / "contact_sheet.png"
    cv2.imwrite(str(path), np.concatenate(rows))
    return path


def _spread(items: Sequence[Item], number: int) -> list[Item]:
    """Return at most `number` items, spread evenly."""
    chosen = np.linspace(0, len(items) - 1, min(number, len(items))).round().astype(int)
    return [items[k] for k in chosen.tolist()]
