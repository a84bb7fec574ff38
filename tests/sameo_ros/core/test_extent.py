"""Boxes of rendered solids, whose truth is known."""

import numpy as np
import pytest

from sameo_ros.core.lifting import lift_object
from tests.sameo_ros.core.solids import CAMERA, Solid, look_at, rotation


def lift(scene, aligned=None):
    return lift_object(
        scene.amodal, scene.visible, scene.occlusion_ratio, scene.depth_m, CAMERA, aligned
    )


def world(tilt_deg):
    """Return the axes of a table's frame (z up) as columns, for a camera tilted from straight down.

    0 looks straight down: up is against the view. 90 looks along the table: up is against y.
    """
    up = -np.array([0, np.sin(np.radians(tilt_deg)), np.cos(np.radians(tilt_deg))])
    x = np.array([1.0, 0, 0])
    return np.column_stack([x, np.cross(up, x), up])


def solids(generator, tilt_deg):
    """Yield a sphere, a box turned by 45 degrees, a plank and a cylinder that stand on a table."""
    z = generator.uniform(0.6, 1.1)
    centre = np.array([generator.uniform(-0.2, 0.2) * z, generator.uniform(-0.15, 0.15) * z, z])
    up = world(tilt_deg)
    side = generator.uniform(0.08, 0.16)
    yaw = generator.uniform(0, 180)
    yield Solid("sphere", centre, np.full(3, side), np.eye(3))
    yield Solid("box", centre, np.array([side, side * 0.8, side * 0.7]), up @ rotation("z", 45))
    yield Solid("box", centre, np.array([0.25, 0.08, 0.02]), up @ rotation("z", yaw))
    yield Solid("cylinder", centre, np.array([0.08, 0.08, side]), up)


def errors(solid, scene):
    """Return the error of the centre in deviations: in all directions together, and on the ray."""
    box = lift(scene).box
    error = solid.centre_xyz - box.centre_xyz
    ray = solid.centre_xyz / np.linalg.norm(solid.centre_xyz)
    together = np.sqrt(error @ np.linalg.solve(box.covariance_xyz, error))
    return together, abs(error @ ray) / np.sqrt(ray @ box.covariance_xyz @ ray)


@pytest.mark.parametrize(
    ("tilt_deg", "ground"),
    [(0, "nothing"), (0, "table"), (40, "nothing"), (40, "wall"), (40, "table"), (65, "table")],
)
def test_the_centre_lies_within_two_deviations_in_95_percent_of_scenes(tilt_deg, ground):
    generator = np.random.default_rng(tilt_deg)
    found = []
    for _ in range(3):
        for solid in solids(generator, tilt_deg):
            up = world(tilt_deg)[:, 2]
            rest = solid.centre_xyz - up * solid.size_xyz[2] / 2
            turn = generator.uniform(0, 2 * np.pi)
            for hide in (None, ((np.cos(turn), np.sin(turn)), 0.5)):
                scene = look_at(
                    solid,
                    table=(rest, up) if ground == "table" else None,
                    wall_m=np.nan if ground == "nothing" else 2.5,
                    hide=hide,
                    noise=(generator, 0.002),
                )
                found.append(errors(solid, scene))
    within = np.array(found) < 2
    assert len(found) == 24
    assert within[:, 0].mean() >= 0.95
    assert within[:, 1].mean() >= 0.95


def test_the_unseen_back_makes_the_deviation_wide_along_the_ray_alone():
    solid = Solid("box", np.array([0, 0, 0.8]), np.array([0.2, 0.1, 0.02]), np.eye(3))
    floating, lying = (
        lift(look_at(solid, table=table)).box
        for table in (None, ((0, 0, solid.centre_xyz[2] + 0.01), (0, 0, -1)))
    )
    deviations = np.sqrt(np.diag(floating.covariance_xyz))
    assert deviations[2] > 3 * deviations[0]
    # Of the one on a table the back is known: only the 1 % of the depth is left.
    assert np.sqrt(lying.covariance_xyz[2, 2]) < 0.01


@pytest.mark.parametrize("yaw", [0, 20, 45, 70, 90, 135])
def test_a_plank_is_as_wide_as_it_is_however_it_is_turned(yaw):
    plank = Solid("box", np.array([0, 0, 0.8]), np.array([0.14, 0.02, 0.02]), rotation("z", yaw))
    table = (np.array([0, 0, 0.81]), np.array([0, 0, -1.0]))
    box = lift(look_at(plank, table=table)).box
    size = sorted(box.size_xyz[:2])
    # A pixel is 2.7 mm wide there.
    assert size == pytest.approx([0.02, 0.14], abs=0.006)
    longer = box.axes[:, int(np.argmax(box.size_xyz[:2]))]
    assert abs(longer @ plank.turn[:, 0]) > np.cos(np.radians(3))
    np.testing.assert_allclose(box.axes.T @ box.axes, np.eye(3), atol=1e-9)
    assert np.linalg.det(box.axes) == pytest.approx(1)


@pytest.mark.parametrize("tilt_deg", [30, 50])
def test_a_box_stands_upright_in_the_frame_that_it_is_aligned_with(tilt_deg):
    frame = world(tilt_deg)
    turn = frame @ rotation("z", 30)
    plank = Solid("box", np.array([0.05, 0, 0.8]), np.array([0.2, 0.1, 0.02]), turn)
    rest = plank.centre_xyz - 0.01 * frame[:, 2]
    box = lift(look_at(plank, table=(rest, frame[:, 2])), frame.T).box
    np.testing.assert_allclose(box.axes[:, 2], frame[:, 2], atol=1e-9)
    assert box.size_xyz[2] == pytest.approx(0.02, abs=0.02)
    assert sorted(box.size_xyz[:2]) == pytest.approx([0.1, 0.2], abs=0.03)
    np.testing.assert_allclose(box.centre_xyz, plank.centre_xyz, atol=0.015)


def test_each_side_has_its_own_depth():
    # A board that leans away: its near edge at 0.65 m, its far edge at 0.95 m, both 0.2 m long. At
    # one depth for both the far edge would look shorter and the near edge longer.
    lean = rotation("x", 60)
    board = Solid("box", np.array([0, 0, 0.8]), np.array([0.2, 0.34, 0.004]), lean)
    box = lift(look_at(board)).box
    assert box.size_xyz[0] == pytest.approx(0.2, abs=0.012)


def test_the_hidden_share_widens_the_deviation():
    sphere = Solid("sphere", np.array([0, 0, 0.8]), np.full(3, 0.15), np.eye(3))
    deviations = [
        np.sqrt(np.diag(lift(look_at(sphere, hide=((1, 0), share))).box.covariance_xyz))
        for share in (0.0, 0.3, 0.6)
    ]
    assert (np.diff(deviations, axis=0)[:, :2] > 0).all()
    assert deviations[2][2] > 1.5 * deviations[0][2]
