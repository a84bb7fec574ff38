"""Files that no rule can repair are refused with a sentence that shows what was found."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.data.readers.safe_pickle import load_plain_pickle
from sameo_model.data.types import DatasetFormatError
from tests.sameo_model.data import fabricate as fab


def _muva(tmp_path, **masks):
    document = fab.flat([fab.image_entry("42.png")], [fab.annotation(1, **masks)], {1: "tin"})
    fab.save_json(tmp_path / "AiFi-MUVA_val.json", document)
    return open_dataset("muva", tmp_path)


def test_muva_with_unknown_keys_shows_found_and_expected_ones(tmp_path):
    with pytest.raises(DatasetFormatError, match=r"one of amodal_seg.*first one has \['category"):
        _muva(tmp_path, whole=fab.rle(fab.BACK))


def test_muva_does_not_take_one_mask_for_both(tmp_path):
    with pytest.raises(DatasetFormatError, match="visible mask under another of"):
        _muva(tmp_path, segmentation=fab.rle(fab.BACK))


def test_muva_takes_segmentation_for_the_visible_mask_beside_an_amodal_one(tmp_path):
    dataset = _muva(tmp_path, segmentation=fab.rle(fab.BACK_VISIBLE), amodal_mask=fab.rle(fab.BACK))
    np.testing.assert_array_equal(dataset[0].instances[0].amodal_mask(), fab.BACK)
    np.testing.assert_array_equal(dataset[0].instances[0].visible_mask(), fab.BACK_VISIBLE)


def test_an_annotation_file_of_another_kind_is_refused(tmp_path):
    fab.save_json(tmp_path / "COCO_amodal_val2014.json", fab.flat([], [], {}))
    with pytest.raises(DatasetFormatError, match="must have a list `images`"):
        open_dataset("cocoa", tmp_path)


def test_the_flat_form_given_as_cocoa_is_refused_with_the_right_name(tmp_path):
    document = fab.flat([fab.image_entry(fab.COCO_NAME)], [fab.annotation(1)], {})
    fab.save_json(tmp_path / "COCO_amodal_val2014.json", document)
    with pytest.raises(DatasetFormatError, match=r"must have a list `regions`.*use cocoa_cls"):
        open_dataset("cocoa", tmp_path)


def test_a_first_record_without_masks_is_refused(tmp_path):
    document = fab.flat([fab.image_entry("1.png")], [fab.annotation(1)], {})
    fab.save_json(tmp_path / "annotations.json", document)
    with pytest.raises(DatasetFormatError, match="must have one of segmentation; the first one"):
        open_dataset("amodal_coco", tmp_path)


def test_two_classes_of_one_number_are_refused(tmp_path):
    document = fab.flat([fab.image_entry("42.png")], [], {1: "box"})
    document["categories"].append({"id": "1", "name": "cup"})
    fab.save_json(tmp_path / "annotations.json", document)
    with pytest.raises(DatasetFormatError, match="class 1 must have one name, got 'box' and 'cup'"):
        open_dataset("amodal_coco", tmp_path)


def test_repeated_image_ids_are_refused(tmp_path):
    document = fab.flat([fab.image_entry("1.png"), fab.image_entry("2.png")], [], {})
    fab.save_json(tmp_path / "annotations.json", document)
    with pytest.raises(DatasetFormatError, match="must have an id of its own, got 42, which an"):
        open_dataset("amodal_coco", tmp_path)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    fab.amodal_coco(tmp_path)
    path = tmp_path / "annotations.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DatasetFormatError, match="must be valid JSON"):
        open_dataset("amodal_coco", tmp_path)


def test_images_without_a_size_are_refused(tmp_path):
    content = {"images": [{"id": 1, "file_name": "1.png"}], "annotations": []}
    fab.save_json(tmp_path / "annotations.json", content)
    with pytest.raises(DatasetFormatError, match="got the keys file_name, id"):
        open_dataset("amodal_coco", tmp_path)


def test_mp3d_lists_of_unequal_length_are_refused(tmp_path):
    fab.mp3d_amodal(tmp_path)
    content = {"images": [], "annotations": [{"regions": []}]}
    (tmp_path / "MP3D_seleted_train_10.29.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DatasetFormatError, match="got 0 images and 1 annotations"):
        open_dataset("mp3d_amodal", tmp_path)


class _Malicious:
    def __reduce__(self):
        return exec, ("raise SystemExit('code was run')",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_with_code_is_refused_without_running_it(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"images": _Malicious()}, protocol=protocol))
    with pytest.raises(DatasetFormatError, match=r"got \w+\.exec; it is refused"):
        load_plain_pickle(path)


@pytest.mark.parametrize("content", [OrderedDict(a=1), np.zeros(2)], ids=["class", "array"])
def test_a_pickle_with_anything_but_plain_data_is_refused(tmp_path, content):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DatasetFormatError, match="must hold plain data only"):
        load_plain_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol_comes_back_with_numpy_scalars_as_numbers(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    content = {
        "bytes": b"\x00\xff",
        "list": [1, 2.5, "x", None, True, (1,)],
        "numpy": [np.int64(-7), np.float32(0.5), np.uint8(3), np.bool_(True)],
        "big_endian": np.dtype(">i4").type(258),
    }
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    result = load_plain_pickle(path)
    assert result == {**content, "numpy": [-7, 0.5, 3, True], "big_endian": 258}
    assert [type(number) for number in result["numpy"]] == [int, float, int, bool]
    json.dumps(result["numpy"])


def test_a_damaged_pickle_is_refused(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([1, 2, 3])[:-3])
    with pytest.raises(DatasetFormatError, match="must be a complete pickle"):
        load_plain_pickle(path)
