"""Where frames lie to each other over time, from the messages on /tf and /tf_static."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sameo_ros.core.placement import Placement
from sameo_ros.core.stamps import NANOSECONDS, stamp_to_ns

Array = npt.NDArray[np.float64]

_KEPT_NS = 10 * NANOSECONDS
# Messages of one publisher do not overtake each other by more than this.
_MAX_STEP_BACK_NS = NANOSECONDS
# A camera's image may be newer than the newest pose of its arm by this much.
_TOLERANCE_NS = NANOSECONDS // 10
_MAX_DEPTH = 100


class TransformTree:
    """Frames by name, each with its parent; several threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parents: dict[str, str] = {}
        self._poses: dict[str, deque[tuple[int, Array]]] = {}
        self._is_static: dict[str, bool] = {}

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._parents.clear()
            self._poses.clear()
            self._is_static.clear()

    def add(self, message: Any, *, is_static: bool) -> None:
        """Keep the transforms of a tf2_msgs/TFMessage; those that are not finite are left out."""
        for transform in message.transforms:
            pose = _to_matrix(transform.transform)
            if pose is not None:
                self._add(transform, pose, is_static)

    def find(self, frame_id: str, optical_frame_id: str, stamp_ns: int) -> Placement:
        """Find how a frame lies to a camera's optical frame.

        Args:
            stamp_ns: Stamp of the image, nanoseconds.

        Raises:
            LookupError: If the frames are not connected at that time; the message says why.
        """
        with self._lock:
            source, target = (self._climb(name, stamp_ns) for name in (optical_frame_id, frame_id))
        shared = next((name for name in source if name in target), None)
        if shared is None:
            raise LookupError(
                f"target_frame {frame_id} is not connected with {optical_frame_id} by /tf: publish "
                f"their transforms (known frames: {', '.join(self._names()) or 'none'})"
            )
        matrix = np.linalg.inv(target[shared]) @ source[shared]
        return Placement(frame_id, matrix[:3, :3], matrix[:3, 3], np.array([0.0, 0.0, 1.0]))

    def _names(self) -> list[str]:
        with self._lock:
            return sorted({*self._parents, *self._parents.values()})[:20]

    def _add(self, transform: Any, pose: Array, is_static: bool) -> None:
        child, parent = str(transform.child_frame_id), str(transform.header.frame_id)
        stamp_ns = stamp_to_ns(transform.header.stamp)
        with self._lock:
            poses = self._poses.setdefault(child, deque())
            moved = self._parents.get(child) != parent or self._is_static.get(child) != is_static
            if is_static or moved or (poses and stamp_ns < poses[-1][0] - _MAX_STEP_BACK_NS):
                poses.clear()  # another tree, or a bag or simulation that begins again
            self._parents[child], self._is_static[child] = parent, is_static
            if not poses or stamp_ns > poses[-1][0]:
                poses.append((stamp_ns, pose))
            while poses[-1][0] - poses[0][0] > _KEPT_NS:
                poses.popleft()

    def _climb(self, name: str, stamp_ns: int) -> dict[str, Array]:
        """Return the pose of a frame in each of its ancestors, itself first."""
        pose, found = np.eye(4), {}
        for _ in range(_MAX_DEPTH):
            found[name] = pose
            if name not in self._parents or self._parents[name] in found:
                break
            pose = self._pose_at(name, stamp_ns) @ pose
            name = self._parents[name]
        return found

    def _pose_at(self, child: str, stamp_ns: int) -> Array:
        poses = self._poses[child]
        if self._is_static[child]:
            return poses[-1][1]
        after = next((i for i, (at, _) in enumerate(poses) if at >= stamp_ns), len(poses))
        if after < len(poses) and after > 0:
            return _interpolate(poses[after - 1], poses[after], stamp_ns)
        nearest_ns, pose = poses[0] if after == 0 else poses[-1]
        if abs(nearest_ns - stamp_ns) > _TOLERANCE_NS:
            raise LookupError(
                f"the transform of {child} on /tf is {abs(nearest_ns - stamp_ns) * 1e-9:.2f} s "
                f"{'newer' if after == 0 else 'older'} than the image; let its publisher and the "
                "camera use the same clock"
            )
        return pose


def _to_matrix(transform: Any) -> Array | None:
    turn, move = transform.rotation, transform.translation
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w], dtype=np.float64)
    length = np.linalg.norm(quaternion)
    if not (np.isfinite([move.x, move.y, move.z, length]).all() and length > 0.5):
        return None
    x, y, z, w = quaternion / length
    sin = np.linalg.norm([x, y, z])
    angle = 2 * np.arctan2(sin, w)
    vector = np.array([x, y, z]) * (angle / sin if sin > 1e-12 else 2.0)
    matrix = np.eye(4)
    matrix[:3, :3] = cv2.Rodrigues(vector)[0]
    matrix[:3, 3] = move.x, move.y, move.z
    return matrix


def _interpolate(before: tuple[int, Array], after: tuple[int, Array], stamp_ns: int) -> Array:
    """Return the pose between two poses: along a line, about one axis."""
    (before_ns, first), (after_ns, second) = before, after
    share = (stamp_ns - before_ns) / (after_ns - before_ns)
    turn = cv2.Rodrigues(first[:3, :3].T @ second[:3, :3])[0]
    matrix = np.eye(4)
    matrix[:3, :3] = first[:3, :3] @ cv2.Rodrigues(share * turn)[0]
    matrix[:3, 3] = (1 - share) * first[:3, 3] + share * second[:3, 3]
    return matrix
