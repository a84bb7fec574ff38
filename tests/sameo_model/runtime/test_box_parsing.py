import json
import logging
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_model.runtime.box_parsing import read_boxes
from sameo_model.runtime.box_source import find_faults, prompts_to_boxes
from sameo_model.runtime.masks import crop_to_rle
from sameo_model.runtime.types import MaskCrop

COCO = {
    "images": [
        {"id": 7, "file_name": "train/a.png", "height": 20, "width": 30},
        {"id": 9, "file_name": "train/b.png", "height": 20, "width": 30},
    ],
    "categories": [{"id": 3, "name": "mug"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 3,
            "bbox": [1, 2, 10, 8],
            "visible_bbox": [1, 2, 5, 8],
        }
    ],
}


def write(tmp_path, content):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    return path


def coco_with(**annotation):
    return {**COCO, "annotations": [{**COCO["annotations"][0], **annotation}]}


def boxes_of(source, name="a.png"):
    return [prompt.box_xyxy for prompt in source.for_image(name)]


def test_text_holds_boxes_for_any_image():
    source = read_boxes(" 1,2,3,4; -5.5,6,7e1,8 ;")
    assert boxes_of(source, "anything.png") == [(1, 2, 3, 4), (-5.5, 6, 70, 8)]


def test_the_empty_text_is_no_box():
    assert boxes_of(read_boxes("")) == []
    assert prompts_to_boxes([]).shape == (0, 4)


def test_what_float32_cannot_hold_is_infinite_without_a_warning(recwarn):
    assert np.isinf(prompts_to_boxes(read_boxes("1e39,1,2,3").common)[0, 0])
    assert not recwarn.list


def test_nan_is_passed_on_for_the_check_of_boxes():
    (box,) = boxes_of(read_boxes("nan,1,2,3"))
    assert math.isnan(box[0])


coordinate = st.floats(-1e4, 1e4, width=32)


@given(st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate)))
def test_text_and_json_give_the_boxes_back(boxes):
    text = ";".join(",".join(repr(float(value)) for value in box) for box in boxes)
    listed = json.dumps([{"box": list(box)} for box in boxes])
    expected = np.array(boxes, np.float32).reshape(-1, 4)
    for form in (text, listed):
        read = prompts_to_boxes(read_boxes(form).for_image("x"))
        np.testing.assert_array_equal(read, expected)


def test_a_list_holds_class_and_score(tmp_path):
    path = write(
        tmp_path, [{"box": [1, 2, 3, 4], "class": "cup", "score": 0.5}, {"box": [0, 0, 9, 9]}]
    )
    first, second = read_boxes(path).for_image("x.png")
    assert (first.box_xyxy, first.class_id, first.score) == ((1, 2, 3, 4), "cup", 0.5)
    assert (second.class_id, second.score, second.category_id) == ("", 1.0, None)


def test_json_may_be_given_in_place_of_a_file():
    assert boxes_of(read_boxes('[{"box": [1, 2, 3, 4]}]')) == [(1, 2, 3, 4)]


def test_a_mapping_goes_by_file_name(tmp_path):
    path = write(tmp_path, {"a.png": [{"box": [1, 2, 3, 4]}], "b.png": []})
    source = read_boxes(path)
    assert boxes_of(source, "folder/a.png") == [(1, 2, 3, 4)]
    assert boxes_of(source, "b.png") == []
    with pytest.raises(ValueError, match=r"image c\.png is not in the boxes file, which names 2"):
        source.for_image("c.png")


def test_the_longest_matching_end_of_a_path_names_the_image(tmp_path):
    boxes = {"x/a.png": [{"box": [1, 1, 2, 2]}], "y/a.png": [{"box": [3, 3, 4, 4]}]}
    source = read_boxes(write(tmp_path, boxes))
    assert boxes_of(source, "/data/y/a.png") == [(3, 3, 4, 4)]
    # Two images of that name: it names neither.
    assert source.find_image("a.png") is None


def test_coco_gives_visible_boxes_unless_asked_otherwise(tmp_path):
    path = write(tmp_path, COCO)
    # x, y, width, height to edges: 1 + 5 and 2 + 8; the amodal box reaches 1 + 10.
    assert boxes_of(read_boxes(path)) == [(1, 2, 6, 10)]
    assert boxes_of(read_boxes(path, prompts="amodal")) == [(1, 2, 11, 10)]


def test_coco_keeps_its_numbers_and_names(tmp_path):
    source = read_boxes(write(tmp_path, COCO))
    (prompt,) = source.for_image("a.png")
    assert (prompt.class_id, prompt.category_id) == ("mug", 3)
    assert source.image_ids == {"train/a.png": 7, "train/b.png": 9}
    assert boxes_of(source, "b.png") == []


def test_coco_without_visible_boxes_takes_them_from_the_visible_mask(tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[4:9, 2:7] = True
    path = write(
        tmp_path,
        coco_with(visible_bbox=None, visible_mask=crop_to_rle(MaskCrop(0, 0, mask), mask.shape)),
    )
    assert boxes_of(read_boxes(path)) == [(2, 4, 7, 9)]


def test_coco_that_knows_no_visible_part_gives_its_boxes(tmp_path):
    assert boxes_of(read_boxes(write(tmp_path, coco_with(visible_bbox=None)))) == [(1, 2, 11, 10)]


@pytest.mark.parametrize(
    "hidden",
    [
        {"visible_bbox": [0, 0, 0, 0]},
        {"visible_bbox": None, "visible_mask": crop_to_rle(MaskCrop.empty(), (20, 30))},
    ],
    ids=["box", "mask"],
)
def test_wholly_hidden_instances_are_left_out_and_counted(tmp_path, caplog, hidden):
    with caplog.at_level(logging.WARNING):
        source = read_boxes(write(tmp_path, coco_with(**hidden)))
    assert boxes_of(source) == []
    assert "left out 1 instances without a visible part" in caplog.text


@pytest.mark.parametrize(
    ("bbox", "fault"),
    [([9, 2, -5, 8], "is inverted"), ([1, 2, math.nan, 8], "holds NaN")],
    ids=["negative", "nan"],
)
def test_damaged_boxes_of_coco_are_not_taken_for_hidden_objects(tmp_path, bbox, fault):
    source = read_boxes(write(tmp_path, coco_with(visible_bbox=bbox)))
    assert find_faults(source.for_image("a.png"), (20, 30))[0].startswith(fault)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("1,2,3", "box '1,2,3' must have 4 numbers, got 3", id="three numbers"),
        pytest.param("1,2,3,4;5,6,7,8,9", "must have 4 numbers, got 5", id="five numbers"),
        pytest.param("1,2,three,4", "something that is no number", id="word"),
        pytest.param("[1, 2", "the given boxes is not JSON", id="open bracket"),
    ],
)
def test_text_of_another_form_is_rejected(text, message):
    with pytest.raises(ValueError, match=message):
        read_boxes(text)


def test_a_result_whose_class_is_null_has_no_class(tmp_path):
    record = {"file_name": "a.png", "bbox": [1, 2, 10, 8], "score": 0.5, "class": None}
    (prompt,) = read_boxes(write(tmp_path, [record])).for_image("a.png")
    assert prompt.class_id == ""


def test_whole_numbers_of_results_may_have_a_fraction_of_zero(tmp_path):
    record = {"image_id": 7.0, "category_id": 3.0, "bbox": [1, 2, 10, 8], "score": 0.5}
    source = read_boxes(write(tmp_path, [record]))
    (prompt,) = source.by_number[7]
    assert prompt.category_id == 3


def test_whole_numbers_of_coco_may_have_a_fraction_of_zero(tmp_path):
    content = coco_with(image_id=7.0, category_id=3.0)
    content["images"] = [{"id": 7.0, "file_name": "a.png", "height": 20.0, "width": 30.0}]
    content["categories"] = [{"id": 3.0, "name": "mug"}]
    source = read_boxes(write(tmp_path, content))
    (prompt,) = source.for_image("a.png")
    assert (prompt.class_id, prompt.category_id) == ("mug", 3)
    assert (source.image_ids, source.sizes_hw) == ({"a.png": 7}, {"a.png": (20, 30)})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"boxes file .*none\.json does not exist"):
        read_boxes(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(3, "neither a list nor an object", id="number"),
        pytest.param([{"class": "cup"}], "entry 0 of the list has no key 'box'", id="no box"),
        pytest.param([[1, 2, 3, 4]], "entry 0 of the list must be an object", id="bare box"),
        pytest.param([{"box": [1, 2, 3]}], "must be a list of 4 numbers", id="short box"),
        pytest.param([{"box": [1, 2, 3, "4"]}], "must be a list of 4 numbers", id="text in a box"),
        pytest.param([{"box": [1, 2, 3, 10**400]}], "is too large for any image", id="huge"),
        pytest.param([{"box": [1, 2, 3, 4], "score": 2}], r"in \[0, 1\], got 2", id="score"),
        pytest.param([{"box": [1, 2, 3, 4], "class": []}], "must be a text", id="class"),
        pytest.param(
            {"a.png": [{"box": [1, 2, 3, 4], "score": 0.5, "label": "mug"}]},
            "entry 0 of 'a.png' has the unknown key 'label'; the keys are box, class, score",
            id="unknown key",
        ),
        pytest.param(
            [{"file_name": "a.png", "bbox": [1, 2, 3, 4], "score": 0.5, "category_id": 7.5}],
            "'category_id' in entry 0 of the list must be a whole number or a text, got 7.5",
            id="category",
        ),
        pytest.param({"a.png": 5}, "'a.png' must hold a list of boxes", id="no list"),
        pytest.param({"annotations": []}, "the file has no key 'images'", id="no images"),
        pytest.param({**COCO, "images": [{"id": 1}]}, "no key 'file_name'", id="no file name"),
        pytest.param({**COCO, "images": {}}, "'images' must hold a list", id="images no list"),
        pytest.param(coco_with(image_id=8), "is not the id of an image", id="unknown image"),
        pytest.param(coco_with(image_id="7"), "must be a whole number", id="text as an id"),
        pytest.param(coco_with(visible_bbox=[1]), "'visible_bbox' in entry 0", id="short bbox"),
        pytest.param(
            coco_with(visible_bbox=None, visible_mask=[[0, 0, 9, 0, 9, 9]]),
            "'visible_mask' in entry 0",
            id="polygon",
        ),
        pytest.param(
            [{"file_name": "a.png", "score": 0.5, "segmentation": []}],
            "'segmentation' in entry 0 of the list must hold polygons or run lengths",
            id="no polygon",
        ),
    ],
)
def test_files_of_another_form_are_rejected_with_the_place(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"boxes file .*boxes\.json: .*{message}"):
        read_boxes(write(tmp_path, content))


def test_a_file_that_is_no_json_is_rejected(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match=r"boxes\.json is not JSON"):
        read_boxes(path)
