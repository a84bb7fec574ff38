"""Conversion to amodal COCO: the same file from any number of processes."""

from __future__ import annotations

import json

import pytest

from sameo_model.data import conversion
from sameo_model.data.amodal_coco_writer import write_amodal_coco
from sameo_model.data.collection import open_dataset
from sameo_model.data.conversion import convert_dataset
from sameo_model.data.filters import Rule, apply_rules
from sameo_model.data.index import IndexedDataset
from tests.sameo_model.data import fabricate as fab


@pytest.fixture
def many(tmp_path) -> IndexedDataset:
    """Seven images with two instances each; class 9 is met before class 3."""
    images = [fab.image_entry(f"{number}.png", image_id=number) for number in range(1, 8)]
    records = [
        fab.annotation(
            2 * image["id"] + place,
            image_id=image["id"],
            category_id=category,
            segmentation=fab.rle(whole),
            visible_mask=fab.rle(visible),
        )
        for image in images
        for place, category, whole, visible in (
            (0, 9, fab.FRONT, fab.FRONT),
            (1, 3, fab.BACK, fab.BACK_VISIBLE),
        )
    ]
    fab.save_json(
        tmp_path / "set" / "annotations.json", fab.flat(images, records, {3: "box", 9: "cup"})
    )
    return open_dataset("amodal_coco", tmp_path / "set")


@pytest.fixture
def _small_chunks(monkeypatch):
    monkeypatch.setattr(conversion, "CHUNK_IMAGES", 2)
    monkeypatch.setattr(conversion, "MIN_INSTANCES_PER_WORKER", 1)


@pytest.mark.usefixtures("_small_chunks")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_bytes_are_those_of_writing_image_by_image(tmp_path, many, workers):
    expected, found = tmp_path / "out" / "a.json", tmp_path / "out" / "b.json"
    write_amodal_coco(expected, many)
    assert convert_dataset(many, found, workers=workers) == (7, 14)
    assert found.read_bytes() == expected.read_bytes()
    assert sorted(tmp_path.joinpath("out").iterdir()) == [expected, found]


def test_classes_without_numbers_are_numbered_as_they_come(tmp_path):
    fab.cocoa(tmp_path / "cocoa")
    convert_dataset(open_dataset("cocoa", tmp_path / "cocoa"), tmp_path / "out.json")
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["categories"] == [{"id": 1, "name": "cup"}, {"id": 2, "name": "table"}]


@pytest.mark.usefixtures("_small_chunks")
def test_what_a_view_leaves_out_is_not_written(tmp_path, many):
    view, _ = apply_rules(many, [Rule("max_occlusion_rate", {"value": 0.1})])
    assert convert_dataset(view, tmp_path / "out.json", workers=2) == (7, 7)
    document = json.loads((tmp_path / "out.json").read_text())
    # Every other instance hides 4 of 20 pixels.
    assert [record["id"] for record in document["annotations"]] == list(range(2, 16, 2))


@pytest.mark.usefixtures("_small_chunks")
def test_an_error_in_a_process_leaves_no_file(tmp_path):
    fab.lvis(tmp_path / "lvis")
    lvis = open_dataset("lvis", tmp_path / "lvis")
    with pytest.raises(ValueError, match="sets of visible masks alone cannot be converted"):
        convert_dataset(lvis, tmp_path / "out" / "annotations.json", workers=2)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_set_without_images_becomes_an_empty_file(tmp_path, many):
    nothing = many.select(many.keep & False, drop_empty=True)
    assert convert_dataset(nothing, tmp_path / "out.json", workers=4) == (0, 0)
    document = json.loads((tmp_path / "out.json").read_text())
    assert (document["images"], document["annotations"]) == ([], [])


def test_classes_without_objects_are_kept(tmp_path):
    images = [fab.image_entry("1.png", image_id=1)]
    masks = {"segmentation": fab.rle(fab.FRONT), "visible_mask": fab.rle(fab.FRONT)}
    records = [fab.annotation(1, image_id=1, category_id=9, **masks)]
    classes = {3: "box", 9: "cup", 12: "bowl"}
    fab.save_json(tmp_path / "set" / "annotations.json", fab.flat(images, records, classes))
    convert_dataset(open_dataset("amodal_coco", tmp_path / "set"), tmp_path / "out.json")
    document = json.loads((tmp_path / "out.json").read_text())
    assert {one["id"]: one["name"] for one in document["categories"]} == classes


def test_classes_without_names_keep_their_numbers(many, tmp_path):
    path = tmp_path / "set" / "annotations.json"
    fab.save_json(path, {**json.loads(path.read_text()), "categories": []})
    convert_dataset(open_dataset("amodal_coco", path.parent), tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["categories"] == [{"id": 3, "name": "3"}, {"id": 9, "name": "9"}]
    assert {one["category_id"] for one in written["annotations"]} == {3, 9}


def test_crowd_regions_are_written_but_are_no_instances(tmp_path):
    crowd = fab.annotation(2, segmentation=fab.rle(fab.BACK), iscrowd=1)
    one = fab.annotation(1, segmentation=fab.rle(fab.FRONT), visible_mask=fab.rle(fab.FRONT))
    content = fab.flat([fab.image_entry("42.png")], [one, crowd], {1: "box"})
    fab.save_json(tmp_path / "set" / "annotations.json", content)
    target = tmp_path / "converted.json"
    assert convert_dataset(open_dataset("amodal_coco", tmp_path / "set"), target) == (1, 1)
    written = json.loads(target.read_text())["annotations"]
    assert [record["iscrowd"] for record in written] == [0, 1]
