"""Plain instance masks: where files lie, which masks count, and what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from tests.sameo_model.data import fabricate as fab

NAME = "000000000042.jpg"


def _write(path, photo, annotations=None):
    fab.save_image(photo)
    annotations = annotations or [fab.annotation(1, segmentation=[fab.FRONT_POLYGON])]
    fab.save_json(path, fab.flat([fab.image_entry(NAME)], annotations, {1: "mug"}))


@pytest.mark.parametrize(
    ("annotations", "photo", "splits"),
    [
        ("annotations.json", f"images/{NAME}", [""]),
        ("annotations.json", NAME, [""]),
        ("validation.json", f"images/{NAME}", ["validation"]),
        ("annotations/instances_val2017.json", f"val2017/{NAME}", ["val2017"]),
        ("valid/_annotations.coco.json", f"valid/{NAME}", ["valid"]),
    ],
    ids=["images", "beside", "split", "coco", "roboflow"],
)
def test_the_usual_layouts_are_found(tmp_path, annotations, photo, splits):
    (tmp_path / annotations).parent.mkdir(parents=True, exist_ok=True)
    _write(tmp_path / annotations, tmp_path / photo)
    for split in (None, *(name for name in splits if name)):
        (image,) = open_dataset("coco_instances", tmp_path, split)
        assert image.path == tmp_path / photo
        assert image.load_rgb().shape == (*fab.IMAGE_HW, 3)
    (image,) = open_dataset("coco_instances", tmp_path / annotations)
    np.testing.assert_array_equal(image.instances[0].visible_mask(), fab.FRONT)


def test_splits_are_read_together_or_alone_and_an_unknown_one_is_refused(tmp_path):
    _write(tmp_path / "train.json", tmp_path / "images" / NAME)
    _write(tmp_path / "validation.json", tmp_path / "images" / NAME)
    assert len(open_dataset("coco_instances", tmp_path)) == 2
    assert len(open_dataset("coco_instances", tmp_path, "validation")) == 1
    with pytest.raises(ValueError, match=r"must be one of train, validation, got 'test'"):
        open_dataset("coco_instances", tmp_path, "test")


@pytest.mark.parametrize(
    "segmentation",
    [[fab.BACK_VISIBLE_POLYGON], fab.rle(fab.BACK_VISIBLE), fab.uncompressed_rle(fab.BACK_VISIBLE)],
    ids=["polygons", "run lengths", "uncompressed"],
)
def test_polygons_and_run_lengths_are_the_visible_part(tmp_path, segmentation):
    records = [fab.annotation(1, segmentation=segmentation)]
    _write(tmp_path / "annotations.json", tmp_path / "images" / NAME, records)
    (instance,) = open_dataset("coco_instances", tmp_path)[0].instances
    np.testing.assert_array_equal(instance.visible_mask(), fab.BACK_VISIBLE)
    assert instance.amodal_rle is None
    assert instance.occlusion_rate is None


def test_crowds_are_left_out_and_counted(tmp_path):
    records = [
        fab.annotation(1, segmentation=[fab.FRONT_POLYGON]),
        fab.annotation(2, segmentation=fab.uncompressed_rle(fab.BACK), iscrowd=1),
    ]
    _write(tmp_path / "annotations.json", tmp_path / "images" / NAME, records)
    dataset = open_dataset("coco_instances", tmp_path)
    assert [instance.annotation_id for instance in dataset[0].instances] == [1]
    assert dataset.defects["crowd"]["count"] == 1


def test_of_amodal_coco_the_visible_mask_is_taken_not_the_whole_object(tmp_path):
    fab.amodal_coco(tmp_path)
    back = open_dataset("coco_instances", tmp_path)[0].instances[1]
    np.testing.assert_array_equal(back.visible_mask(), fab.BACK_VISIBLE)


def test_only_names_of_coco_give_a_coco_number(tmp_path):
    _write(tmp_path / "annotations.json", tmp_path / "images" / NAME)
    document = json.loads((tmp_path / "annotations.json").read_text())
    document["images"][0]["id"] = 7
    document["annotations"][0]["image_id"] = 7
    fab.save_json(tmp_path / "annotations.json", document)
    assert open_dataset("coco_instances", tmp_path)[0].coco_image_ids == ()
