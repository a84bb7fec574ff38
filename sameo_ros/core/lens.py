"""Lens distortion and how it is undone: the models of OpenCV, and so of ROS.

Forward models are those of `cv2.projectPoints` and `cv2.fisheye.projectPoints`. OpenCV's own
inverses stop after a few steps, far from the solution towards the edge of a wide lens; here the
radial part is inverted over a table, and Newton's method does the rest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# k1 k2 p1 p2 | k3 | k4 k5 k6 | s1 s2 s3 s4 | tau_x tau_y
PINHOLE_LENGTHS = (0, 4, 5, 8, 12, 14)
FISHEYE_LENGTHS = (0, 4)

_TABLE_SIZE = 4000
_MAX_ANGLE_RAD = np.radians(89.0)
_MAX_STEPS = 30
_TOLERANCE = 1e-10
_MAX_ERROR = 1e-7


def undistort_pinhole(distorted_xy: Array, distortion: Array) -> Array:
    """Undo radial, tangential, thin prism and tilt distortion.

    Args:
        distorted_xy: float64 (N, 2), pixels less the principal point over the focal lengths.
        distortion: float64 (D,), coefficients in OpenCV's order, D one of `PINHOLE_LENGTHS`.

    Returns:
        float64 (N, 2), x / z and y / z; NaN where no ray within 89 degrees of the axis meets the
        pixel.
    """
    k = np.zeros(14)
    k[: len(distortion)] = distortion
    wanted = _undo_tilt(distorted_xy, k[12], k[13])
    radii = np.tan(np.linspace(0, _MAX_ANGLE_RAD, _TABLE_SIZE))
    limit, guess_r = _invert_rising(radii, radii * _radial(radii**2, k)[0], _norm(wanted))
    xy = _scale_to(wanted, guess_r)
    xy = _solve(xy, wanted, k)
    # Tangential terms move the border of what the lens sees a little.
    xy[_norm(xy) > 1.05 * limit] = np.nan
    return xy


def undistort_fisheye(distorted_xy: Array, distortion: Array) -> Array:
    """Undo the equidistant model: r = theta (1 + k1 theta^2 + ... + k4 theta^8).

    Args:
        distorted_xy: float64 (N, 2), pixels less the principal point over the focal lengths.
        distortion: float64 (4,) or (0,), k1 to k4; empty: all zero.

    Returns:
        float64 (N, 2), x / z and y / z; NaN where no ray within 89 degrees of the axis meets the
        pixel.
    """
    k = np.zeros(4)
    k[: len(distortion)] = distortion
    powers = np.concatenate([[0, 1], np.column_stack([np.zeros(4), k]).ravel()])
    forward = np.polynomial.Polynomial(powers)
    slope = forward.deriv()
    radius = _norm(distorted_xy)
    angles = np.linspace(0, _MAX_ANGLE_RAD, _TABLE_SIZE)
    _, theta = _invert_rising(angles, forward(angles), radius)
    for _ in range(_MAX_STEPS):
        step = (forward(theta) - radius) / slope(theta)
        theta = theta - step
        if not (np.abs(step) > _TOLERANCE).any():
            break
    theta[np.abs(forward(theta) - radius) > _MAX_ERROR] = np.nan
    return _scale_to(distorted_xy, np.tan(theta))


def _invert_rising(inputs: Array, outputs: Array, wanted: Array) -> tuple[float, Array]:
    """Invert a function given as a table, as far as it rises from 0.

    Returns:
        The largest input up to which it rises, and for each wanted output its input, NaN beyond.
    """
    falls = np.flatnonzero(~(np.diff(outputs) > 0))
    end = int(falls[0]) + 1 if falls.size else len(inputs)
    found = np.interp(wanted, outputs[:end], inputs[:end])
    found[~(wanted <= outputs[end - 1])] = np.nan
    return float(inputs[end - 1]), found


def _solve(xy: Array, wanted: Array, k: Array) -> Array:
    """Improve a guess by Newton's method until the distorted ray meets the pixel; NaN if never."""
    with np.errstate(all="ignore"):
        for _ in range(_MAX_STEPS):
            error, jacobian = _distort(xy, k)
            error -= wanted
            a, b, c, d = jacobian
            determinant = a * d - b * c
            step = np.column_stack(
                [d * error[:, 0] - b * error[:, 1], a * error[:, 1] - c * error[:, 0]]
            )
            step /= determinant[:, None]
            xy = xy - step
            if not (np.abs(step) > _TOLERANCE).any():
                break
        error = np.abs(_distort(xy, k)[0] - wanted).max(axis=1, initial=0)
    xy[~(error < _MAX_ERROR)] = np.nan
    return xy


def _distort(xy: Array, k: Array) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    """Distort rays but for the tilt; also return dx/dx, dx/dy, dy/dx and dy/dy."""
    x, y = xy.T
    r2 = x * x + y * y
    radial, slope = _radial(r2, k)
    p1, p2, s1, s2, s3, s4 = k[2], k[3], k[8], k[9], k[10], k[11]
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + s1 * r2 + s2 * r2 * r2
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + s3 * r2 + s4 * r2 * r2
    prism_u, prism_v = s1 + 2 * s2 * r2, s3 + 2 * s4 * r2
    u_x = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x + 2 * x * prism_u
    u_y = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y + 2 * y * prism_u
    v_x = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y + 2 * x * prism_v
    v_y = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x + 2 * y * prism_v
    return np.column_stack([u, v]), (u_x, u_y, v_x, v_y)


def _radial(r2: Array, k: Array) -> tuple[Array, Array]:
    """Return the radial factor and its derivative by r^2."""
    above = 1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))
    below = 1 + r2 * (k[5] + r2 * (k[6] + r2 * k[7]))
    above_slope = k[0] + r2 * (2 * k[1] + r2 * 3 * k[4])
    below_slope = k[5] + r2 * (2 * k[6] + r2 * 3 * k[7])
    with np.errstate(all="ignore"):
        factor = above / below
        return factor, (above_slope - factor * below_slope) / below


def _undo_tilt(xy: Array, tau_x: float, tau_y: float) -> Array:
    """Undo a tilted sensor (Scheimpflug), as OpenCV's tau_x and tau_y describe it, radians."""
    if tau_x == 0 and tau_y == 0:
        return xy
    cos_x, sin_x, cos_y, sin_y = np.cos(tau_x), np.sin(tau_x), np.cos(tau_y), np.sin(tau_y)
    about_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    turn = about_y @ about_x
    project = np.array([[turn[2, 2], 0, -turn[0, 2]], [0, turn[2, 2], -turn[1, 2]], [0, 0, 1]])
    undone = np.column_stack([xy, np.ones(len(xy))]) @ np.linalg.inv(project @ turn).T
    result: Array = undone[:, :2] / undone[:, 2:]
    return result


def _norm(xy: Array) -> Array:
    length: Array = np.hypot(xy[:, 0], xy[:, 1])
    return length


def _scale_to(xy: Array, length: Array) -> Array:
    """Return vectors of the same direction and another length; zero stays zero."""
    old = _norm(xy)
    factor = np.where(old > 0, length / np.where(old > 0, old, 1), 1.0)
    return xy * factor[:, None]
