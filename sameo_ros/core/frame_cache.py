"""Pairing of images, boxes and depth for one camera: what to answer, to encode, to drop.

Plain data structures without threads, clocks or ROS: every call gets the time and the settings.
Order of arrival, never the stamp, decides what is newest, so that recordings may loop.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sameo_model.runtime.types import Embedding, Uint8Array
from sameo_ros.core.detector_rhythm import DetectorRhythm
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.stamps import NANOSECONDS

MAX_CACHED_MIB = 512
_MAX_WAITING = 32
_MAX_FORGOTTEN = 1024
_NUM_DEPTHS = 10
_MAX_WITHOUT_DEPTH = 0.25
_EARLY_NS = 10 * NANOSECONDS


class DropCause(Enum):
    """Why boxes were not answered; the value is the diagnostic key."""

    SUPERSEDED = "dropped_superseded"
    UNMATCHED = "dropped_unmatched"
    LATE = "dropped_late"
    FAILED = "dropped_failed"


class Loss(Enum):
    """Why an image is not kept any more."""

    AGE = "max_age_s"
    MEMORY = "limit of memory"
    JUMP = "time went back"


@dataclass(frozen=True)
class Drop:
    """Boxes that were given up."""

    cause: DropCause  # why
    stamp_ns: int  # their stamp, nanoseconds
    # why their image is not kept any more; None where it has not come, or the cache was cleared
    loss: Loss | None = None
    # how long after their image they came, seconds; NaN where that is unknown
    behind_s: float = math.nan
    # whether they were unmatched because no image had come yet, or their stamp is from the 10 s
    # before the first
    is_early: bool = False


@dataclass(eq=False)
class Frame:
    """An image that came."""

    stamp_ns: int  # its stamp, nanoseconds
    number: int  # running number of arrival
    received_s: float  # when it came, monotonic clock
    message: Any  # the image message
    # uint8 (H, W, 3), its pixels, from the first reading until it is delivered
    image_rgb: Uint8Array | None = None
    embedding: Embedding | None = None  # what the encoder made of it, once it has run
    fault: str = ""  # why it cannot be read or encoded, "" as long as nothing is known
    is_searched: bool = False  # whether the built-in detector has seen it

    @property
    def num_bytes(self) -> int:
        """Memory of the message and of pixels that are not a view of it, bytes."""
        pixels = self.image_rgb
        is_copy = pixels is not None and pixels.flags.owndata
        return len(self.message.data) + (pixels.nbytes if pixels is not None and is_copy else 0)


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes that came."""

    stamp_ns: int  # their stamp, nanoseconds
    received_s: float  # when they came, monotonic clock
    newest: int  # number of the newest frame at that moment
    message: Any  # the detections message


class FrameCache:
    """Images by stamp, and boxes that wait for the worker, for their image or for its depth."""

    def __init__(self) -> None:
        self._frames: dict[int, Frame] = {}
        self._forgotten: dict[int, tuple[float, Loss]] = {}  # when it came, by stamp
        self._waiting: list[Boxes] = []
        self._drops: list[Drop] = []
        self._rhythm = DetectorRhythm()
        self._num_images = 0
        self._latest: Frame | None = None
        self._first_ns: int | None = None
        self._found: tuple[int, float] | None = None  # stamp, and when they were published
        self._depths_ns: deque[int] = deque(maxlen=_NUM_DEPTHS)

    @property
    def latest(self) -> Frame | None:
        """The frame that came last, however old."""
        return self._latest

    def take_drops(self) -> list[Drop]:
        """Take the boxes that were given up since the last call."""
        drops, self._drops = self._drops, []
        return drops

    def add_image(
        self, stamp_ns: int, message: Any, now_s: float, settings: SameoParameters
    ) -> bool:
        """Keep an image; one of the same stamp is replaced.

        Returns:
            Whether time went backwards. Then all older frames are forgotten: after a loop or a
            reset of a simulation the same stamps may mean other images.
        """
        went_back = self._latest is not None and stamp_ns < self._latest.stamp_ns
        if went_back:
            lost = {stamp: (one.received_s, Loss.JUMP) for stamp, one in self._frames.items()}
            self._forget_frames()
            self._forgotten = lost
            for boxes in [boxes for boxes in self._waiting if boxes.stamp_ns != stamp_ns]:
                self._drop(boxes, DropCause.LATE, Loss.JUMP)
        self._num_images += 1
        self._latest = Frame(stamp_ns, self._num_images, now_s, message)
        self._first_ns = stamp_ns if self._first_ns is None else self._first_ns
        self._frames.pop(stamp_ns, None)
        self._frames[stamp_ns] = self._latest
        self._expire_frames(now_s, settings)
        return went_back

    def add_boxes(
        self, stamp_ns: int, message: Any, now_s: float, settings: SameoParameters
    ) -> None:
        """Let boxes wait for the worker, and for their image if it has not come yet."""
        self._expire_frames(now_s, settings)
        for boxes in [boxes for boxes in self._waiting if boxes.stamp_ns == stamp_ns]:
            self._drop(boxes, DropCause.SUPERSEDED)
        boxes = Boxes(stamp_ns, now_s, self._num_images, message)
        self._waiting.append(boxes)
        if self._found is not None and self._found[0] == stamp_ns:
            self._found = None
        _, loss = self._forgotten.get(stamp_ns, (0.0, None))
        # After a jump another image of that stamp may come.
        if stamp_ns not in self._frames and loss not in (None, Loss.JUMP):
            self._drop_unanswered(boxes, settings)
        elif len(self._waiting) > _MAX_WAITING:
            self._drop(self._waiting[0], DropCause.UNMATCHED)

    def add_depth(self, stamp_ns: int | None) -> None:
        """Note the stamp of a depth image that came, or None if boxes need not wait for depth."""
        if stamp_ns is None:
            self._depths_ns.clear()
        else:
            self._depths_ns.append(stamp_ns)

    def take_ready(self, now_s: float, settings: SameoParameters) -> tuple[Frame, Boxes] | None:
        """Take the boxes of the newest frame that has any; those of older frames are dropped.

        Boxes whose image did not come in time are dropped as well. Where the latest depth has the
        stamp of an earlier image, and few images before lack it, boxes wait for that of theirs
        too, up to `max_wait_s`.
        """
        pairs = []
        for boxes in list(self._waiting):
            expired = now_s >= boxes.received_s + settings.max_wait_s
            frame = self._find_frame(boxes, settings, expired=expired)
            if frame is None and expired:
                self._drop_unanswered(boxes, settings)
            elif frame is not None and (expired or not self._may_get_depth(frame)):
                pairs.append((frame, boxes))
        if not pairs:
            return None
        pairs.sort(key=lambda pair: pair[0].number)
        for frame, boxes in pairs:
            self._rhythm.observe(frame.number, boxes.newest)
        for _, boxes in pairs[:-1]:
            self._drop(boxes, DropCause.SUPERSEDED)
        self._waiting.remove(pairs[-1][1])
        return pairs[-1]

    def find_ahead(self, now_s: float, settings: SameoParameters) -> Frame | None:
        """Find the frame that is worth encoding before its boxes come."""
        self._expire_frames(now_s, settings)
        mode = settings.encode_ahead
        if mode == "off" or (mode == "auto" and self._rhythm.is_silent):
            return None
        if mode == "auto" and self._rhythm.is_known:
            by_number = {frame.number: frame for frame in self._frames.values()}
            candidates = [by_number.get(number) for number in self._rhythm.predict()]
        else:
            candidates = [self._frames.get(self._latest.stamp_ns)] if self._latest else []
        unknown = (one for one in candidates if one and one.embedding is None and not one.fault)
        return next(unknown, None)

    def take_unsearched(self, now_s: float, settings: SameoParameters) -> Frame | None:
        """Take the latest frame for the built-in detector, if it has not had it yet.

        None while boxes that were found before are on their way: they come first.
        """
        if self._found is not None and now_s >= self._found[1] + settings.max_wait_s:
            self._found = None  # lost on the way
        frame = self._latest
        if self._found is not None or frame is None or frame.is_searched or frame.fault:
            return None
        frame.is_searched = True
        return frame

    def await_found(self, stamp_ns: int, now_s: float) -> None:
        """Expect boxes that the built-in detector found, and that were published now."""
        self._found = stamp_ns, now_s

    def next_deadline_s(self, settings: SameoParameters) -> float | None:
        """Say when something will have waited long enough, monotonic clock."""
        deadlines = [boxes.received_s + settings.max_wait_s for boxes in self._waiting]
        if self._found is not None:
            deadlines.append(self._found[1] + settings.max_wait_s)
        return min(deadlines, default=None)

    def trim(self, settings: SameoParameters) -> None:
        """Beyond `cache_frames` let the oldest frames lose their embeddings and pixels."""
        encoded = [kept for kept in self._frames.values() if kept.embedding is not None]
        for kept in encoded[: -settings.cache_frames]:
            kept.embedding = kept.image_rgb = None

    def clear(self) -> None:
        """Forget everything; boxes that still wait are dropped as late."""
        for boxes in list(self._waiting):
            self._drop(boxes, DropCause.LATE)
        self._forget_frames()

    def _find_frame(
        self, boxes: Boxes, settings: SameoParameters, *, expired: bool
    ) -> Frame | None:
        exact = self._frames.get(boxes.stamp_ns)
        if exact is not None or settings.stamp_tolerance_s == 0:
            return exact
        # The exact one may still come as long as no later image has.
        if not expired and all(stamp < boxes.stamp_ns for stamp in self._frames):
            return None
        readable = [frame for frame in self._frames.values() if not frame.fault]
        nearest = min(readable, key=lambda f: abs(f.stamp_ns - boxes.stamp_ns), default=None)
        if nearest is None:
            return None
        difference_ns = abs(nearest.stamp_ns - boxes.stamp_ns)
        return nearest if difference_ns <= settings.stamp_tolerance_s * NANOSECONDS else None

    def _may_get_depth(self, frame: Frame) -> bool:
        """Whether depth of that stamp may still come, as that of most images just before did."""
        depths_ns = self._depths_ns
        if not depths_ns or depths_ns[-1] not in self._frames or depths_ns[-1] >= frame.stamp_ns:
            return False
        before = [one for one in self._frames if depths_ns[0] < one <= depths_ns[-1]]
        num_without = sum(one not in depths_ns for one in before)
        return num_without <= _MAX_WITHOUT_DEPTH * len(before)

    def _expire_frames(self, now_s: float, settings: SameoParameters) -> None:
        """Forget old frames, but never one whose boxes wait for the worker."""
        num_bytes = sum(frame.num_bytes for frame in self._frames.values())
        awaited = [self._find_frame(boxes, settings, expired=True) for boxes in self._waiting]
        for frame in list(self._frames.values()):
            is_old = now_s - frame.received_s > settings.max_age_s
            is_too_much = num_bytes > MAX_CACHED_MIB * 2**20 and frame is not self._latest
            if (is_old or is_too_much) and frame not in awaited:
                num_bytes -= frame.num_bytes
                del self._frames[frame.stamp_ns]
                loss = Loss.AGE if is_old else Loss.MEMORY
                self._forgotten[frame.stamp_ns] = frame.received_s, loss
        while len(self._forgotten) > _MAX_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]

    def _forget_frames(self) -> None:
        self._frames.clear()
        self._forgotten.clear()
        self._latest = self._first_ns = self._found = None
        self._rhythm = DetectorRhythm()

    def _drop_unanswered(self, boxes: Boxes, settings: SameoParameters) -> None:
        """Drop boxes without an image: as late if it was forgotten, else as unmatched."""
        nearest_ns = min(self._forgotten, key=lambda one: abs(one - boxes.stamp_ns), default=None)
        tolerance_ns = settings.stamp_tolerance_s * NANOSECONDS
        if nearest_ns is None or abs(nearest_ns - boxes.stamp_ns) > tolerance_ns:
            self._drop(boxes, DropCause.UNMATCHED)
        else:
            received_s, loss = self._forgotten[nearest_ns]
            self._drop(boxes, DropCause.LATE, loss, boxes.received_s - received_s)

    def _drop(
        self,
        boxes: Boxes,
        cause: DropCause,
        loss: Loss | None = None,
        behind_s: float = math.nan,
    ) -> None:
        self._waiting.remove(boxes)
        first_ns = self._first_ns
        is_early = first_ns is None or 0 < first_ns - boxes.stamp_ns < _EARLY_NS
        is_early &= cause is DropCause.UNMATCHED
        self._drops.append(Drop(cause, boxes.stamp_ns, loss, behind_s, is_early))
