"""A modal set in LVIS v1's form: drawn objects on noise, photographs by number reproducible."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

CATEGORIES = ("mug", "plate", "book")


def write_lvis(
    root: Path, num_images: int, hw: tuple[int, int] = (120, 160), objects: int = 3
) -> Path:
    """Write `annotations/lvis_v1_train.json` and photographs of `train2017/`.

    Each photograph shows `objects` star-shaped objects side by side, the last of which touches the
    right border.
    """
    folder = root / "train2017"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(1, num_images + 1):
        generator = np.random.default_rng(number)
        image = cv2.resize(
            generator.integers(0, 255, (hw[0] // 8, hw[1] // 8, 3), dtype=np.uint8), hw[::-1]
        )
        for place in range(objects):
            polygon = _star(generator, place, objects, hw)
            colour = generator.integers(0, 255, 3).tolist()
            cv2.fillPoly(image, [polygon.round().astype(np.int32)], colour)
            x, y = polygon.min(axis=0)
            width, height = np.ptp(polygon, axis=0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1 + place % len(CATEGORIES),
                    "segmentation": [polygon.ravel().round(2).tolist()],
                    "area": float(width * height),
                    "bbox": [float(x), float(y), float(width), float(height)],
                }
            )
        assert cv2.imwrite(str(folder / f"{number:012d}.jpg"), image)
        images.append(
            {
                "id": number,
                "height": hw[0],
                "width": hw[1],
                "coco_url": f"http://images.example.org/train2017/{number:012d}.jpg",
            }
        )
    categories = [{"id": n, "name": name} for n, name in enumerate(CATEGORIES, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "lvis_v1_train.json").write_text(json.dumps(content))
    return root


def _star(
    generator: np.random.Generator, place: int, objects: int, hw: tuple[int, int]
) -> np.ndarray:
    """Return float (P, 2), an outline that fills its share of the image's width."""
    cell = hw[1] / objects
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    largest = 0.45 * min(cell, hw[0])
    radii = largest * generator.uniform(0.6, 1.0, len(angles))
    centre_x = (place + 0.5) * cell if place < objects - 1 else hw[1] - 0.3 * largest
    centre_y = hw[0] / 2 + generator.uniform(-0.05, 0.05) * hw[0]
    polygon = np.stack([centre_x + radii * np.cos(angles), centre_y + radii * np.sin(angles)], 1)
    return np.clip(polygon, 0, [hw[1], hw[0]])
