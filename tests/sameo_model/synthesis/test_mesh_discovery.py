import pytest

from sameo_model.synthesis.mesh_discovery import find_objects
from tests.sameo_model.synthesis.fabricate_meshes import cube, write_obj, write_stl

MJCF = '<mujoco><asset><mesh file="parts/cup.obj"/></asset><worldbody><geom/></worldbody></mujoco>'


def test_names_come_from_files_or_from_folders_of_files_with_storage_names(tmp_path):
    write_obj(tmp_path / "hammer.obj", cube())
    write_obj(tmp_path / "003_cracker_box" / "google_16k" / "textured.obj", cube())
    write_stl(tmp_path / "drill" / "meshes" / "model.stl", cube())
    found = find_objects(tmp_path)
    assert {entry.name: entry.key for entry in found.objects} == {
        "003_cracker_box": "003_cracker_box/google_16k/textured.obj",
        "drill": "drill/meshes/model.stl",
        "hammer": "hammer.obj",
    }


def test_of_several_forms_of_an_object_the_richest_counts(tmp_path):
    write_obj(tmp_path / "cup.obj", cube())
    write_stl(tmp_path / "cup.stl", cube())
    write_stl(tmp_path / "cup_collision.stl", cube())
    found = find_objects(tmp_path)
    assert [entry.key for entry in found.objects] == ["cup.obj"]
    assert found.left_out == {
        "cup.stl": "other forms of an object",
        "cup_collision.stl": "collision shapes",
    }


def test_meshes_below_an_mjcf_model_are_its_parts(tmp_path):
    (tmp_path / "cup").mkdir()
    (tmp_path / "cup" / "cup.xml").write_text(MJCF)
    write_obj(tmp_path / "cup" / "parts" / "cup.obj", cube())
    write_obj(tmp_path / "spoon.obj", cube())
    (tmp_path / "notes.xml").write_text("<notes/>")
    found = find_objects(tmp_path)
    assert [entry.key for entry in found.objects] == ["cup/cup.xml", "spoon.obj"]
    assert found.left_out == {"cup/parts/cup.obj": "parts of MJCF models"}


def test_the_digest_follows_the_contents_textures_included(tmp_path):
    write_obj(tmp_path / "cup.obj", cube())
    (tmp_path / "cup.png").write_bytes(b"1")
    before = find_objects(tmp_path).digest
    assert find_objects(tmp_path).digest == before
    (tmp_path / "cup.png").write_bytes(b"2")
    assert find_objects(tmp_path).digest != before


def test_a_folder_without_objects_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("none")
    with pytest.raises(ValueError, match=r"must hold objects \(.xml, .* got none among 1 files"):
        find_objects(tmp_path)
    with pytest.raises(FileNotFoundError, match="folder of meshes must exist"):
        find_objects(tmp_path / "nowhere")
