import json

import cv2
import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.synthesize import main
from tests.sameo_model.synthesis.fabricate_meshes import cube, lidless_box, write_obj, write_stl


@pytest.fixture(scope="module")
def meshes(tmp_path_factory):
    """Return a folder of a coloured block, an open tray without colour and a broken file."""
    folder = tmp_path_factory.mktemp("meshes")
    write_obj(folder / "block.obj", cube((0.04, 0.03, 0.02)), "newmtl m\nKd 1 0 0\n")
    write_stl(folder / "tray.stl", lidless_box((60, 50, 20)))
    (folder / "broken.glb").write_bytes(b"glTF")
    return folder


def arguments(meshes, output, scenes=2):
    return [
        *("scenes", "--meshes", str(meshes), "--output", str(output), "--scenes", str(scenes)),
        *("--views", "2", "--image-size", "160x120", "--seed", "4", "--workers", "1"),
    ]


@pytest.fixture(scope="module")
def made(egl, meshes, tmp_path_factory):
    """Return a set of two scenes of these objects with a depth camera."""
    output = tmp_path_factory.mktemp("set") / "out"
    assert main([*arguments(meshes, output), "--depth-noise"]) == 0
    return output


def test_annotations_are_of_ones_own_objects_alone_with_their_names_as_categories(made):
    content = json.loads((made / "annotations.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["block", "tray"]
    images = open_dataset("amodal_coco", made / "annotations.json")
    assert len(images) == 4
    for image in images:
        assert len(image.instances) >= 2
        for instance in image.instances:
            assert (instance.amodal_mask() | ~instance.visible_mask()).all()


def test_everything_that_a_training_set_needs_is_there(made):
    assert (made / "contact_sheet.png").is_file()
    assert len(json.loads((made / "cameras.json").read_text())) == 4
    orders = json.loads((made / "occlusion_order.json").read_text())
    annotations = json.loads((made / "annotations.json").read_text())["annotations"]
    ids = {annotation["id"]: annotation["image_id"] for annotation in annotations}
    assert len(orders) == 4
    for order in orders:
        for pair in order["pairs"]:
            assert ids[pair["front"]] == ids[pair["back"]] == order["image_id"]
    for path in sorted((made / "depth").glob("*.png")):
        true = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(int)
        sensed = cv2.imread(str(made / "depth_sensed" / path.name), cv2.IMREAD_UNCHANGED)
        seen = sensed > 0
        # What lies where depends on the processor: objects fall a little differently.
        assert 0.05 < seen.mean() < 1
        assert 0 < np.median(np.abs(sensed[seen] - true[seen])) < 60


def test_the_report_says_what_became_of_every_file(made):
    report = {
        entry["key"]: entry for entry in json.loads((made / "meshes.json").read_text())["objects"]
    }
    assert report["block.obj"]["unit"] == "m"
    assert report["tray.stl"]["unit"] == "mm"
    assert report["tray.stl"]["notes"] == [
        "not watertight: drawn from both sides",
        "not in m as the other files: taken in mm",
    ]
    assert report["broken.glb"]["skipped"]


def test_a_set_goes_on_with_the_same_meshes_and_not_with_others(made, meshes, tmp_path, capsys):
    before = {p.name: p.read_bytes() for p in (made / "images").iterdir()}
    assert main([*arguments(meshes, made, scenes=3), "--depth-noise"]) == 0
    after = {p.name: p.read_bytes() for p in (made / "images").iterdir()}
    assert len(after) == 6
    assert before.items() <= after.items()
    assert "  skipped broken.glb: " in capsys.readouterr().out
    assert main([*arguments(meshes, tmp_path / "new", scenes=1), "--depth-noise"]) == 0
    assert (tmp_path / "new" / "images" / "000000_00.jpg").read_bytes() == before["000000_00.jpg"]
    write_stl(meshes / "third.stl", cube((30, 30, 30)))
    assert main([*arguments(meshes, made, scenes=3), "--depth-noise"]) == 1
    assert "meshes was" in capsys.readouterr().err


def test_a_unit_without_own_objects_is_refused(tmp_path, capsys):
    assert main(["scenes", "--output", str(tmp_path / "out"), "--unit", "mm"]) == 1
    assert "--unit is that of your own objects, got mm without them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
