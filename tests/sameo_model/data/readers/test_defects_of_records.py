"""Every defect of records: what the reader makes of it, and how it is counted."""

from __future__ import annotations

import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.data.defects import Action, Defect, total_skipped
from tests.sameo_model.data import fabricate as fab

WRONG_SIZE = {"size": [8, 10], "counts": "1"}  # One run of one pixel in a mask of 80.
PADDED = np.zeros((9, 12), dtype=bool)
PADDED[:8, :10] = fab.BACK
SPILLED = PADDED.copy()
SPILLED[8, 0] = True


def open_with(tmp_path, *records, name="d2sa"):
    """Open a set with these annotations, its other parts being sound."""
    document = fab.flat([fab.image_entry("42.png")], list(records), {1: "box"})
    if name == "d2sa":
        fab.save_json(tmp_path / "D2S_amodal_validation.json", document)
    else:
        fab.save_json(tmp_path / "annotations.json", document)
    dataset = open_dataset(name, tmp_path)
    counts = {key: entry["count"] for key, entry in dataset.defects.items()}
    return list(dataset[0].instances), counts


def back(number=1, **changes):
    """Return a sound record of the covered object with some fields changed."""
    fields = {"segmentation": fab.rle(fab.BACK), "visible_mask": fab.rle(fab.BACK_VISIBLE)}
    return fab.annotation(number, **{**fields, **changes})


TINY_PARTS = [[1, 1, 2, 2], fab.BACK_POLYGON]
REPAIRED = {
    "flat_polygon": back(segmentation=fab.BACK_POLYGON),
    "uncompressed_counts": back(segmentation=fab.uncompressed_rle(fab.BACK)),
    "short_polygon_part": back(segmentation=TINY_PARTS),
    "odd_polygon_part": back(segmentation=[fab.BACK_POLYGON, [1, 1, 3, 1, 3, 3, 1]]),
    "wild_polygon_part": back(segmentation=[fab.BACK_POLYGON, [1, 1, 3, float("nan"), 3, 1e12]]),
    "size_unlike_image": back(segmentation=fab.rle(PADDED)),
    "zero_size_box": back(bbox=[4, 3, 0, 4]),
    "box_unlike_mask": back(bbox=[4, 3, 5, 9]),
    "unusable_id": back(0),
}


@pytest.mark.parametrize("defect", REPAIRED)
def test_a_repaired_record_shows_the_true_masks(tmp_path, defect):
    (instance,), counts = open_with(tmp_path, REPAIRED[defect])
    assert counts == {defect: 1}
    np.testing.assert_array_equal(instance.amodal_mask(), fab.BACK)
    np.testing.assert_array_equal(instance.visible_mask(), fab.BACK_VISIBLE)
    assert instance.amodal_box_xywh == (4, 3, 5, 4)
    assert instance.annotation_id == 1


def test_whole_numbers_with_a_decimal_point_are_numbers(tmp_path):
    (instance,), counts = open_with(tmp_path, back(4.0, image_id=42.0, category_id=1.0))
    assert counts == {}
    assert (instance.annotation_id, instance.category_id, instance.category) == (4, 1, "box")


@pytest.mark.parametrize("no", [0, "0", False, None, 0.0])
def test_a_crowd_is_what_is_marked_as_one(tmp_path, no):
    (instance,), counts = open_with(tmp_path, back(1, iscrowd=no, isStuff=no), back(2, iscrowd="1"))
    assert counts == {"crowd": 1}
    assert (instance.annotation_id, instance.is_stuff) == (1, False)


@pytest.mark.parametrize("category_id", [1, "1", 1.0, "box"])
def test_a_class_is_a_number_or_the_name_of_a_listed_class(tmp_path, category_id):
    (instance,), counts = open_with(tmp_path, back(category_id=category_id))
    assert counts == {}
    assert (instance.category_id, instance.category) == (1, "box")


def test_numbers_of_listed_classes_may_be_text(tmp_path):
    document = fab.flat([fab.image_entry("42.png")], [back(category_id="3")], {"3": "box"})
    fab.save_json(tmp_path / "D2S_amodal_validation.json", document)
    dataset = open_dataset("d2sa", tmp_path)
    assert dataset.classes == {3: "box"}
    assert dataset[0].instances[0].category_id == 3


def test_a_class_that_is_not_listed_is_kept_and_counted(tmp_path):
    classes = [7, "cup", None, "cup"]
    records = [back(number, category_id=one) for number, one in enumerate(classes, start=1)]
    instances, counts = open_with(tmp_path, *records)
    assert counts == {"unlisted_class": 4}
    assert [(one.category_id, one.category) for one in instances] == [
        *((7, "7"), (0, "cup"), (0, ""), (0, "cup")),
    ]


def test_an_image_that_is_listed_twice_is_counted(tmp_path):
    entries = [fab.image_entry("42.png", number) for number in (42, 43, 44)]
    fab.save_json(tmp_path / "annotations.json", fab.flat(entries, [back()], {1: "box"}))
    dataset = open_dataset("amodal_coco", tmp_path)
    assert len(dataset) == 3
    assert dataset.defects["repeated_image"]["count"] == 2
    assert dataset.defects["repeated_image"]["examples"] == ["42.png"]


SKIPPED = {
    "empty_segmentation": [
        back(segmentation=[]),
        back(2, segmentation=None),
        back(3, segmentation={"size": [8, 10], "counts": []}),
    ],
    "empty_amodal": [back(segmentation=fab.rle(np.zeros(fab.IMAGE_HW, bool)))],
    "absent_visible": [back(visible_mask=None)],
    "empty_visible": [
        back(visible_mask=fab.rle(np.zeros(fab.IMAGE_HW, bool))),
        back(2, visible_mask=[]),
    ],
    "object_cut": [back(segmentation=fab.rle(SPILLED))],
    "bad_run_lengths": [
        back(segmentation=WRONG_SIZE),
        back(2, segmentation={"size": [8, 10], "counts": "\x7f"}),
        back(3, segmentation={"size": [8, 10], "counts": [79, 2]}),
        back(4, segmentation={"size": [8, 10], "counts": [85, -5]}),
        back(5, segmentation={"counts": "1"}),
        back(6, visible_mask=WRONG_SIZE),
    ],
    "unknown_image": [{**back(), "image_id": 43}],
    "crowd": [back(iscrowd=1)],
    "malformed_record": ["not an object"],
}


@pytest.mark.parametrize("defect", SKIPPED)
def test_a_skipped_record_is_counted_and_the_others_stay(tmp_path, defect):
    instances, counts = open_with(tmp_path, back(100), *SKIPPED[defect])
    assert [instance.annotation_id for instance in instances] == [100]
    assert counts.pop(defect) == len(SKIPPED[defect])
    # The only other rule at work: lists of run lengths are compressed before they are checked.
    assert set(counts) <= {"uncompressed_counts"}


def test_a_visible_mask_outside_the_amodal_one_is_clipped(tmp_path):
    visible = fab.BACK_VISIBLE.copy()
    visible[7, 4] = True  # One pixel below the object.
    (instance,), counts = open_with(tmp_path, back(visible_mask=fab.rle(visible)))
    assert counts == {"visible_outside_amodal": 1}
    np.testing.assert_array_equal(instance.visible_mask(), fab.BACK_VISIBLE)


def test_a_visible_mask_beside_the_amodal_one_means_a_hidden_object(tmp_path):
    visible = fab.rle(fab.FRONT & ~fab.BACK)
    instances, counts = open_with(tmp_path, back(visible_mask=visible))
    assert instances == []
    assert counts == {"visible_outside_amodal": 1, "empty_visible": 1}


def test_repeated_annotation_ids_are_numbered_behind_the_largest(tmp_path):
    instances, counts = open_with(tmp_path, back(5), back(5), back(9))
    assert [instance.annotation_id for instance in instances] == [5, 10, 9]
    assert counts == {"unusable_id": 1}


def test_plain_amodal_coco_keeps_a_record_whose_visible_part_is_unknown(tmp_path):
    (instance,), counts = open_with(tmp_path, back(visible_mask=None), name="amodal_coco")
    assert counts == {}
    assert instance.visible_rle is None
    assert instance.occlusion_rate is None


def test_a_polygon_that_leaves_the_image_is_clipped(tmp_path):
    polygon = [-3, -3, 6, -3, 6, 5, -3, 5]
    (instance,), counts = open_with(tmp_path, back(segmentation=[polygon], visible_mask=[polygon]))
    assert counts == {}
    assert instance.amodal_box_xywh == (0, 0, 6, 5)


def test_a_second_annotator_of_an_image_is_skipped(tmp_path):
    fab.cocoa(tmp_path)
    path = tmp_path / "annotations" / "COCO_amodal_val2014.json"
    content = fab.json.loads(path.read_text())
    content["annotations"].append({**content["annotations"][0], "id": 8})
    fab.save_json(path, content)
    dataset = open_dataset("cocoa", tmp_path)
    assert len(dataset[0].instances) == 2
    assert dataset.defects["second_annotator"]["count"] == 2
    assert dataset.defects["second_annotator"]["examples"] == ["8"]


def test_samples_that_miss_a_file_are_not_paired_with_another_one(tmp_path):
    fab.pix2gestalt(tmp_path)
    (tmp_path / "whole_mask" / "sa_1_whole_mask.png").unlink()
    dataset = open_dataset("pix2gestalt", tmp_path)
    assert [len(image.instances) for image in dataset] == [0, 1]
    np.testing.assert_array_equal(dataset[1].instances[0].amodal_mask(), fab.BACK)
    assert dataset.defects["incomplete_sample"]["examples"] == ["sa_1"]


def test_damaged_mask_files_are_skipped(tmp_path):
    fab.dyce(tmp_path)
    (tmp_path / "amodal" / "scene1_7_0.png").write_bytes(b"no image")
    (tmp_path / "modal" / "scene1_7_1.png").unlink()
    defects = open_dataset("dyce", tmp_path).defects
    assert defects["unreadable_file"]["examples"] == ["train.txt:1"]
    assert defects["incomplete_sample"]["examples"] == ["train.txt:2"]


def test_rows_that_the_authors_of_dyce_skip_are_skipped(tmp_path):
    fab.dyce(tmp_path)
    path = tmp_path / "annotations" / "train.txt"
    path.write_text(path.read_text().replace("coffee table", "objects") + "Images/scene1_7.png x\n")
    dataset = open_dataset("dyce", tmp_path)
    assert [i.category for i in dataset[0].instances] == ["chair_tolix (2)"]
    assert dataset.defects["ignored_tag"]["examples"] == ["train.txt:2"]
    assert dataset.defects["malformed_record"]["examples"] == ["train.txt:3"]


def test_a_mask_archive_with_pickled_objects_is_not_loaded(tmp_path):
    fab.walt_composite(tmp_path)
    path = next((tmp_path / "cwalt_train" / "Segmentation").glob("*.npz"))
    np.savez(path, mask=np.array([{"a": 1}], dtype=object))
    defects = open_dataset("walt", tmp_path).defects
    assert defects["unreadable_file"]["examples"] == [path.name]


def test_detections_in_twice_the_frames_size_are_halved(tmp_path):
    fab.walt_raw(tmp_path)
    path = tmp_path / "cam1" / "cam1.json"
    (detection,) = fab.json.loads(path.read_text())
    doubled = ",".join(str(2 * number) for number in fab.FRONT_POLYGON)
    # The far corner x = 12, y = 10 lies outside the frame of 10 x 8.
    detection |= {"bbox": "{4,2,8,8,0.95}", "segmentation": "{" + doubled + "}"}
    fab.save_json(path, [detection, {**detection, "time": "2021-05-01T12:31:00Z"}])
    dataset = open_dataset("walt_raw", tmp_path)
    np.testing.assert_array_equal(dataset[0].instances[0].visible_mask(), fab.FRONT)
    assert dataset.defects["scaled_coordinates"]["count"] == 1
    assert dataset.defects["frame_not_found"]["examples"] == ["2"]


def test_skipped_records_can_be_summed_up(tmp_path):
    records = [back(1, iscrowd=1), back(2, segmentation=[]), back(3, bbox=[1, 1, 0, 0])]
    document = fab.flat([fab.image_entry("42.png")], records, {1: "box"})
    fab.save_json(tmp_path / "annotations.json", document)
    assert total_skipped(open_dataset("amodal_coco", tmp_path).defects) == 2


def test_every_rule_is_exercised_here():
    tested = set(REPAIRED) | set(SKIPPED)
    tested |= {
        "visible_outside_amodal",
        "scaled_coordinates",
        "second_annotator",
        "incomplete_sample",
        "unreadable_file",
        "ignored_tag",
        "frame_not_found",
        "unlisted_class",
        "repeated_image",
    }
    assert tested == {defect.name.lower() for defect in Defect}
    assert {defect.action for defect in Defect} == set(Action)


def test_of_two_visible_masks_of_a_sample_the_last_by_name_counts(tmp_path):
    fab.pix2gestalt(tmp_path)
    folder = tmp_path / "visible_object_mask"
    fab.save_mask(folder / "sa_2_visible_object_mask.png", fab.FRONT)
    second = open_dataset("pix2gestalt", tmp_path)[1].instances[0]
    overlap = fab.FRONT & fab.BACK
    np.testing.assert_array_equal(second.visible_mask(), overlap)
