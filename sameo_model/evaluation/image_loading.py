"""Read images ahead of the model in threads, with a progress bar."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from sameo_model.data.types import AmodalImage

NUM_AHEAD = 4


def iterate_with_pixels(
    images: Sequence[AmodalImage], *, progress: bool = False, title: str = "images"
) -> Iterator[tuple[AmodalImage, np.ndarray]]:
    """Yield each image with its pixels, uint8 (H, W, 3) RGB; the next ones load meanwhile.

    Args:
        images: Images to read, in this order.
        progress: Show a progress bar on standard error.
        title: Text before the bar.
    """
    waiting: deque[tuple[AmodalImage, Future]] = deque()
    with (
        ThreadPoolExecutor(2) as pool,
        tqdm(total=len(images), desc=title, unit="image", disable=not progress) as bar,
    ):
        for image in images:
            waiting.append((image, pool.submit(image.load_rgb)))
            if len(waiting) > NUM_AHEAD:
                yield _take(waiting)
                bar.update()
        while waiting:
            yield _take(waiting)
            bar.update()


def _take(waiting: deque[tuple[AmodalImage, Future]]) -> tuple[AmodalImage, np.ndarray]:
    image, future = waiting.popleft()
    return image, future.result()
