"""Objects of MJCF files: textures and meshes under names of another system."""

import cv2
import numpy as np
import pytest

from sameo_model.synthesis.mjcf_objects import read_mjcf
from tests.sameo_model.synthesis.fabricate_meshes import cube, write_obj

MODEL = """
<mujoco>
  <asset>
    <texture {name} type="2d" file="{texture}"/>
    <material name="m" texture="skin"/>
    <mesh name="box" file="{mesh}"/>
  </asset>
  <worldbody><body><geom type="mesh" mesh="box" material="m"/></body></worldbody>
</mujoco>
"""


def write_model(folder, texture, mesh, name='name="skin"'):
    (folder / "textures").mkdir()
    assert cv2.imwrite(
        str(folder / "textures" / "skin.png"), np.full((8, 8, 3), (20, 10, 200), np.uint8)
    )
    write_obj(folder / "parts" / "box.obj", cube((0.05, 0.05, 0.05)))
    (folder / "box.xml").write_text(MODEL.format(texture=texture, mesh=mesh, name=name))
    return folder / "box.xml"


@pytest.mark.parametrize(
    ("texture", "mesh", "name"),
    [
        ("textures/skin.png", "parts/box.obj", 'name="skin"'),
        (r"textures\skin.png", r"parts\box.obj", 'name="skin"'),
        (r"textures\skin.png", r"parts\box.obj", ""),  # the file's name is the texture's
        ("textures/SKIN.png", "Parts/box.obj", 'name="skin"'),
        (r"C:\work\skin.png", "parts/box.obj", 'name="skin"'),
    ],
)
def test_files_are_found_however_their_names_are_written(tmp_path, texture, mesh, name):
    surfaces, _, missing = read_mjcf(write_model(tmp_path, texture, mesh, name))
    assert missing == {}
    assert surfaces[0].texture[0, 0].tolist() == [200, 10, 20]


def test_a_missing_texture_is_named(tmp_path):
    surfaces, _, missing = read_mjcf(write_model(tmp_path, "gone.png", "parts/box.obj"))
    assert missing == {0: "gone.png"}
    assert len(surfaces) == 1


def test_a_damaged_texture_is_named_as_a_missing_one(tmp_path):
    path = write_model(tmp_path, "textures/skin.png", "parts/box.obj")
    image = tmp_path / "textures" / "skin.png"
    image.write_bytes(image.read_bytes()[:40])
    surfaces, _, missing = read_mjcf(path)
    assert missing == {0: "skin.png"}
    assert len(surfaces) == 1
