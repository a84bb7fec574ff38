"""Depth images by stamp, and the calibration that goes with them."""

from __future__ import annotations

import math
import threading
from typing import Any

from sameo_ros.core.stamps import NANOSECONDS, stamp_to_ns

MAX_DEPTH_MIB = 256
# Boxes that wait for the worker keep their image for longer than max_age_s.
DEPTH_SLACK_S = 1.0
_MAX_UNMET = 32


class DepthCache:
    """The newest depth images and the newest camera_info of one camera.

    The executor's thread adds, the worker's thread looks up.

    Attributes:
        late_s: How long after an image was looked up in vain the depth of its stamp came, seconds,
            if that was between the last two look-ups; else None.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: dict[int, Any] = {}  # by stamp, nanoseconds
        self._forgotten_ns = -1  # stamp of the newest that was forgotten
        self.late_s: float | None = None
        self._unmet: dict[int, float] = {}  # when depth of a stamp was looked for in vain
        self._next_late_s: float | None = None
        self._camera_info: Any = None

    def add_image(self, message: Any, now_s: float, max_age_s: float) -> None:
        """Keep a depth image; one of the same stamp is replaced.

        A step back in time forgets the older ones.

        Args:
            message: The sensor_msgs/Image.
            now_s: Monotonic clock.
            max_age_s: How long colour images wait for their boxes.
        """
        stamp_ns = stamp_to_ns(message.header.stamp)
        with self._lock:
            if self._images and stamp_ns < next(reversed(self._images)):
                self._forget_images()
            self._images.pop(stamp_ns, None)
            self._images[stamp_ns] = message
            # One in vain means nothing: before the first depth nobody waits for it.
            if stamp_ns in self._unmet and len(self._unmet) > 1:
                self._next_late_s = now_s - self._unmet[stamp_ns]
            self._expire(stamp_ns - round((max_age_s + DEPTH_SLACK_S) * NANOSECONDS))

    def set_camera_info(self, message: Any) -> None:
        """Keep a sensor_msgs/CameraInfo."""
        with self._lock:
            self._camera_info = message

    @property
    def has_camera_info(self) -> bool:
        """Whether a camera_info has come."""
        return self._camera_info is not None

    def clear_images(self) -> None:
        """Forget the depth images; camera_info stays, as it may be sent only once."""
        with self._lock:
            self._forget_images()

    def has_forgotten(self, stamp_ns: int) -> bool:
        """Whether depth of a stamp, or of a later one, came and is not kept any more."""
        with self._lock:
            return stamp_ns <= self._forgotten_ns

    def nearest_offset_s(self, stamp_ns: int) -> float:
        """Return the stamp of the nearest depth image minus a stamp, seconds; NaN without any."""
        with self._lock:
            offsets_ns = [one_ns - stamp_ns for one_ns in self._images]
        return min(offsets_ns, key=abs) / NANOSECONDS if offsets_ns else math.nan

    def find(self, stamp_ns: int, now_s: float, tolerance_s: float) -> tuple[Any, Any]:
        """Find what belongs to a colour image.

        Args:
            stamp_ns: Stamp of the colour image, nanoseconds.
            now_s: Monotonic clock.
            tolerance_s: Largest difference of the stamps.

        Returns:
            The depth image with the nearest stamp, or None if none is near enough, and the
            camera_info, or None if none has come.
        """
        with self._lock:
            self.late_s, self._next_late_s = self._next_late_s, None
            if stamp_ns in self._images:
                self._unmet, self.late_s = {}, None
            else:
                self._unmet[stamp_ns] = now_s
                while len(self._unmet) > _MAX_UNMET:
                    del self._unmet[next(iter(self._unmet))]
            nearest_ns = min(self._images, key=lambda one_ns: abs(one_ns - stamp_ns), default=None)
            if nearest_ns is None or abs(nearest_ns - stamp_ns) > tolerance_s * NANOSECONDS:
                return None, self._camera_info
            return self._images[nearest_ns], self._camera_info

    def _forget_images(self) -> None:
        self._images, self._forgotten_ns = {}, -1
        self._unmet, self.late_s, self._next_late_s = {}, None, None

    def _expire(self, oldest_ns: int) -> None:
        """Forget images before a stamp, and the oldest of too many bytes, but not the newest."""
        num_bytes = sum(len(one.data) for one in self._images.values())
        for stamp_ns in list(self._images)[:-1]:
            if stamp_ns < oldest_ns or num_bytes > MAX_DEPTH_MIB * 2**20:
                num_bytes -= len(self._images.pop(stamp_ns).data)
                self._forgotten_ns = stamp_ns
