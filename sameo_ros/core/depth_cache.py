"""Depth images by stamp, and the calibration that goes with them."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Any

from sameo_ros.core.stamps import NANOSECONDS, stamp_to_ns

_MAX_IMAGES = 30


class DepthCache:
    """The newest depth images and the newest camera_info of one camera.

    The executor's thread adds, the worker's thread looks up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: deque[Any] = deque(maxlen=_MAX_IMAGES)
        self._camera_info: Any = None

    def add_image(self, message: Any) -> None:
        """Keep a depth image; a step back in time forgets the older ones."""
        with self._lock:
            if self._images and _stamp_ns(message) < _stamp_ns(self._images[-1]):
                self._images.clear()
            self._images.append(message)

    def set_camera_info(self, message: Any) -> None:
        """Keep a sensor_msgs/CameraInfo."""
        with self._lock:
            self._camera_info = message

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._images.clear()
            self._camera_info = None

    def nearest_offset_s(self, stamp_ns: int) -> float:
        """Return the stamp of the nearest depth image minus a stamp, seconds; NaN without any."""
        with self._lock:
            offsets_ns = [_stamp_ns(one) - stamp_ns for one in self._images]
        return min(offsets_ns, key=abs) / NANOSECONDS if offsets_ns else math.nan

    def find(self, stamp_ns: int, tolerance_s: float) -> tuple[Any, Any]:
        """Find what belongs to a colour image.

        Args:
            stamp_ns: Stamp of the colour image, nanoseconds.
            tolerance_s: Largest difference of the stamps.

        Returns:
            The depth image with the nearest stamp, of equal ones the newest, or None if none is
            near enough, and the camera_info, or None if none has come.
        """
        with self._lock:
            images, camera_info = list(reversed(self._images)), self._camera_info
        nearest = min(images, key=lambda one: abs(_stamp_ns(one) - stamp_ns), default=None)
        if nearest is not None and abs(_stamp_ns(nearest) - stamp_ns) > tolerance_s * NANOSECONDS:
            nearest = None
        return nearest, camera_info


def _stamp_ns(message: Any) -> int:
    return stamp_to_ns(message.header.stamp)
