"""Solids in front of a pinhole camera: depth image, masks and true centre, by casting rays."""

from dataclasses import dataclass

import numpy as np

from sameo_model.runtime import MaskCrop
from sameo_ros.core.camera_model import CameraModel

IMAGE_HW = 240, 320
FOCAL_PX = 300.0
CAMERA = CameraModel(
    np.array([[FOCAL_PX, 0, 160], [0, FOCAL_PX, 120], [0, 0, 1]]),
    np.zeros(5), False, IMAGE_HW, "optical",
)  # fmt: skip

_ROWS, _COLUMNS = np.mgrid[: IMAGE_HW[0], : IMAGE_HW[1]]
RAYS = np.column_stack(
    [(_COLUMNS.ravel() - 160) / FOCAL_PX, (_ROWS.ravel() - 120) / FOCAL_PX, np.ones(_ROWS.size)]
)


@dataclass
class Solid:
    """A solid; `turn` has its axes as columns, in the optical frame.

    `size_xyz` are full lengths along the axes; of a sphere all are equal, a cylinder stands along
    its z.
    """

    kind: str
    centre_xyz: np.ndarray
    size_xyz: np.ndarray
    turn: np.ndarray


@dataclass
class Scene:
    """What a camera sees of a solid."""

    depth_m: np.ndarray
    amodal: MaskCrop
    visible: MaskCrop
    occlusion_ratio: float


def rotation(axis, angle_deg):
    """Return the matrix that turns about x, y or z."""
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = cos
    matrix[i, j], matrix[j, i] = -sin, sin
    return matrix


def first_hits(solid):
    """Return the depth at which each pixel's ray meets the solid, infinite where it does not."""
    origin = -solid.turn.T @ solid.centre_xyz
    rays = RAYS @ solid.turn  # in the axes of the solid
    half = np.asarray(solid.size_xyz) / 2
    with np.errstate(all="ignore"):
        if solid.kind == "sphere":
            near, far = _quadratic(rays, origin, half[0], 3)
        elif solid.kind == "cylinder":
            near, far = _quadratic(rays, origin, half[0], 2)
            low, high = _slab(rays[:, 2], origin[2], half[2])
            near, far = np.maximum(near, low), np.minimum(far, high)
        else:
            slabs = [_slab(rays[:, i], origin[i], half[i]) for i in range(3)]
            near = np.max([low for low, _ in slabs], axis=0)
            far = np.min([high for _, high in slabs], axis=0)
        hit = (near <= far) & (near > 0)
    return np.where(hit, near, np.inf).reshape(IMAGE_HW)


def _quadratic(rays, origin, radius, dimensions):
    d, o = rays[:, :dimensions], origin[:dimensions]
    a, b, c = (d * d).sum(1), d @ o, o @ o - radius**2
    root = np.sqrt(b * b - a * c)
    near, far = (-b - root) / a, (-b + root) / a
    return np.nan_to_num(near, nan=np.inf), np.nan_to_num(far, nan=-np.inf)


def _slab(direction, origin, half):
    t1, t2 = (-half - origin) / direction, (half - origin) / direction
    return np.minimum(t1, t2), np.maximum(t1, t2)


def look_at(solid, *, table=None, wall_m=np.nan, hide=None, noise=None):
    """Render a solid.

    Args:
        solid: The solid.
        table: (point, normal) of a plane behind it, or None.
        wall_m: Depth of a wall behind everything, NaN for none.
        hide: (direction xy, share): an occluder covers the share of the outline on that side.
        noise: (generator, deviation in metres) of the depth.
    """
    hits = first_hits(solid)
    amodal = np.isfinite(hits)
    rows, columns = np.nonzero(amodal)
    visible, depth_m = amodal.copy(), np.where(amodal, hits, wall_m)
    if table is not None:
        point, normal = (np.asarray(one, float) for one in table)
        with np.errstate(all="ignore"):
            plane = ((point @ normal) / (RAYS @ normal)).reshape(IMAGE_HW)
        depth_m = np.where(amodal | (plane <= 0), depth_m, plane)
    if hide is not None:
        (dx, dy), share = hide
        reach = columns * dx + rows * dy
        covered = reach >= np.quantile(reach, 1 - share)
        visible[rows[covered], columns[covered]] = False
        depth_m[rows[covered], columns[covered]] = 0.6 * np.nanmin(depth_m)
    if noise is not None:
        generator, deviation_m = noise
        depth_m = depth_m + generator.normal(0, deviation_m, IMAGE_HW)
    ratio = 1 - visible.sum() / max(amodal.sum(), 1)
    return Scene(
        depth_m.astype(np.float32),
        MaskCrop.from_mask(amodal, 0, 0),
        MaskCrop.from_mask(visible, 0, 0),
        float(ratio),
    )
