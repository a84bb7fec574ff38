"""Read images ahead of the model in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from sameo_model.data.types import AmodalImage

NUM_AHEAD = 4


def load_ahead(images: Iterable[AmodalImage]) -> Iterator[tuple[AmodalImage, np.ndarray]]:
    """Yield each image with its pixels, uint8 (H, W, 3) RGB; the next ones load meanwhile.

    Raises:
        FileNotFoundError: If an image file does not exist.
        ValueError: If it cannot be read or has another size than its annotations.
    """
    waiting: deque[tuple[AmodalImage, Future]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for image in images:
            waiting.append((image, pool.submit(image.load_rgb)))
            if len(waiting) > NUM_AHEAD:
                yield _take(waiting)
        while waiting:
            yield _take(waiting)


def _take(waiting: deque[tuple[AmodalImage, Future]]) -> tuple[AmodalImage, np.ndarray]:
    image, future = waiting.popleft()
    return image, future.result()
