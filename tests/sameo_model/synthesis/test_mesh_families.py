import sys
from dataclasses import asdict

import numpy as np
import pytest

from sameo_model.synthesis.assets import scale_asset
from sameo_model.synthesis.mesh_discovery import MeshFile
from sameo_model.synthesis.mesh_families import (
    FAMILIES,
    find_family_root,
    load_mesh_asset,
)
from sameo_model.synthesis.mesh_making import read_mesh
from sameo_model.synthesis.scenes import SceneConfig
from tests.sameo_model.synthesis.fabricate_meshes import cube, write_obj


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


# A box of 2 x 4 x 6 in the file, scaled to 2 x 4 x 6 cm, turned by 90 degrees about z.
DRAWN = """<geom type="mesh" mesh="m" material="red" contype="0" conaffinity="0"
                 quat="0.7071068 0 0 0.7071068"/>"""
COLLIDER = '<geom type="box" size="0.02 0.01 0.03" pos="0 0 0.001"/>'
BOTH = '<geom type="mesh" mesh="m" material="red"/>'
PLAIN = 'builtin="flat" rgb1="1 0 0" width="8" height="8"'


def write_object(path, geoms, texture=PLAIN):
    write_obj(path.with_name("box.obj"), cube((1, 2, 3)))
    path.write_text(
        f"""<mujoco><asset><mesh file="box.obj" name="m" scale="0.01 0.01 0.01"/>
        <texture name="t" type="2d" {texture}/><material name="red" texture="t"/></asset>
        <worldbody><body>{geoms}</body></worldbody></mujoco>"""
    )
    return path


def test_an_object_is_read_with_its_pose_size_colliders_and_texture(tmp_path):
    write_object(tmp_path / "objects" / "can.xml", DRAWN + COLLIDER)
    asset = load_mesh_asset("robosuite", "can", tmp_path)
    assert asset.extent == pytest.approx([0.04, 0.02, 0.06], abs=1e-6)
    assert asset.colliders[0].shape == "box"
    assert asset.colliders[0].size == pytest.approx((0.02, 0.01, 0.03))
    assert asset.colliders[0].position == pytest.approx((0, 0, 0.001))
    assert (asset.surfaces[0].texture == [255, 0, 0]).all()


def test_an_object_is_the_same_in_a_family_and_in_anyones_folder(tmp_path):
    path = write_object(tmp_path / "plate" / "plate.xml", DRAWN + COLLIDER)
    of_family = load_mesh_asset("scanned", "plate", tmp_path)
    own = read_mesh(MeshFile("plate", path, "plate/plate.xml")).asset
    scaled = scale_asset(own, FAMILIES["scanned"].objects["plate"])
    assert len(of_family.surfaces) == 1
    np.testing.assert_equal(asdict(of_family.surfaces[0]), asdict(scaled.surfaces[0]))
    assert of_family.colliders == scaled.colliders


def test_a_drawn_mesh_that_collides_is_a_hull_in_a_family_and_else_decomposed(tmp_path):
    path = write_object(tmp_path / "objects" / "can.xml", BOTH)
    hull = load_mesh_asset("robosuite", "can", tmp_path).colliders
    assert [c.shape for c in hull] == ["hull"]
    np.testing.assert_allclose(np.ptp(hull[0].points, axis=0), [0.02, 0.04, 0.06], atol=1e-6)
    own = read_mesh(MeshFile("can", path, "objects/can.xml")).asset
    assert [c.shape for c in own.colliders] == ["box"]


def test_a_missing_texture_of_a_family_is_an_error(tmp_path):
    write_object(tmp_path / "objects" / "can.xml", DRAWN, 'file="gone.png"')
    with pytest.raises(FileNotFoundError, match=r"object 'can' .* needs gone.png, .* whole, or"):
        load_mesh_asset("robosuite", "can", tmp_path)


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
