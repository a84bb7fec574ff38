"""What came in for one camera, and when: the facts by which missing masks are explained."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

_MAX_TIMES = _MAX_STAMPS = 1024
_MAX_GAPS = 50
_MAX_BOXES = 200
_NUM_REGULAR = 10


class Arrivals:
    """When the messages of one topic came.

    Attributes:
        since_s: Since when they are awaited, monotonic clock.
        number: How many have come.
    """

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.number = 0
        self._times_s: deque[float] = deque(maxlen=_MAX_TIMES)

    def note(self, now_s: float) -> None:
        """Note that a message came."""
        self.number += 1
        self._times_s.append(now_s)

    @property
    def last_s(self) -> float:
        """When the last one came; `since_s` before the first."""
        return self._times_s[-1] if self._times_s else self.since_s

    @property
    def longest_gap_s(self) -> float:
        """The longest time between two of the last 50; 0 before the second."""
        times_s = list(self._times_s)[-_MAX_GAPS:]
        return max((b - a for a, b in itertools.pairwise(times_s)), default=0.0)

    def count(self, since_s: float, until_s: float) -> int:
        """Return how many of the last 1024 came within a time."""
        return sum(since_s <= time_s <= until_s for time_s in self._times_s)


@dataclass(frozen=True)
class Arrival:
    """A message that came."""

    stamp_ns: int  # its stamp, nanoseconds
    received_s: float  # when it came, monotonic clock
    transit_s: float = 0.0  # the node's clock at that moment minus the stamp, seconds


class InputWatch:
    """Notes images and boxes of one camera from activation on.

    The executor's thread writes and judges; the worker's may look up the transit of an image.

    Attributes:
        since_s: When it began, monotonic clock.
        images: Arrivals of images.
        boxes: Arrivals of boxes.
        depth: Arrivals of depth images.
        camera_info: Arrivals of calibrations.
        recent_boxes: The last 200 detection messages, oldest first.
        jumps: Arrivals of images whose stamp is before that of the image before.
        repeats: Arrivals of boxes whose image, which came after the last jump, others answered.
        num_same: How many of the latest images in a row have the same stamp.
        has_answered: Whether any masks have been published.
    """

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.images, self.boxes = Arrivals(since_s), Arrivals(since_s)
        self.depth, self.camera_info = Arrivals(since_s), Arrivals(since_s)
        self.jumps, self.repeats = Arrivals(since_s), Arrivals(since_s)
        self.recent_boxes: deque[Arrival] = deque(maxlen=_MAX_BOXES)
        self.num_same = 0
        self.has_answered = False
        self._by_stamp: dict[int, Arrival] = {}
        self._first: Arrival | None = None
        self._latest: Arrival | None = None

    @property
    def latest_image(self) -> Arrival | None:
        """The image that came last."""
        return self._latest

    def describe_waiting(self) -> str:
        """Say what is awaited; "" once masks have been published."""
        if self.has_answered:
            return ""
        return (
            f"waiting for the first masks: {self.images.number} images and {self.boxes.number} "
            "detection messages have come"
        )

    def note_image(self, stamp_ns: int, now_s: float, transit_s: float) -> None:
        """Note that an image came."""
        self.images.note(now_s)
        before_ns = self._latest.stamp_ns if self._latest else None
        self.num_same = self.num_same + 1 if stamp_ns == before_ns else 1
        if before_ns is not None and stamp_ns < before_ns:
            self.jumps.note(now_s)
        self._latest = Arrival(stamp_ns, now_s, transit_s)
        self._first = self._first or self._latest
        self._by_stamp.pop(stamp_ns, None)
        self._by_stamp[stamp_ns] = self._latest
        while len(self._by_stamp) > _MAX_STAMPS:
            del self._by_stamp[next(iter(self._by_stamp))]

    def note_boxes(self, stamp_ns: int, now_s: float) -> None:
        """Note that boxes came."""
        self.boxes.note(now_s)
        image = self.find_image(stamp_ns)
        if (
            image is not None
            and image.received_s >= self.jumps.last_s
            and any(
                one.stamp_ns == stamp_ns and one.received_s >= image.received_s
                for one in self.recent_boxes
            )
        ):
            self.repeats.note(now_s)
        self.recent_boxes.append(Arrival(stamp_ns, now_s))

    def find_image(self, stamp_ns: int) -> Arrival | None:
        """Return the image of that stamp, if it has come among the last 1024."""
        return self._by_stamp.get(stamp_ns)

    def is_before_first_image(self, stamp_ns: int, within_s: float) -> bool:
        """Whether a stamp is before that of the first image, by at most a time."""
        first = self._first
        return first is not None and 0 < (first.stamp_ns - stamp_ns) * 1e-9 < within_s

    def has_regular_images(self) -> bool:
        """Whether the stamps of the last 10 images are evenly spaced, as where none is missing."""
        stamps_ns = list(self._by_stamp)[-_NUM_REGULAR:]
        gaps_ns = [b - a for a, b in itertools.pairwise(stamps_ns)]
        return len(gaps_ns) >= _NUM_REGULAR // 2 and max(gaps_ns) < 1.5 * min(gaps_ns)

    def nearest_offset_s(self, stamp_ns: int) -> float | None:
        """Return a stamp minus the nearest stamp of an image, seconds; None without images."""
        offsets_ns = (stamp_ns - one for one in self._by_stamp)
        nearest_ns = min(offsets_ns, key=abs, default=None)
        return None if nearest_ns is None else nearest_ns * 1e-9
