"""COCOA on two real photographs with their original annotations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sameo_model.data.collection import open_dataset

SAMPLE = Path(__file__).parents[5] / "shared" / "samples" / "cocoa" / "COCO_amodal_sample.json"

pytestmark = pytest.mark.skipif(not SAMPLE.is_file(), reason="no real COCOA sample beside the tree")


@pytest.fixture(scope="module")
def dataset():
    return open_dataset("cocoa", SAMPLE)


@pytest.fixture(scope="module")
def regions():
    content = json.loads(SAMPLE.read_text())
    sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in content["images"]}
    return [
        (region, sizes[record["image_id"]])
        for record in content["annotations"]
        for region in record["regions"]
    ]


def test_all_thirteen_regions_are_read_without_a_defect(dataset):
    assert [len(image.instances) for image in dataset] == [2, 11]
    assert dataset.defects == {}


def test_masks_equal_what_pycocotools_decodes(dataset, regions):
    instances = [instance for image in dataset for instance in image.instances]
    assert len(instances) == len(regions) == 13
    for instance, (region, (height, width)) in zip(instances, regions, strict=True):
        (encoded,) = coco_mask.frPyObjects([region["segmentation"]], height, width)
        amodal = coco_mask.decode(encoded).astype(bool)
        visible = region.get("visible_mask")
        expected = amodal if visible is None else coco_mask.decode(visible).astype(bool)
        np.testing.assert_array_equal(instance.amodal_mask(), amodal)
        np.testing.assert_array_equal(instance.visible_mask(), expected)


def test_area_rate_and_name_agree_with_the_record(dataset, regions):
    instances = [instance for image in dataset for instance in image.instances]
    for instance, (region, _) in zip(instances, regions, strict=True):
        assert instance.amodal_mask().sum() == region["area"]
        assert instance.occlusion_rate == pytest.approx(region["occlude_rate"], abs=1e-6)
        assert instance.category == region["name"].strip().lower()


def test_photographs_lie_beside_the_file(dataset):
    assert [image.load_rgb().shape for image in dataset] == [(480, 640, 3), (427, 640, 3)]
    assert [image.coco_image_ids for image in dataset] == [(188819,), (343254,)]
