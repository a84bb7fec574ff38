"""Images, boxes and masks of one stamp, joined as they come; what did not fit is counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

_MAX_KEPT = 30


class MessageJoin:
    """Keeps the newest images and boxes until the masks that answer them come.

    Attributes:
        tolerance_ns: Largest difference between the stamps of boxes and masks, nanoseconds.
        num_masks: How many messages of masks have come.
    """

    def __init__(self) -> None:
        self.tolerance_ns = 0
        self.num_masks = 0
        self._images: dict[int, Any] = {}
        self._boxes: dict[int, Any] = {}
        self._counts: Counter[str] = Counter()

    def add_image(self, stamp_ns: int, image: Any) -> None:
        """Keep an image; one of the same stamp is replaced."""
        self._counts["images"] += 1
        _keep(self._images, stamp_ns, image)

    def add_boxes(self, stamp_ns: int, boxes: Any) -> None:
        """Keep boxes; those of the same stamp are replaced."""
        self._counts["detection messages"] += 1
        _keep(self._boxes, stamp_ns, boxes)

    def find(self, stamp_ns: int) -> tuple[Any, Any] | None:
        """Return the image and the boxes that masks of a stamp answer, None without either."""
        self.num_masks += 1
        image = self._images.get(stamp_ns)
        nearest_ns = min(self._boxes, key=lambda one: abs(one - stamp_ns), default=None)
        if image is None:
            self._counts["without image"] += 1
        if nearest_ns is None or abs(nearest_ns - stamp_ns) > self.tolerance_ns:
            self._counts["without boxes"] += 1
        elif image is not None:
            return image, self._boxes[nearest_ns]
        return None

    def describe(self) -> str:
        """Say what has come, and which masks found no image or no boxes of their stamp."""
        counts = self._counts
        came = f"{counts['images']} images, {counts['detection messages']} detection messages"
        sentence = f"{came} and {self.num_masks} messages of masks came"
        for missing in ("image", "boxes"):
            if number := counts[f"without {missing}"]:
                sentence += f"; {number} of the masks found no {missing} of their stamp"
        return sentence


def _keep(kept: dict[int, Any], stamp_ns: int, one: Any) -> None:
    kept[stamp_ns] = one
    while len(kept) > _MAX_KEPT:
        del kept[next(iter(kept))]
