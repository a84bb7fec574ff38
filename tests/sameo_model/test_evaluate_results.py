"""Results that are no plain list of good masks: crowds, nothing, boxes alone, percentages."""

import json
import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from sameo_model import evaluate
from sameo_model.data.rle import encode_mask
from sameo_model.data.types import CrowdRegion
from sameo_model.evaluation.report.gallery import GAP, PANEL_HEIGHT, PANEL_WIDTH
from tests.bundles import make_tiny_bundle
from tests.sameo_model.evaluation.random_sets import run_pycocotools
from tests.sameo_model.evaluation.scenes import filled, two_squares, write_set

HW = (64, 64)
CROWD = (0, 48, 40, 64)


@pytest.fixture
def data(tmp_path):
    """The two squares, and a crowd region below the large one."""
    crowd = CrowdRegion(3, "thing", encode_mask(filled(HW, CROWD)), 1)
    write_set(tmp_path, [replace(two_squares(tmp_path), crowds=(crowd,))])
    return tmp_path


def record(box_xyxy, score, **more):
    x1, y1, x2, y2 = box_xyxy
    rle = encode_mask(filled(HW, box_xyxy))
    return {
        "image_id": 7,
        "category_id": 1,
        "score": score,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": {"size": list(HW), "counts": rle["counts"].decode()},
        **more,
    }


LARGE, SMALL = (8, 8, 40, 40), (44, 44, 60, 60)
IN_CROWD = [record((4 * n, 50, 4 * n + 8, 60), 0.95) for n in range(5)]


def score(folder, detections, *more, model="none"):
    path = folder / "r.json"
    if isinstance(detections, bytes):
        path = folder / "r.pkl"
        path.write_bytes(detections)
    elif not isinstance(detections, str):
        path.write_text(json.dumps(detections))
    else:
        path = folder / detections
    output = folder / "out.json"
    arguments = [
        "detections",
        *("--annotations", folder / "annotations.json", "--images", folder / "images"),
        *("--detections", path, "--model", model, "--replicates", "0", "--boxes", "amodal"),
        *(() if model == "none" else ("--backend", "onnxruntime")),
        *("--json", output, *more),
    ]
    assert evaluate.main([str(argument) for argument in arguments]) == 0
    return json.loads(output.read_text())


def row_of(result, name):
    return next(row for row in result["rows"] if row["name"] == name)


def test_detections_in_a_crowd_neither_help_nor_hurt(data):
    right = [record(LARGE, 0.9), record(SMALL, 0.8)]
    assert score(data, right)["ap"] == pytest.approx(1)
    result = score(data, [*IN_CROWD, *right])
    assert result["ap"] == pytest.approx(1)
    assert result["num_truths"] == 2
    # The UOAIS measures do not count them either.
    assert row_of(result, "front_end")["uoais"]["amodal"]["overlap_precision"] == pytest.approx(1)
    # A wrong detection elsewhere still hurts.
    assert score(data, [record((0, 0, 6, 6), 0.99), *right])["ap"] < 0.9
    # Half of what is seen of a crowd is enough for true visible masks in its boxes.
    assert row_of(result, "true_visible")["ap"] == row_of(score(data, right), "true_visible")["ap"]


@pytest.mark.parametrize("class_specific", [False, True])
def test_crowds_count_as_in_pycocotools(data, class_specific):
    truth = json.loads((data / "annotations.json").read_text())
    assert [annotation["iscrowd"] for annotation in truth["annotations"]] == [0, 0, 1]
    found = [
        *IN_CROWD,
        record(LARGE, 0.9),
        record((44, 44, 58, 60), 0.7),
        record((1, 1, 7, 7), 0.8),
    ]
    masks = [{k: v for k, v in one.items() if k != "bbox"} for one in found]
    expected = run_pycocotools(truth, masks, class_specific=class_specific)
    more = ["--class-specific"] if class_specific else []
    result = score(data, found, *more)
    assert (result["ap"], result["ap50"]) == pytest.approx((expected[0], expected[1]))


def test_a_crowd_of_another_class_excuses_nothing(data):
    others = [{**one, "category_id": 2} for one in IN_CROWD]
    path = data / "annotations.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 2, "name": "other"})
    content["annotations"].append({**content["annotations"][1], "id": 9, "category_id": 2})
    path.write_text(json.dumps(content))
    right = [record(LARGE, 0.9), record(SMALL, 0.8), {**record(SMALL, 0.8), "category_id": 2}]
    assert score(data, [*others, *right])["ap"] == pytest.approx(1)
    assert score(data, [*others, *right], "--class-specific")["ap"] < 0.9


def test_classes_without_objects_keep_their_place_in_the_order_of_classes(data):
    path = data / "annotations.json"
    content = json.loads(path.read_text())
    numbers = {1: "thing", 4: "seen by nobody", 9: "other"}
    content["categories"] = [{"id": n, "name": name} for n, name in numbers.items()]
    content["annotations"][1]["category_id"] = 9
    path.write_text(json.dumps(content))
    right = [record(LARGE, 0.9), record(SMALL, 0.8, category_id=9)]
    wrong = record((0, 0, 6, 6), 0.99, category_id=4)
    # A class without true objects has no AP, as COCO has it.
    assert score(data, [*right, wrong], "--class-specific")["ap"] == pytest.approx(1)
    masks = [[one["segmentation"]] for one in (right[0], wrong, right[1])]
    boxes = [np.array([[*box, 0.9]]) for box in (LARGE, (0, 0, 6, 6), SMALL)]
    by_position = pickle.dumps([(boxes, masks)])
    assert score(data, by_position, "--class-specific")["ap"] == pytest.approx(1)


EMPTY = {
    "list": [],
    "mapping": {"000007.png": []},
    "no image": {},
    "annotations": {"annotations": []},
    "pickle": pickle.dumps([]),
}


@pytest.mark.parametrize("way", EMPTY)
def test_no_detections_are_a_result(data, way):
    result = score(data, EMPTY[way])
    assert (result["ap"], result["ar"], result["num_detections"]) == (0, 0, 0)


def test_an_empty_file_of_detectron2_is_a_result(data):
    torch.save([{"image_id": 7, "instances": []}], data / "instances_predictions.pth")
    assert score(data, "instances_predictions.pth")["ap"] == 0


def test_no_detections_are_a_result_with_a_model_too(data, tmp_path):
    result = score(data, [], model=make_tiny_bundle(tmp_path / "tiny"))
    assert result["ap"] == 0
    assert result["headline"] == "sameo"


def test_a_record_without_a_mask_leaves_the_others_in_their_row(data, tmp_path):
    bare = {**record(LARGE, 0.95), "segmentation": None}
    found = [record(LARGE, 0.9), record(SMALL, 0.8), bare]
    result = score(data, found)
    assert result["ap"] == pytest.approx(1)
    assert (
        "1 of 3 detections have no mask: the front end's own row leaves them out"
        in (result["settings"]["notes"])
    )
    result = score(data, found, model=make_tiny_bundle(tmp_path / "tiny"))
    assert row_of(result, "front_end")["ap"] == pytest.approx(1)
    # The model answers all three boxes, so that one object is found twice.
    assert row_of(result, "sameo_no_rescore")["ap"] < 1


def test_percentages_are_fractions(data, tmp_path):
    model = make_tiny_bundle(tmp_path / "tiny")
    found = [record(LARGE, 90), record(SMALL, 70), record((0, 0, 6, 6), 20)]
    result = score(data, found, model=model)
    assert (
        "scores up to 90 count as percentages and are divided by 100"
        in (result["settings"]["notes"])
    )
    fractions = [{**one, "score": one["score"] / 100} for one in found]
    expected = score(data, fractions, model=model)
    assert result["rows"] == expected["rows"]
    assert result["num_detections"] == 3
    assert score(data, found, "--score-threshold", "0.5")["num_detections"] == 2


def test_scores_of_no_scale_are_told(data):
    result = score(data, [record(LARGE, 3.5), record(SMALL, -1.0)])
    assert result["ap"] == pytest.approx(1)
    assert any("from -1 to 3.5 are no probabilities" in one for one in result["settings"]["notes"])


def test_boxes_that_fit_no_object_are_noted(data):
    # Half of the coordinates: the first box has IoU 144 / 1136 with the large object.
    halved = [record(tuple(side // 2 for side in box), 0.9) for box in (LARGE, SMALL)]
    note = "0 of 2 objects have a box with an IoU of 0.5 or more; are the boxes those of images"
    assert note in score(data, halved)["settings"]["notes"][-1]
    notes = score(data, [*halved, record(SMALL, 0.9)])["settings"]["notes"]
    assert not any("objects have a box" in one for one in notes)


@pytest.mark.parametrize("category_id", ["1", "thing"])
def test_classes_of_annotations_may_be_text(data, category_id):
    path = data / "annotations.json"
    document = json.loads(path.read_text())
    for one in document["annotations"]:
        one["category_id"] = category_id
    path.write_text(json.dumps(document))
    result = score(data, [record(LARGE, 0.9), record(SMALL, 0.8)], "--class-specific")
    assert result["ap"] == pytest.approx(1)
    assert result["settings"]["notes"] == [
        "annotations: 1 x crowd region: neither an object nor background (skipped; first: 3)"
    ]


def test_chosen_objects_make_a_figure(data, tmp_path):
    model = make_tiny_bundle(tmp_path / "tiny")
    report = tmp_path / "report"
    found = [record(LARGE, 0.9), record(SMALL, 0.8)]
    score(data, found, "--report", report, "--objects", "7:1,2", model=model)
    figure = cv2.imread(str(report / "figure.png"))
    # Photograph, front end, visible decoder, SAMEO, truth; two objects below the titles.
    assert figure.shape == (24 + 2 * (PANEL_HEIGHT + GAP), 5 * (PANEL_WIDTH + GAP), 3)
    assert "Chosen objects" in (report / "index.html").read_text()
    columns = ("--columns", "photograph,sameo")
    score(data, found, "--report", report, "--objects", "1", *columns, model=model)
    small = cv2.imread(str(report / "figure.png"))
    assert small.shape == (24 + PANEL_HEIGHT + GAP, 2 * (PANEL_WIDTH + GAP), 3)
    # The photograph is plain grey; SAMEO's mask is coloured.
    photograph, sameo = (
        small[24:, n * (PANEL_WIDTH + GAP) :][:PANEL_HEIGHT, 40:180] for n in range(2)
    )
    assert np.ptp(photograph, axis=2).max() == 0
    assert np.ptp(sameo, axis=2).max() > 50


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--objects", "1"], "--objects needs --report"),
        (["--report", "REPORT", "--columns", "truth"], "--columns needs --objects"),
        (["--report", "REPORT", "--objects", "77"], "there is no annotation 77"),
        (["--report", "REPORT", "--objects", "a"], "must be ANNOTATION or IMAGE:ANNOTATION"),
        (["--report", "REPORT", "--objects", "1", "--columns", "sameo"], "--columns must be some"),
    ],
)
def test_wrong_choices_of_a_figure_are_named(data, tmp_path, capsys, more, message):
    more = [str(tmp_path / "report") if one == "REPORT" else one for one in more]
    with pytest.raises(AssertionError):
        score(data, [record(LARGE, 0.9)], *more)
    assert message in capsys.readouterr().err
