"""Amodal COCO as it is written."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO

from sameo_model.data.amodal_coco_writer import AmodalCocoWriter, write_amodal_coco
from sameo_model.data.collection import open_dataset
from tests.sameo_model.data import fabricate as fab


@pytest.fixture
def cocoa(tmp_path):
    fab.cocoa(tmp_path / "cocoa")
    return open_dataset("cocoa", tmp_path / "cocoa")


def test_the_schema_is_that_of_cocoa_cls_with_two_more_keys(tmp_path, cocoa):
    path = tmp_path / "out" / "annotations.json"
    write_amodal_coco(path, cocoa)
    document = json.loads(path.read_text())
    (image,) = document["images"]
    assert image == {
        "id": 42,
        "file_name": f"../../cocoa/val2014/{fab.COCO_NAME}",
        "height": 8,
        "width": 10,
        "coco_image_ids": [42],
    }
    back = document["annotations"][1]
    assert back == {
        "id": 2,
        "image_id": 42,
        "category_id": 2,
        "segmentation": fab.rle(fab.BACK),
        "bbox": [4, 3, 5, 4],
        "area": 20,
        "iscrowd": 0,
        "visible_mask": fab.rle(fab.BACK_VISIBLE),
        "visible_bbox": [4, 3, 5, 4],
        "occlude_rate": pytest.approx(0.2),
        "source_id": "7/2",
    }
    assert document["categories"] == [{"id": 1, "name": "cup"}, {"id": 2, "name": "table"}]


def test_what_was_written_is_read_back(tmp_path, cocoa):
    path = tmp_path / "out" / "annotations.json"
    write_amodal_coco(path, cocoa)
    (image,) = open_dataset("amodal_coco", path)
    assert image.path.samefile(cocoa[0].path)
    assert image.coco_image_ids == (42,)
    for before, after in zip(cocoa[0].instances, image.instances, strict=True):
        np.testing.assert_array_equal(before.amodal_mask(), after.amodal_mask())
        np.testing.assert_array_equal(before.visible_mask(), after.visible_mask())
        assert (before.category, before.source_id) == (after.category, after.source_id)


def test_pycocotools_loads_it(tmp_path, cocoa):
    path = tmp_path / "annotations.json"
    write_amodal_coco(path, cocoa)
    coco = COCO(path)
    mask = coco.annToMask(coco.loadAnns([2])[0])
    np.testing.assert_array_equal(mask, fab.BACK)


def test_an_instance_without_visible_mask_has_no_such_keys(tmp_path):
    record = fab.annotation(1, segmentation=fab.rle(fab.BACK))
    fab.save_json(
        tmp_path / "annotations.json",
        fab.flat([fab.image_entry("1.png")], [record], {1: "box"}),
    )
    write_amodal_coco(tmp_path / "out.json", open_dataset("amodal_coco", tmp_path))
    (written,) = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert not {"visible_mask", "visible_bbox", "occlude_rate"} & set(written)


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, cocoa):
    path = tmp_path / "out" / "annotations.json"
    write_amodal_coco(path, cocoa)
    before = path.read_bytes()

    def broken():
        yield cocoa[0]
        raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        write_amodal_coco(path, broken())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


KILLED_WRITER = """
import sys, time
from sameo_model.data.amodal_coco_writer import AmodalCocoWriter
with AmodalCocoWriter(sys.argv[1]) as writer:
    writer.append(['{"id": 1}'], [])
    print("written", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_the_old_file_and_its_leftovers_are_removed(tmp_path, cocoa):
    path = tmp_path / "out" / "annotations.json"
    write_amodal_coco(path, cocoa)
    before = path.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "written\n"
        process.kill()
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 2
    write_amodal_coco(path, cocoa)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_a_writer_on_another_machine_writes_is_left_alone(tmp_path, cocoa):
    path = tmp_path / "annotations.json"
    other = tmp_path / ".annotations.json.another.machine-1"
    other.write_text("{")
    write_amodal_coco(path, cocoa)
    assert other.read_text() == "{"


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path, cocoa):
    path = tmp_path / "out" / "annotations.json"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "written\n"
        write_amodal_coco(path, cocoa)
        assert len(list(path.parent.iterdir())) == 2
        process.kill()


def test_a_disk_that_fills_up_at_the_end_leaves_nothing(tmp_path, cocoa, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AmodalCocoWriter, "_finish", fail)
    path = tmp_path / "out" / "annotations.json"
    with pytest.raises(OSError, match="No space left"):
        write_amodal_coco(path, cocoa)
    assert list(path.parent.iterdir()) == []


def test_files_of_one_image_folder_can_be_joined(tmp_path, cocoa):
    first, joined = tmp_path / "first.json", tmp_path / "joined.json"
    write_amodal_coco(first, cocoa)
    with AmodalCocoWriter(joined) as writer:
        writer.append_file(first)
    assert joined.read_bytes() == first.read_bytes()
    assert (writer.num_images, writer.num_annotations) == (1, 2)


def test_modal_sets_cannot_be_written(tmp_path):
    fab.lvis(tmp_path)
    with pytest.raises(ValueError, match="sets of visible masks alone cannot be converted"):
        write_amodal_coco(tmp_path / "out.json", open_dataset("lvis", tmp_path))


def test_two_names_for_one_category_number_are_refused(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    fab.cocoa_cls(first)
    fab.muva(second)
    images = [*open_dataset("cocoa_cls", first), *open_dataset("muva", second)]
    clash = fab.json.loads((second / "annotations" / "AiFi-MUVA_train.json").read_text())
    clash["categories"] = [{"id": 47, "name": "tin"}]
    for record in clash["annotations"]:
        record["category_id"] = 47
    fab.save_json(second / "annotations" / "AiFi-MUVA_train.json", clash)
    images[1:] = open_dataset("muva", second)
    with pytest.raises(ValueError, match="number 47 must have one name, got 'cup' and 'tin'"):
        write_amodal_coco(tmp_path / "out.json", images)


def test_a_writer_must_be_entered(tmp_path, cocoa):
    writer = AmodalCocoWriter(tmp_path / "out.json")
    with pytest.raises(RuntimeError, match="use `with`"):
        writer.write(cocoa[0])
