import numpy as np
import pytest

from sameo_model.synthesis.shapes import MAKERS, make_procedural_asset


@pytest.mark.parametrize("name", list(MAKERS))
def test_every_shape_is_of_household_size_and_covered_by_its_colliders(name):
    for seed in range(4):
        asset = make_procedural_asset(np.random.default_rng(seed), name)
        assert asset.name == name
        assert 0.03 <= asset.extent.max() <= 0.26
        assert asset.colliders
        for surface in asset.surfaces:
            assert np.isfinite(surface.triangles).all()
            assert np.linalg.norm(surface.normals, axis=2) == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_object_and_another_seed_another_one():
    first, again, other = (make_procedural_asset(np.random.default_rng(s)) for s in (7, 7, 8))
    assert first.points.tobytes() == again.points.tobytes()
    assert first.points.tobytes() != other.points.tobytes()
