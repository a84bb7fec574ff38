"""Arrange objects: loosely on tables and floors, apart, in piles, in bins, in rows on shelves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.assets import Asset
from sameo_model.synthesis.stage import Stage, StageKind, sample_stage

Rng = np.random.Generator
Pose = tuple[NDArray[np.float64], NDArray[np.float64]]

# What stands below, and the disc that objects start above, as a factor of their joint footprint's
# radius: well below 1 they pile up, well above they lie apart.
ARRANGEMENTS: dict[str, tuple[StageKind, float, float]] = {
    "table": ("table", 0.5, 1.4),
    "floor": ("floor", 0.5, 1.4),
    "bin": ("bin", 0.5, 1.4),
    "flat": ("table", 1.5, 2.2),
    "pile": ("table", 0.4, 0.7),
    "shelf": ("shelf", 1.0, 1.0),
}
ALL_ARRANGEMENTS = {"table": 0.2, "floor": 0.1, "bin": 0.2, "flat": 0.1, "pile": 0.2, "shelf": 0.2}


def arrange(
    rng: Rng, assets: list[Asset], arrangements: Mapping[str, float] | None
) -> tuple[Stage, float, list[Pose] | None]:
    """Draw a stage for objects.

    Args:
        arrangements: Keys of `ARRANGEMENTS` with their shares; None takes tables, floors and bins.

    Returns:
        The stage; the radius in metres of the disc that objects start above; and their poses,
        position (3,) in metres and quat (4,) as (w, x, y, z), or None where they are dropped.
    """
    footprint = sum(float(np.prod(np.sort(asset.extent)[1:])) for asset in assets)
    base = float(np.sqrt(footprint / np.pi))
    if arrangements is None:
        radius = float(base * rng.uniform(0.5, 1.4))
        return sample_stage(rng, radius), radius, None
    shares = np.array(list(arrangements.values()))
    name = list(arrangements)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    kind, low, high = ARRANGEMENTS[name]
    radius = base * float(rng.uniform(low, high))
    if kind != "shelf":
        stage = sample_stage(rng, radius, kind)
        fence_m = 0.0
        if name == "pile":
            fence_m = max(radius, 0.6 * max(float(asset.extent.max()) for asset in assets))
        return replace(stage, fence_m=fence_m), min(radius, 0.5 * fence_m or radius), None
    stage, poses = fill_shelf(rng, assets)
    return stage, radius, poses


def fill_shelf(rng: Rng, assets: list[Asset]) -> tuple[Stage, list[Pose]]:
    """Return a shelf of one to three boards and poses in a front and a back row of each board.

    Objects stand as their files have them, turned about the vertical, or lie.
    """
    num_boards = int(rng.integers(1, min(3, 1 + len(assets) // 4) + 1))
    quats = [_shelf_quat(rng) for _ in assets]
    bounds = [_bounds(asset, quat) for asset, quat in zip(assets, quats, strict=True)]
    sizes = np.array([high - low for low, high in bounds])
    row_depth = float(sizes[:, 1].max()) * float(rng.uniform(0.75, 1.1))
    gap_m = float(sizes[:, 2].max()) * float(rng.uniform(1.1, 1.5)) + 0.03
    slots = rng.permutation(len(assets)) % (2 * num_boards)  # row and board of each object
    gaps = rng.uniform(0.005, 0.04, len(assets))
    spaces = sizes[:, 0] + gaps
    lengths = [float(spaces[slots == slot].sum()) for slot in range(2 * num_boards)]
    half = (max(lengths) / 2 + 0.02, row_depth + 0.02)
    poses: list[Pose | None] = [None] * len(assets)
    for slot in range(2 * num_boards):
        x = -half[0] + 0.02 + float(rng.uniform(0, max(lengths) - lengths[slot]))
        for k in np.flatnonzero(slots == slot):
            low, _ = bounds[k]
            middle_y = (slot % 2 - 0.5) * row_depth + float(rng.uniform(-0.01, 0.01))
            position = np.array([x, middle_y - sizes[k, 1] / 2, (slot // 2) * gap_m + 0.003]) - low
            poses[k] = (position, quats[k])
            x += float(spaces[k])
    boards = tuple(gap_m * k for k in range(num_boards))
    stage = Stage("shelf", half, gap_m * num_boards - 0.02, boards)
    return stage, [pose for pose in poses if pose is not None]


def _shelf_quat(rng: Rng) -> NDArray[np.float64]:
    yaw = rng.uniform(0, 2 * np.pi)
    quat = np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
    if rng.random() < 0.8:
        return quat
    lying = np.zeros(4)
    mujoco.mju_mulQuat(lying, quat, np.array([np.sqrt(0.5), np.sqrt(0.5), 0, 0]))
    return lying


def _bounds(asset: Asset, quat: NDArray[np.float64]) -> Pose:
    """Return the corners (3,) of the box around a turned object, metres."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat)
    points = asset.points @ matrix.reshape(3, 3).T
    return points.min(axis=0), points.max(axis=0)
