from types import SimpleNamespace

import numpy as np
import pytest

from sameo_ros.core.transforms import TransformTree

MS = 1_000_000


def transform(parent, child, xyz=(0, 0, 0), yaw_deg=0.0, stamp_ms=0, turn=None):
    half = np.radians(yaw_deg) / 2
    x, y, z, w = turn or (0.0, 0.0, np.sin(half), np.cos(half))
    seconds, rest = divmod(stamp_ms * MS, 10**9)
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent, stamp=SimpleNamespace(sec=seconds, nanosec=rest)),
        child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(x=xyz[0], y=xyz[1], z=xyz[2]),
            rotation=SimpleNamespace(x=x, y=y, z=z, w=w),
        ),
    )


def tree_of(*moving, static=()):
    tree = TransformTree()
    tree.add(SimpleNamespace(transforms=list(static)), is_static=True)
    for one in moving:
        tree.add(SimpleNamespace(transforms=[one]), is_static=False)
    return tree


def place(tree, target, source, point, stamp_ms=0):
    return tree.find(target, source, stamp_ms * MS).place_points(np.array(point, float))


def test_points_go_up_one_branch_and_down_another():
    tree = tree_of(
        static=[
            transform("map", "base", (1, 0, 0)),
            transform("base", "camera", (0, 0, 0.5), yaw_deg=90),
            transform("map", "table", (0, 2, 0)),
        ]
    )
    # In base: x turns to y, half a metre up; in map one metre on; in table two metres less.
    np.testing.assert_allclose(place(tree, "base", "camera", [1, 0, 0]), [0, 1, 0.5], atol=1e-12)
    np.testing.assert_allclose(place(tree, "table", "camera", [1, 0, 0]), [1, -1, 0.5], atol=1e-12)
    np.testing.assert_allclose(place(tree, "camera", "camera", [1, 2, 3]), [1, 2, 3])


def test_a_moving_frame_is_taken_at_the_time_of_the_image():
    tree = tree_of(
        transform("base", "camera", (0, 0, 0), yaw_deg=0, stamp_ms=1000),
        transform("base", "camera", (1, 0, 0), yaw_deg=90, stamp_ms=1100),
    )
    half = np.sqrt(0.5)
    found = place(tree, "base", "camera", [1, 0, 0], stamp_ms=1050)
    np.testing.assert_allclose(found, [0.5 + half, half, 0], atol=1e-12)
    # The newest one counts for an image that is a little newer.
    np.testing.assert_allclose(
        place(tree, "base", "camera", [1, 0, 0], stamp_ms=1150), [1, 1, 0], atol=1e-12
    )


@pytest.mark.parametrize(("stamp_ms", "word"), [(1250, "0.15 s older"), (800, "0.20 s newer")])
def test_a_transform_of_another_time_is_refused(stamp_ms, word):
    tree = tree_of(
        transform("base", "camera", stamp_ms=1000), transform("base", "camera", stamp_ms=1100)
    )
    with pytest.raises(LookupError, match=f"camera on /tf is {word} than the image"):
        tree.find("base", "camera", stamp_ms * MS)


def test_frames_that_are_not_joined_are_named():
    tree = tree_of(static=[transform("map", "base")])
    with pytest.raises(
        LookupError, match=r"target_frame base is not connected with optical .*frames: base, map\)"
    ):
        tree.find("base", "optical", 0)
    with pytest.raises(LookupError, match="known frames: none"):
        TransformTree().find("base", "optical", 0)


def test_transforms_that_are_none_are_left_out_and_a_circle_ends():
    tree = tree_of(
        static=[
            transform("base", "camera", (np.nan, 0, 0)),
            transform("base", "camera", turn=(0.0, 0.0, 0.0, 0.0)),
            transform("b", "a"),
            transform("a", "b"),
        ]
    )
    for source in ("camera", "a"):
        with pytest.raises(LookupError, match="is not connected"):
            tree.find("base", source, 0)


@pytest.mark.parametrize("end_ms", [60_000, 3000])
def test_a_bag_that_begins_again_forgets_the_old_poses(end_ms):
    tree = tree_of(
        transform("base", "camera", (5, 0, 0), stamp_ms=1000),
        transform("base", "camera", (5, 0, 0), stamp_ms=end_ms),
        transform("base", "camera", (1, 0, 0), stamp_ms=1000),
    )
    np.testing.assert_allclose(place(tree, "base", "camera", [0, 0, 0], 1000), [1, 0, 0])


def test_half_a_turn_keeps_its_direction():
    tree = tree_of(static=[transform("base", "camera", turn=(1.0, 0.0, 0.0, 0.0))])
    np.testing.assert_allclose(place(tree, "base", "camera", [1, 2, 3]), [1, -2, -3], atol=1e-9)
