import mujoco
import numpy as np
import pytest

from sameo_model.synthesis.arrangements import ALL_ARRANGEMENTS, ARRANGEMENTS, arrange, fill_shelf
from sameo_model.synthesis.cameras import sample_camera
from sameo_model.synthesis.physics import is_on_stage, place_above, settle
from sameo_model.synthesis.stage import SceneBuilder, open_fence


def settled(rng, assets, stage, poses):
    builder = SceneBuilder(rng, (64, 64))
    builder.add_stage(stage)
    for asset, pose in zip(assets, poses, strict=True):
        builder.add_object(asset, *pose)
    model = builder.compile()
    data = mujoco.MjData(model)
    assert settle(model, data)
    if open_fence(model):
        assert settle(model, data, 8.0)
    return data.xpos[1:]


def test_objects_on_a_shelf_start_apart_and_stay_on_its_boards(block):
    sizes = [(0.05, 0.04, 0.1), (0.08, 0.08, 0.05), (0.1, 0.03, 0.03)] * 4
    on_upper_boards = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        assets = [block(size) for size in sizes]
        stage, poses = fill_shelf(rng, assets)
        assert len(poses) == len(sizes)
        positions = settled(rng, assets, stage, poses)
        assert all(is_on_stage(position, stage) for position in positions)
        moved = np.linalg.norm(positions - [position for position, _ in poses], axis=1)
        assert np.median(moved) < 0.01  # they start where they stand, not inside each other
        on_upper_boards += int((positions[:, 2] > 0.1).sum())
    assert on_upper_boards > 6


def test_cameras_look_at_a_shelf_from_its_open_side(block):
    rng = np.random.default_rng(0)
    assets = [block((0.05, 0.05, 0.1))] * 6
    stage, poses = fill_shelf(rng, assets)
    centres = np.array([position for position, _ in poses])
    for _ in range(100):
        camera = sample_camera(rng, stage, centres, np.full(6, 0.1), (480, 640))
        assert camera.position[1] < centres[:, 1].mean()


def test_piles_are_higher_than_what_lies_apart(block):
    on_others = {}
    for name in ("pile", "flat"):
        heights = []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            assets = [block((0.08, 0.08, 0.04))] * 8
            stage, radius, poses = arrange(rng, assets, {name: 1.0})
            assert poses is None
            heights.append(settled(rng, assets, stage, place_above(rng, assets, radius))[:, 2])
        # Flat on the table the middle is 2 cm high, on an edge 4 cm.
        on_others[name] = (np.concatenate(heights) > 0.045).mean()
    assert on_others["pile"] > on_others["flat"] + 0.1


def test_all_arrangements_are_drawn_by_their_shares(block):
    rng = np.random.default_rng(0)
    assets = [block((0.05, 0.05, 0.1))] * 4
    kinds = [arrange(rng, assets, ALL_ARRANGEMENTS)[0].kind for _ in range(400)]
    shares = {kind: kinds.count(kind) / 400 for kind in set(kinds)}
    # Tables, flat tables and piles stand on tables: 0.2 + 0.1 + 0.2.
    expected = {"table": 0.5, "floor": 0.1, "bin": 0.2, "shelf": 0.2}
    assert shares == pytest.approx(expected, abs=0.08)
    assert set(ALL_ARRANGEMENTS) == set(ARRANGEMENTS)
    assert sum(ALL_ARRANGEMENTS.values()) == pytest.approx(1.0)
