"""Exact amodal and visible masks of one view, and which instances are worth keeping."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.cameras import PinholeCamera
from sameo_model.synthesis.placement import touches_border
from sameo_model.synthesis.rendering import WIDE_FACTOR, SceneRenderer

_NEAR_M = 0.02
_MARGIN_PX = 6.0  # more than two pixels of the wide view


@dataclass(frozen=True)
class Keep:
    """Which instances become annotations."""

    visible_share: float = 0.10  # least visible part of the amodal mask
    amodal_px: int = 200  # least amodal area in pixels
    frame_share: float = 0.60  # least part of the whole silhouette that lies inside the image


@dataclass(frozen=True)
class InstanceTruth:
    """One object in one view."""

    index: int  # number of the object in the scene
    # bool (H, W), what the object covers inside the image with nothing before it
    amodal_mask: NDArray[np.bool_]
    # bool (H, W), the part that nothing hides, a subset of `amodal_mask`
    visible_mask: NDArray[np.bool_]

    @property
    def occlusion_rate(self) -> float:
        """Return the hidden share of the amodal mask, in [0, 1]."""
        return float(1 - np.count_nonzero(self.visible_mask) / np.count_nonzero(self.amodal_mask))


@dataclass(frozen=True)
class ViewTruth:
    """What one view shows."""

    instances: list[InstanceTruth]  # objects worth keeping, by number
    # bool (H, W) by number of the object: visible pixels of objects that are not worth keeping,
    # such as those that the image cuts off
    left_over: dict[int, NDArray[np.bool_]]
    depth_m: NDArray[np.float32]  # (H, W), along the viewing direction, 0 where there is nothing


def object_corners(model: mujoco.MjModel, data: mujoco.MjData, count: int) -> NDArray[np.float64]:
    """Return float64 (N, 8, 3): corners in the world, metres, of a box around each object."""
    corners = np.zeros((count, 8, 3))
    signs = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, 8).T
    for index in range(count):
        points = []
        for geom in np.flatnonzero(
            (np.asarray(model.geom_bodyid) == index + 1) & (np.asarray(model.geom_contype) == 0)
        ):
            mesh = int(model.geom_dataid[geom])
            start = int(model.mesh_vertadr[mesh])
            vertices = model.mesh_vert[start : start + int(model.mesh_vertnum[mesh])]
            points.append(vertices @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
        low, high = np.concatenate(points).min(0), np.concatenate(points).max(0)
        corners[index] = low + signs * (high - low)
    return corners


def screen_boxes(
    corners: NDArray[np.float64], camera: PinholeCamera, image_hw: tuple[int, int]
) -> NDArray[np.float64]:
    """Return float64 (N, 4): boxes x1, y1, x2, y2 in pixels that surely enclose each silhouette."""
    xy, depth = camera.project(corners.reshape(-1, 3), image_hw)
    xy, depth = xy.reshape(-1, 8, 2), depth.reshape(-1, 8)
    boxes = np.concatenate([xy.min(1) - _MARGIN_PX, xy.max(1) + _MARGIN_PX], axis=1)
    boxes[depth.min(1) < _NEAR_M] = [-np.inf, -np.inf, np.inf, np.inf]  # reaches behind the camera
    return boxes


def disjoint_groups(boxes_xyxy: NDArray[np.float64], members: list[int]) -> list[set[int]]:
    """Distribute objects so that no two boxes float64 (N, 4) within a group overlap.

    Objects of a group cannot hide each other, so one rendering gives all their amodal masks.
    """
    groups: list[set[int]] = []
    for index in members:
        x1, y1, x2, y2 = boxes_xyxy[index]
        for group in groups:
            others = boxes_xyxy[list(group)]
            apart = (
                (others[:, 0] >= x2)
                | (others[:, 2] <= x1)
                | (others[:, 1] >= y2)
                | (others[:, 3] <= y1)
            )
            if apart.all():
                group.add(index)
                break
        else:
            groups.append({index})
    return groups


def view_truth(
    renderer: SceneRenderer,
    camera: PinholeCamera,
    corners: NDArray[np.float64],
    keep: Keep,
    left_out: frozenset[int] = frozenset(),
) -> ViewTruth:
    """Return what one view shows.

    The amodal mask is what the object covers inside the image frame with everything else taken
    away: other objects, table, walls and bin all hide, and none of them cuts the amodal mask.

    Args:
        corners: float64 (N, 8, 3), from `object_corners`.
        left_out: Objects that hide others and are neither kept nor left over.
    """
    numbers, depth = renderer.objects(camera)
    areas = [int(np.count_nonzero(numbers == index)) for index in range(len(corners))]
    least_px = max(1.0, keep.visible_share * keep.amodal_px)
    seen = [k for k, area in enumerate(areas) if area >= least_px and k not in left_out]
    boxes = screen_boxes(corners, camera, renderer.image_hw)
    truths: list[InstanceTruth] = []
    for group in disjoint_groups(boxes, seen):
        alone = renderer.object_mask(camera, group)
        masks = {index: alone == index for index in sorted(group)}
        large = set()
        for index, mask in masks.items():
            whole = np.count_nonzero(mask)
            if whole >= keep.amodal_px and areas[index] >= keep.visible_share * whole:
                large.add(index)
        cut = {index for index in large if touches_border(masks[index])}
        if cut:
            large -= _mostly_outside(renderer, camera, cut, keep.frame_share)
        truths += [InstanceTruth(k, masks[k], masks[k] & (numbers == k)) for k in large]
    kept = {truth.index for truth in truths}
    rest = [k for k, area in enumerate(areas) if area and k not in kept and k not in left_out]
    instances = sorted(truths, key=lambda truth: truth.index)
    return ViewTruth(instances, {k: numbers == k for k in rest}, depth)


def _mostly_outside(
    renderer: SceneRenderer, camera: PinholeCamera, indices: set[int], frame_share: float
) -> set[int]:
    """Return those objects of which less than `frame_share` of the silhouette is in the image."""
    wide = renderer.object_mask(camera, indices, wide=True)
    height, width = wide.shape
    top, left = height // WIDE_FACTOR, width // WIDE_FACTOR
    inside = wide[top : height - top, left : width - left]
    return {
        index
        for index in indices
        if np.count_nonzero(inside == index) < frame_share * np.count_nonzero(wide == index)
    }
