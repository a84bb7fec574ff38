import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from sameo_model.data.rle import encode_mask
from sameo_model.data.types import AmodalImage, DatasetFormatError
from sameo_model.evaluation.front_ends.reading import ReadOptions, read_detections
from tests.sameo_model.evaluation.scenes import filled, make_instance

FILES = Path(__file__).parent / "files"
CATEGORIES = {3: "mug", 5: "bottle", 9: "box"}
BOXES = [(8.0, 8.0, 40.0, 24.0), (44.0, 44.0, 60.0, 60.0)]
HW = (64, 64)

MASK_FILES = [
    "detectron2_instances_predictions_masks.pth",
    "detectron2_coco_instances_results_masks.json",
    "mmdetection3_masks.pkl",
    "mmdetection2_masks.pkl",
]
BOX_FILES = [
    "detectron2_instances_predictions_boxes.pth",
    "detectron2_coco_instances_results_boxes.json",
    "mmdetection3_boxes.pkl",
    "mmdetection2_boxes.pkl",
    "ultralytics_predictions.json",
]


@pytest.fixture
def images():
    mask = filled(HW, (8, 8, 40, 40))
    return [AmodalImage(7, Path("images/000007.png"), HW, (make_instance(1, mask, mask),), "set")]


def _read(path, images, **options):
    return read_detections(Path(path), images, CATEGORIES, ReadOptions(**options))


def _write(path, content):
    path.write_text(json.dumps(content))
    return path


def _record(**more):
    return {"image_id": 7, "category_id": 3, "bbox": [8, 8, 32, 16], "score": 0.5, **more}


def test_every_fixture_file_is_read_by_a_test():
    assert {path.name for path in FILES.iterdir()} == {*MASK_FILES, *BOX_FILES}


@pytest.mark.parametrize("name", MASK_FILES + BOX_FILES)
def test_every_frameworks_file_gives_the_same_detections(name, images):
    found = _read(FILES / name, images, class_specific=True)

    assert [d.box_xyxy for d in found.detections] == BOXES
    assert [d.score for d in found.detections] == [0.875, 0.75]
    # Files that number classes by position get the annotations' numbers in rising order.
    assert [d.category_id for d in found.detections] == [3, 5]
    assert [d.image_id for d in found.detections] == [7, 7]
    assert found.has_masks == (name in MASK_FILES)
    assert not found.notes
    if found.has_masks:
        decoded = [coco_mask.decode(d.mask_rle) for d in found.detections]
        assert np.array_equal(decoded[0], filled(HW, (8, 8, 40, 24)))
        assert np.array_equal(decoded[1], filled(HW, (44, 44, 60, 60)))


def test_class_names_give_the_order_of_the_detectors_classes(images):
    found = _read(
        FILES / "mmdetection3_boxes.pkl", images, class_specific=True, class_names=["box", "mug"]
    )

    assert [d.category_id for d in found.detections] == [9, 3]


def test_unknown_class_names_are_refused(images):
    with pytest.raises(DatasetFormatError, match="classes cup are not in the annotations"):
        _read(FILES / "mmdetection3_boxes.pkl", images, class_names=["cup"])


def test_masks_alone_give_their_tight_boxes(images, tmp_path):
    polygon = [[10, 12, 20, 12, 20, 30, 10, 30]]
    rle = encode_mask(filled(HW, (4, 6, 9, 13)))
    rows = [
        {"image_id": 7, "category_id": 3, "score": 0.5, "segmentation": polygon},
        {
            "image_id": 7,
            "category_id": 3,
            "score": 0.4,
            "segmentation": {"size": [64, 64], "counts": rle["counts"].decode()},
        },
    ]
    found = _read(_write(tmp_path / "r.json", rows), images)

    assert found.detections[0].box_xyxy == (10, 12, 20, 30)
    assert found.detections[1].box_xyxy == (4, 6, 9, 13)


def test_output_of_predict_prompts_with_the_detectors_box_and_score(images, tmp_path):
    row = _record(score=0.4, prompt_box=[8, 8, 40, 24], detection_score=0.8, predicted_iou=0.5)
    path = _write(tmp_path / "predictions.json", [{**row, "bbox": [8, 8, 32, 32]}])

    prompting = _read(path, images, for_prompting=True).detections[0]
    scoring = _read(path, images, for_prompting=False).detections[0]

    assert (prompting.box_xyxy, prompting.score) == ((8, 8, 40, 24), 0.8)
    assert (scoring.box_xyxy, scoring.score) == ((8, 8, 40, 40), 0.4)


def test_a_mapping_from_file_names_to_boxes_is_read(images, tmp_path):
    boxes = {"some/folder/000007.png": [{"box": [8, 8, 40, 24], "class": "mug", "score": 0.9}]}
    found = _read(_write(tmp_path / "b.json", boxes), images, class_specific=True)

    assert found.detections[0].box_xyxy == (8, 8, 40, 24)
    assert found.detections[0].category_id == 3


@pytest.mark.parametrize("name", ["000007", "000007.png", "val/000007.png", "val\\000007.png", "7"])
def test_images_are_found_by_name_and_by_number(images, tmp_path, name):
    found = _read(_write(tmp_path / "r.json", [_record(image_id=name)]), images)

    assert found.detections[0].image_id == 7


def test_whole_numbers_with_a_decimal_point_are_numbers(images, tmp_path):
    path = _write(tmp_path / "r.json", [_record(image_id=7.0, category_id=3.0)])
    (found,) = _read(path, images, class_specific=True).detections

    assert (found.image_id, found.category_id) == (7, 3)
    assert isinstance(found.category_id, int)


def test_results_of_another_data_set_are_refused(images, tmp_path):
    path = _write(tmp_path / "r.json", [_record(image_id=n) for n in (100, 101)])

    with pytest.raises(
        DatasetFormatError, match=r"no image in common \(detections: 100, 101, ...; annotations: 7"
    ):
        _read(path, images)


def test_detections_of_other_images_are_left_out_and_counted(images, tmp_path):
    path = _write(tmp_path / "r.json", [_record(), _record(image_id=100)])
    found = _read(path, images)

    assert len(found.detections) == 1
    assert found.notes == ["1 detections of images without annotations were left out"]


def test_unknown_categories_are_refused_only_where_classes_count(images, tmp_path):
    path = _write(tmp_path / "r.json", [_record(category_id=77)])

    assert _read(path, images).detections[0].category_id == 77
    with pytest.raises(DatasetFormatError, match=r"class 77 of .* is not in the annotations"):
        _read(path, images, class_specific=True)


def test_records_that_are_there_twice_are_noted(images, tmp_path):
    path = _write(tmp_path / "r.json", [_record(), _record(score=0.4), _record()])
    (note,) = _read(path, images).notes
    assert note.startswith("1 of 3 detections are there already")


def test_masks_without_a_usable_part_are_noted(images, tmp_path):
    rows = [_record(segmentation=[[1, 2, 3, 4]]), _record(score=0.4, segmentation=[])]
    found = _read(_write(tmp_path / "r.json", rows), images)
    assert [coco_mask.area(one.mask_rle) for one in found.detections] == [0, 0]
    (note,) = found.notes
    assert note.startswith("2 masks have no usable part, as a polygon of fewer than 3 points")


def test_classes_that_no_annotation_uses_are_refused_or_noted(images, tmp_path):
    path = _write(tmp_path / "r.json", [_record(category_id=5), _record(category_id=9)])
    options = {"class_specific": True, "used_classes": {3}}

    with pytest.raises(
        DatasetFormatError, match=r"must be among those that annotations use \(3\), got 5, 9; map"
    ):
        _read(path, images, **options)
    path = _write(tmp_path / "r.json", [_record(category_id=5), _record()])
    assert _read(path, images, **options).notes == [
        "1 detections do not count: no annotation uses their classes (5)"
    ]


@pytest.mark.parametrize("score", ["NaN", "Infinity", '"high"', "null"])
def test_scores_that_are_no_numbers_are_refused(images, tmp_path, score):
    path = tmp_path / "r.json"
    path.write_text(json.dumps([_record(score=0)]).replace('"score": 0', f'"score": {score}'))

    with pytest.raises(DatasetFormatError, match=r"scores must be finite numbers|has no score"):
        _read(path, images)


def _many(boxes):
    return [_record(bbox=list(box)) for box in boxes]


def test_corners_given_as_width_and_height_are_noticed(images, tmp_path):
    # x1, y1, x2, y2 read as x, y, w, h: the far side is at x1 + x2 = 72 of 64 pixels and so on.
    corners = [(30, 30, 42, 50), (20, 25, 60, 60), (2, 3, 10, 12)]
    path = _write(tmp_path / "r.json", _many(corners))

    with pytest.raises(
        DatasetFormatError, match="leave their images when read as x, y, width, height, but fit as"
    ):
        _read(path, images)
    found = _read(path, images, box_format="xyxy")
    assert found.detections[0].box_xyxy == (30, 30, 42, 50)


def test_widths_given_as_corners_are_noticed(images, tmp_path):
    # x, y, w, h read as corners: x2 = w lies left of x1.
    path = _write(tmp_path / "r.json", _many([(30, 30, 12, 20), (20, 25, 10, 10)]))

    with pytest.raises(DatasetFormatError, match="give --box-format xywh"):
        _read(path, images, box_format="xyxy")


def test_boxes_of_a_scaled_image_are_noticed(images, tmp_path):
    path = _write(tmp_path / "r.json", _many([(300, 300, 120, 200), (200, 250, 100, 100)]))

    with pytest.raises(DatasetFormatError, match="give boxes in pixels of the original images"):
        _read(path, images)


def test_boxes_as_shares_of_the_image_are_noticed(images, tmp_path):
    path = _write(tmp_path / "r.json", _many([(0.1, 0.2, 0.3, 0.3), (0.5, 0.5, 0.2, 0.2)]))

    with pytest.raises(DatasetFormatError, match="must be in pixels, but all of them lie in"):
        _read(path, images)


def test_boxes_that_are_no_four_numbers_are_refused(images, tmp_path):
    path = _write(tmp_path / "r.json", _many([(1, 2, 3)]))

    with pytest.raises(DatasetFormatError, match="must be four numbers each, got"):
        _read(path, images)


def test_masks_of_another_size_are_refused(images, tmp_path):
    rle = encode_mask(filled((32, 32), (4, 4, 9, 9)))
    rle = {"size": [32, 32], "counts": rle["counts"].decode()}
    path = _write(tmp_path / "r.json", [_record(segmentation=rle)])

    with pytest.raises(DatasetFormatError, match=r"must have its size \(64, 64\) .*got \[32, 32\]"):
        _read(path, images)


def test_damaged_run_lengths_are_refused(images, tmp_path):
    path = _write(tmp_path / "r.json", [_record(segmentation={"size": [64, 64], "counts": "05"})])

    with pytest.raises(DatasetFormatError, match="run lengths that do not fill the image"):
        _read(path, images)


def test_truncated_json_is_refused(images, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps([_record()])[:-20])

    with pytest.raises(DatasetFormatError, match="must be a whole JSON file"):
        _read(path, images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"image_id": 7, "score": 1}], "has no bbox or segmentation"),
        ([{"score": 1, "bbox": [1, 2, 3, 4]}], "has no image_id"),
        ([3], "got a int as entry 0"),
        ("text", "got str"),
    ],
)
def test_json_of_another_form_is_refused(images, tmp_path, content, message):
    with pytest.raises(DatasetFormatError, match=message):
        _read(_write(tmp_path / "r.json", content), images)


def test_results_by_position_must_cover_all_images(images):
    more = [*images, replace(images[0], image_id=8, path=Path("000008.png"))]

    with pytest.raises(DatasetFormatError, match="results for 1 images by position"):
        _read(FILES / "mmdetection2_boxes.pkl", more)


def test_an_unknown_suffix_asks_for_the_format(images, tmp_path):
    path = tmp_path / "results.dat"
    path.write_bytes((FILES / "mmdetection3_boxes.pkl").read_bytes())

    with pytest.raises(ValueError, match="give --format"):
        _read(path, images)
    assert len(_read(path, images, format="mmdetection").detections) == 2


class _Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def _malicious_tensor(path):
    """Return pickle bytes whose tensor storage holds a malicious pickle of its own."""

    class Storage:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (pickle.dumps(_Malicious(path)),)

    return pickle.dumps([{"img_id": 7, "pred_instances": {"bboxes": Storage()}}])


def _malicious_files(folder, marker):
    plain = pickle.dumps([_Malicious(marker)])
    (folder / "plain.pkl").write_bytes(plain)
    (folder / "nested.pkl").write_bytes(_malicious_tensor(marker))
    (folder / "legacy.pth").write_bytes(plain)
    torch.save([{"image_id": 7, "instances": [_Malicious(marker)]}], folder / "zip.pth")
    return ["plain.pkl", "nested.pkl", "legacy.pth", "zip.pth"]


def test_malicious_pickles_are_refused_and_run_nothing(images, tmp_path):
    marker = tmp_path / "marker"
    names = _malicious_files(tmp_path, marker)
    # The files do what they claim to do where somebody trusts them.
    pickle.loads((tmp_path / "plain.pkl").read_bytes())
    assert marker.exists()
    marker.unlink()

    for name in names:
        with pytest.raises(DatasetFormatError, match=r"could run code|must be a"):
            _read(tmp_path / name, images)
        assert not marker.exists(), name


@pytest.mark.parametrize("name", ["mmdetection3_masks.pkl", "mmdetection2_masks.pkl"])
def test_truncated_pickles_are_refused(images, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((FILES / name).read_bytes()[:-30])

    with pytest.raises(DatasetFormatError, match="must be a complete pickle"):
        _read(path, images)


def test_a_truncated_torch_file_is_refused(images, tmp_path):
    path = tmp_path / "r.pth"
    path.write_bytes((FILES / "detectron2_instances_predictions_masks.pth").read_bytes()[:-100])

    with pytest.raises(DatasetFormatError, match=r"must be a whole file|could run code"):
        _read(path, images)
