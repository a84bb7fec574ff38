import sys

import numpy as np
import pytest

from sameo_model.synthesis.meshes import (
    FAMILIES,
    find_family_root,
    load_mesh_asset,
    project_uvs,
)
from sameo_model.synthesis.scenes import SceneConfig
from sameo_model.synthesis.surfaces import box_soup


@pytest.mark.parametrize("name", ["hope", "stable_hope_objects", "turbosquid_objects", ""])
def test_a_family_that_is_not_listed_is_refused(name):
    with pytest.raises(ValueError, match="family must be one of procedural, robosuite, scanned"):
        SceneConfig(families={name: 1.0})


@pytest.mark.parametrize("other", ["procedural", "robosuite", "scanned"])
def test_validation_objects_are_never_rendered_together_with_others(other):
    with pytest.raises(ValueError, match="'validation' must be rendered alone"):
        SceneConfig(families={other: 1.0, "validation": 1.0})


def test_the_validation_family_shares_no_object_with_training():
    training = {n for f in FAMILIES.values() if f.for_training for n in f.objects}
    validation = {n for f in FAMILIES.values() if not f.for_training for n in f.objects}
    assert validation
    assert not training & validation


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps robosuite"):
        find_family_root("robosuite")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be a folder, got .*nowhere"):
        find_family_root("robosuite", {"robosuite": tmp_path / "nowhere"})


def test_a_missing_object_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="object 'can' of family 'robosuite'"):
        load_mesh_asset("robosuite", "can", tmp_path)


def test_an_object_is_read_with_its_pose_size_colliders_and_texture(tmp_path):
    # A box of 2 x 4 x 6 in the file, scaled to 2 x 4 x 6 cm, turned by 90 degrees about z.
    triangles = box_soup((2, 4, 6), divisions=1).triangles
    lines = [f"v {x} {y} {z}" for x, y, z in triangles.reshape(-1, 3)]
    lines += [f"vt {u} {v}" for u, v in np.tile([[0, 0], [1, 0], [1, 1]], (len(triangles), 1))]
    lines += [
        f"f {3 * k + 1}/{3 * k + 1} {3 * k + 2}/{3 * k + 2} {3 * k + 3}/{3 * k + 3}"
        for k in range(len(triangles))
    ]
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "box.obj").write_text("\n".join(lines))
    (tmp_path / "objects" / "can.xml").write_text(
        """<mujoco><asset><mesh file="box.obj" name="m" scale="0.01 0.01 0.01"/>
        <texture name="t" type="2d" builtin="flat" rgb1="1 0 0" width="8" height="8"/>
        <material name="red" texture="t"/></asset><worldbody><body>
        <geom type="mesh" mesh="m" material="red" contype="0" conaffinity="0"
              quat="0.7071068 0 0 0.7071068"/>
        <geom type="box" size="0.02 0.01 0.03" pos="0 0 0.001"/>
        </body></worldbody></mujoco>"""
    )
    asset = load_mesh_asset("robosuite", "can", tmp_path)
    assert asset.extent == pytest.approx([0.04, 0.02, 0.06], abs=1e-6)
    assert asset.colliders[0].shape == "box"
    assert asset.colliders[0].size == pytest.approx((0.02, 0.01, 0.03))
    assert asset.colliders[0].position == pytest.approx((0, 0, 0.001))
    assert (asset.surfaces[0].texture == [255, 0, 0]).all()


def test_projected_coordinates_lie_along_the_face():
    soup = box_soup((0.12, 0.24, 0.36), divisions=1)
    spans = np.ptp(project_uvs(soup.triangles, period_m=0.12), axis=1)
    # Each face spans two of the lengths 1, 2 and 3 in texture periods, never 0.
    assert spans.min() == pytest.approx(1.0)
    assert spans.max() == pytest.approx(3.0)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_listed_objects_of_an_installed_family_load(family):
    try:
        root = find_family_root(family)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    for name in list(FAMILIES[family].objects)[:3]:
        asset = load_mesh_asset(family, name, root)
        assert 0.03 < asset.extent.max() < 0.28
        assert asset.colliders
    assert FAMILIES[family].package not in sys.modules
