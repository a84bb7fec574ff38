"""Each data set's reader on the same hand-drawn scene in that set's documented form."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from sameo_model.data.collection import dataset_names, open_dataset
from sameo_model.data.types import DatasetFormatError
from tests.sameo_model.data import fabricate as fab

# Name, fixture, categories of the front and of the back object.
BOTH = [
    ("cocoa", fab.cocoa, "cup", "table"),
    ("cocoa_cls", fab.cocoa_cls, "cup", "table"),
    ("d2sa", fab.d2sa, "apple", "apple"),
    ("kins", fab.kins_2019, "car", "pedestrian"),
    ("kins", fab.kins_2020, "car", "rider"),
    ("kitti360_aps", fab.kitti360_polygons, "car", "pedestrian"),
    ("kitti360_aps", fab.kitti360_panoptic, "car", "person"),
    ("muva", fab.muva, "tin", "tin"),
    ("walt", fab.walt_composite, "object", "object"),
    ("dyce", fab.dyce, "chair_tolix (2)", "coffee table"),
    ("dyce", fab.dyce_with_folders, "chair_tolix (2)", "coffee table"),
    ("pix2gestalt", fab.pix2gestalt, "", ""),
    ("amodal_lvis", fab.amodal_lvis, "mug", "mug"),
    ("amodal_coco", fab.amodal_coco, "box", "box"),
]
MODAL = [
    ("lvis", fab.lvis, "mug"),
    ("lvvis", fab.lvvis, "mug"),
    ("coco_instances", fab.coco_instances, "mug"),
    ("walt_raw", fab.walt_raw, "label 1"),
]


def _instances(dataset):
    return [instance for image in dataset for instance in image.instances]


@pytest.mark.parametrize(
    ("name", "write", "front_category", "back_category"),
    BOTH,
    ids=[write.__name__ for _, write, _, _ in BOTH],
)
def test_a_whole_and_a_covered_object_are_read(
    tmp_path, name, write, front_category, back_category
):
    write(tmp_path)
    dataset = open_dataset(name, tmp_path)
    front, back = _instances(dataset)
    assert dataset.defects == {}
    assert [front.category, back.category] == [front_category, back_category]
    np.testing.assert_array_equal(front.amodal_mask(), fab.FRONT)
    np.testing.assert_array_equal(front.visible_mask(), fab.FRONT)
    np.testing.assert_array_equal(back.amodal_mask(), fab.BACK)
    np.testing.assert_array_equal(back.visible_mask(), fab.BACK_VISIBLE)
    assert front.occlusion_rate == 0
    # 4 of 20 pixels are hidden.
    assert back.occlusion_rate == pytest.approx(0.2)
    assert front.amodal_box_xywh == (2, 1, 4, 4)
    # Row 3 to 6, columns 4 to 8: the hidden corner does not shrink the visible box.
    assert back.visible_box_xywh == (4, 3, 5, 4)


@pytest.mark.parametrize(
    ("name", "write", "category"), MODAL, ids=[write.__name__ for _, write, _ in MODAL]
)
def test_a_modal_set_has_visible_masks_alone(tmp_path, name, write, category):
    write(tmp_path)
    (instance,) = _instances(open_dataset(name, tmp_path))
    np.testing.assert_array_equal(instance.visible_mask(), fab.FRONT)
    assert instance.category == category
    assert instance.amodal_rle is None
    assert instance.amodal_box_xywh is None
    assert instance.occlusion_rate is None
    with pytest.raises(ValueError, match="has no amodal mask"):
        instance.amodal_mask()


def test_mp3d_amodal_is_read_from_its_pickle(tmp_path):
    fab.mp3d_amodal(tmp_path)
    (back,) = _instances(open_dataset("mp3d_amodal", tmp_path))
    np.testing.assert_array_equal(back.amodal_mask(), fab.BACK)
    np.testing.assert_array_equal(back.visible_mask(), fab.BACK_VISIBLE)
    assert back.category == "table"


def write_mp3d_classes(root, *regions, **content):
    """Write the pickle with the classes of these regions."""
    fab.mp3d_amodal(root)
    path = root / "MP3D_seleted_train_10.29.pkl"
    whole = pickle.loads(path.read_bytes())
    (region,) = whole["annotations"][0]["regions"]
    del region["category_id"]
    whole["annotations"][0]["regions"] = [{**region, **changes} for changes in regions]
    path.write_bytes(pickle.dumps({**whole, **content}))


@pytest.mark.parametrize(
    ("regions", "content"),
    [
        ([{"category_id": 1}, {"category_id": 5}], {}),
        ([{"category_id": np.int64(1)}, {"category_id": np.int64(5)}], {}),
        ([{"category_id": 70, "name": "Wall"}, {"category_id": 71, "name": "table"}], {}),
        (
            [{"category_id": 8}, {"category_id": 9}],
            {"categories": [{"id": 8, "name": "wall"}, {"id": 9, "name": "table"}]},
        ),
    ],
    ids=["mpcat40", "numpy", "name beside it", "own list"],
)
def test_walls_of_mp3d_amodal_are_left_out_when_classes_are_numbers(tmp_path, regions, content):
    write_mp3d_classes(tmp_path, *regions, **content)
    both = _instances(open_dataset("mp3d_amodal", tmp_path))
    assert [instance.category for instance in both] == ["wall", "table"]
    (kept,) = _instances(open_dataset("mp3d_amodal", tmp_path, quality_control=True))
    assert kept.category == "table"


def test_a_number_of_mp3d_amodal_that_means_no_class_is_refused(tmp_path):
    write_mp3d_classes(tmp_path, {"category_id": 900})
    with pytest.raises(DatasetFormatError, match=r"mpcat40 \(0 to 41\), got 900 in annotation 0"):
        open_dataset("mp3d_amodal", tmp_path)


@pytest.mark.parametrize("occluded", [False, True])
def test_a_record_of_kitti_360_that_is_not_occluded_needs_no_amodal_mask(tmp_path, occluded):
    fab.kitti360_panoptic(tmp_path)
    path = tmp_path / "amodal_panoptic_seg" / "train" / "seq" / "0042_ampano.json"
    records = json.loads(path.read_text())
    records["26001"] = {"occluded": occluded}
    fab.save_json(path, records)
    instances = _instances(open_dataset("kitti360_aps", tmp_path))
    expected = ["person"] if occluded else ["car", "person"]
    assert [instance.category for instance in instances] == expected
    if not occluded:
        np.testing.assert_array_equal(instances[0].amodal_mask(), fab.FRONT)
        assert instances[0].occlusion_rate == 0


def test_a_polygon_record_of_kitti_360_that_is_not_occluded_needs_no_amodal_mask(tmp_path):
    fab.kitti360_polygons(tmp_path)
    path = tmp_path / "annotations" / "train.json"
    content = json.loads(path.read_text())
    del content["annotations"][0]["segmentation"]
    content["annotations"][0]["occluded"] = False
    fab.save_json(path, content)
    front, _ = _instances(open_dataset("kitti360_aps", tmp_path))
    np.testing.assert_array_equal(front.amodal_mask(), fab.FRONT)


@pytest.mark.parametrize(
    ("name", "write"),
    [*((name, write) for name, write, *_ in BOTH + MODAL), ("mp3d_amodal", fab.mp3d_amodal)],
    ids=[write.__name__ for _, write, *_ in BOTH + MODAL] + ["mp3d_amodal"],
)
def test_every_image_with_an_instance_is_found_on_disk(tmp_path, name, write):
    write(tmp_path)
    images = [image for image in open_dataset(name, tmp_path) if image.instances]
    assert images
    for image in images:
        assert image.dataset == name
        assert image.load_rgb().shape == (*image.image_hw, 3)


def test_all_data_sets_have_a_fixture():
    tested = {name for name, *_ in BOTH + MODAL} | {"mp3d_amodal"}
    assert tested == set(dataset_names())


def test_an_unknown_data_set_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"one of amodal_coco, .*walt_raw, got 'cocoo'"):
        open_dataset("cocoo", tmp_path)


@pytest.mark.parametrize("name", sorted(set(dataset_names())))
def test_an_empty_folder_is_refused_with_what_is_missing(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="but"):
        open_dataset(name, tmp_path)


def test_an_unknown_split_is_refused_with_the_known_ones(tmp_path):
    fab.cocoa_cls(tmp_path)
    with pytest.raises(ValueError, match="one of train, val, got 'test'"):
        open_dataset("cocoa_cls", tmp_path, "test")


@pytest.mark.parametrize(
    ("name", "write", "ids"),
    [
        ("cocoa", fab.cocoa, (42,)),
        ("cocoa_cls", fab.cocoa_cls, (42,)),
        ("lvis", fab.lvis, (42,)),
        ("coco_instances", fab.coco_instances, (42,)),
        ("amodal_lvis", fab.amodal_lvis, (42, 43)),
        ("d2sa", fab.d2sa, ()),
    ],
)
def test_photographs_of_coco_are_known_by_their_number(tmp_path, name, write, ids):
    write(tmp_path)
    assert open_dataset(name, tmp_path)[0].coco_image_ids == ids


def test_several_splits_are_one_set(tmp_path):
    fab.d2sa(tmp_path)
    folder = tmp_path / "annotations"
    for name in ("training_rot0", "augmented"):
        content = (folder / "D2S_amodal_validation.json").read_bytes()
        (folder / f"D2S_amodal_{name}.json").write_bytes(content)
    assert len(open_dataset("d2sa", tmp_path, "train")) == 1
    assert len(open_dataset("d2sa", tmp_path, "train+augmented")) == 2
    assert len(open_dataset("d2sa", tmp_path)) == 3


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train+train", "must be different parts joined by"),
        ("train+", "must be different parts joined by"),
        ("train+tset", "one of train, augmented, val, got 'tset'"),
        ("train+val", "but none is there"),
    ],
)
def test_splits_that_cannot_be_joined_are_refused(tmp_path, split, message):
    fab.d2sa(tmp_path)
    (tmp_path / "annotations" / "D2S_amodal_validation.json").rename(
        tmp_path / "annotations" / "D2S_amodal_training_rot0.json"
    )
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_dataset("d2sa", tmp_path, split)


def test_a_file_is_not_read_twice_as_two_splits(tmp_path):
    fab.amodal_coco(tmp_path)
    with pytest.raises(ValueError, match=r"'a\+b' reads .*annotations.json twice"):
        open_dataset("walt", tmp_path, "a+b")


def test_splits_with_the_same_ids_are_joined_under_unique_ones(tmp_path):
    fab.kins_2019(tmp_path)
    fab.kins_2020(tmp_path)
    dataset = open_dataset("kins", tmp_path)
    # Both splits use image id 3 and annotation ids 1 and 2; the second is shifted by the largest.
    assert [image.image_id for image in dataset] == [3, 6]
    assert [instance.annotation_id for instance in _instances(dataset)] == [1, 2, 3, 4]
    assert dataset[0].path.parts[-3:] == ("training", "image_2", "000007.png")
    assert dataset[1].path.parts[-3:] == ("testing", "image_2", "000007.png")
