"""Drop objects and wait until they rest."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.assets import Asset
from sameo_model.synthesis.stage import Stage

Rng = np.random.Generator
MAX_SPEED_AT_REST = 0.05  # m/s
_BLOW_UP_SPEED = 20.0  # m/s, faster than any fall in a scene


def random_quat(rng: Rng) -> NDArray[np.float64]:
    """Draw a pose float64 (4,) as (w, x, y, z): mostly upright, sometimes lying or tumbled."""
    yaw, kind = rng.uniform(0, 2 * np.pi), rng.random()
    quat = np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
    if kind < 0.55:
        return quat
    if kind < 0.78:
        axis = rng.uniform(0, 2 * np.pi)
        tilt = np.array([1, np.cos(axis), np.sin(axis), 0]) / np.sqrt(2)
        result = np.zeros(4)
        mujoco.mju_mulQuat(result, tilt, quat)
        return result
    random = rng.normal(size=4)
    return np.asarray(random / np.linalg.norm(random))


def place_above(
    rng: Rng, assets: list[Asset], radius_m: float
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Draw start poses at which no two objects touch.

    Args:
        radius_m: Objects start above a disc of this radius.

    Returns:
        One (position (3,) in metres, quat (4,) as (w, x, y, z)) of each object's frame.
    """
    centres: list[NDArray[np.float64]] = []
    radii: list[float] = []
    poses = []
    for asset in assets:
        points = asset.points
        middle = (points.max(0) + points.min(0)) / 2
        radius = float(np.linalg.norm(points - middle, axis=1).max())
        angle, distance = rng.uniform(0, 2 * np.pi), radius_m * np.sqrt(rng.random())
        centre = np.array([distance * np.cos(angle), distance * np.sin(angle), radius + 0.005])
        for other, other_radius in sorted(
            zip(centres, radii, strict=True), key=lambda o: float(o[0][2])
        ):
            reach = (radius + other_radius) ** 2 - ((centre - other)[:2] ** 2).sum()
            if reach > 0 and centre[2] < other[2] + np.sqrt(reach):
                centre[2] = other[2] + np.sqrt(reach)
        centres.append(centre)
        radii.append(radius)
        quat, offset = random_quat(rng), np.zeros(3)
        mujoco.mju_rotVecQuat(offset, middle, quat)
        poses.append((centre - offset, quat))
    return poses


def settle(model: mujoco.MjModel, data: mujoco.MjData, max_time_s: float = 4.0) -> bool:
    """Step until every body rests; motion is damped more and more as time goes on.

    Returns:
        Whether everything came to rest; False after a blow-up or when time is over.
    """
    block, still = 10, 0
    while data.time < max_time_s:
        for _ in range(block):
            mujoco.mj_step(model, data)
        speed = float(np.abs(data.qvel.reshape(-1, 6)[:, :3]).max())
        if (
            not np.isfinite(speed)
            or speed > _BLOW_UP_SPEED
            or data.warning[int(mujoco.mjtWarning.mjWARN_BADQACC)].number
        ):
            return False
        still = still + 1 if speed < MAX_SPEED_AT_REST else 0
        if still >= 4:
            return True
        if data.time > 0.8:
            data.qvel *= 0.9 if data.time < 2.0 else 0.75
    return False


def is_on_stage(position: NDArray[np.float64], stage: Stage) -> bool:
    """Return whether an object at xyz in metres is still where the cameras look."""
    x, y = stage.half_xy
    reach = 0.6 if stage.kind == "floor" else np.inf
    inside = abs(position[0]) < x + 0.03 and abs(position[1]) < y + 0.03
    return bool(inside and position[2] > -0.02 and np.hypot(position[0], position[1]) < reach)
