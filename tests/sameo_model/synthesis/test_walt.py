"""`synthesize walt` on a fabricated camera: whole objects, layers, filter."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.data.defects import DefectLog
from sameo_model.data.readers.walt import WaltDetection, frame_stem
from sameo_model.synthesis.settings_file import load_settings
from sameo_model.synthesis.walt import WaltSettings, visible_parts
from sameo_model.synthesis.walt_objects import (
    WaltObjectRule,
    background_of,
    choose_whole,
    read_camera,
)
from sameo_model.synthesize import main
from tests.sameo_model.data import fabricate as fab

CONFIG = Path(__file__).parents[3] / "config" / "synthesis" / "walt.yaml"
HW = (60, 100)
ROAD = 90
RULE = WaltObjectRule(min_area=20)


def detection(number, box_xywh, confidence=0.95):
    x, y, width, height = box_xywh
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    box_xyxy = np.array([x, y, x + width, y + height], dtype=float)
    return WaltDetection(number, "f", box_xyxy, np.array(corners, dtype=float), confidence, 1)


def numbers(detections, **rule):
    settings = WaltObjectRule(**{"min_area": 20, **rule})
    return [d.number for d in choose_whole(detections, 1.0, HW, settings)]


def test_objects_whose_boxes_intersect_are_not_whole():
    apart, first, second = (10, 10, 10, 10), (40, 20, 20, 10), (59, 25, 20, 10)
    detections = [detection(n, box) for n, box in enumerate([apart, first, second])]
    assert numbers(detections) == [0]
    # One column of five rows is shared: 5 of 200 pixels, 2.5 %.
    assert numbers(detections, max_box_overlap=0.024) == [0]
    assert numbers(detections, max_box_overlap=0.025) == [0, 1, 2]


def test_unsure_small_and_cut_objects_are_not_whole_but_may_hide_others():
    sure, unsure = detection(1, (10, 10, 10, 10)), detection(2, (15, 10, 10, 10), confidence=0.5)
    small, cut = detection(3, (40, 40, 4, 4)), detection(4, (80, 30, 20, 10))
    assert numbers([sure, small, cut]) == [1]
    assert numbers([sure, unsure]) == []
    assert numbers([sure, small, cut], min_area=16, border_px=0) == [1, 3, 4]


def test_layers_hide_what_lies_below_them():
    lowest, middle, top = np.zeros((3, 1, 10), dtype=bool)
    lowest[0, 0:4] = middle[0, 2:8] = top[0, 3:6] = True
    top[0, 0] = True
    parts = visible_parts([lowest, middle, top])
    # The lowest keeps column 1: 0 lies under the top, 2 and 3 under the middle one.
    assert [(place, np.flatnonzero(visible[0]).tolist()) for place, _, visible in parts] == [
        (0, [1]),
        (1, [2, 6, 7]),
        (2, [0, 3, 4, 5]),
    ]


def test_a_wholly_hidden_layer_is_left_out():
    low, high = np.zeros((2, 1, 10), dtype=bool)
    low[0, 3:5] = high[0, 2:8] = True
    assert [place for place, *_ in visible_parts([low, high])] == [1]
    assert visible_parts([]) == []


@pytest.mark.parametrize(
    ("time", "stem"),
    [
        ("2021-05-01 12:30:05.250000+00", "2021-05-01T12-30-05.250000"),
        ("2021-05-01T12:30:05.250000Z", "2021-05-01T12-30-05.250000"),
        ("2021-05-01T12-30-05.250000", "2021-05-01T12-30-05.250000"),
    ],
)
def test_times_become_names_of_frames(time, stem):
    assert frame_stem(time) == stem


@pytest.fixture(scope="module")
def walt(tmp_path_factory):
    """Write a camera whose frames each show one bright car on a grey road, at two hours."""
    root = tmp_path_factory.mktemp("walt")
    detections = []
    for number in range(20):
        hour = 8 + number % 2
        time = f"2021-05-01T{hour:02d}-{number:02d}-00.000000"
        x, y = 5 + 4 * number % 70, 10 + 3 * (number % 8)
        image = np.full((*HW, 3), ROAD, dtype=np.uint8)
        image[y : y + 15, x : x + 20] = 200
        path = root / "cam1" / "week1" / f"{time}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
        polygon = [x, y, x + 20, y, x + 20, y + 15, x, y + 15]
        detections.append(
            {
                "bbox": f"{{{x},{y},20,15,0.95}}",
                "segmentation": "{" + ",".join(map(str, polygon)) + "}",
                "label_id": "1",
                "time": time,
                "camera_id": "cam1",
            }
        )
    fab.save_json(root / "cam1" / "cam1.json", detections)
    return root


def arguments(walt, output, *more):
    settings = output.parent / "settings.yaml"
    output.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("objects: {min_area: 20}\n")
    return [
        *("walt", "--walt", str(walt), "--output", str(output), "--num-images", "12"),
        *("--objects", "5", "--workers", "1", "--config", str(settings), *more),
    ]


@pytest.fixture(scope="module")
def finished(walt, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "set"
    assert main(arguments(walt, output, "--max-occlusion-rate", "0.5")) == 0
    return output


def content_of(output):
    paths = [*output.glob("images/*"), output / "annotations.json"]
    return {path.name: path.read_bytes() for path in paths}


def test_composites_show_objects_where_they_were_seen(finished):
    dataset = open_dataset("walt", finished)
    assert len(dataset) == 12
    assert dataset.defects == {}
    for image in dataset:
        grey = image.load_rgb()[..., 0].astype(int)
        assert 1 <= len(image.instances) <= 5
        for instance in image.instances:
            assert (grey[instance.visible_mask()] > 150).all()
            assert instance.amodal_box_xywh[2:] == (20, 15)


def test_objects_hidden_beyond_the_threshold_are_not_annotated(finished):
    rates = [i.occlusion_rate for image in open_dataset("walt", finished) for i in image.instances]
    assert max(rates) <= 0.5
    report = json.loads((finished / "report.json").read_text())
    assert report["num_removed_by_max_occlusion_rate"] == 12 * 5 - len(rates) > 0
    assert report["paper"]["num_images"]["paper"] == 40_000


def test_nearer_objects_cover_farther_ones(finished):
    for image in open_dataset("walt", finished):
        bottoms = [i.amodal_box_xywh[1] + i.amodal_box_xywh[3] for i in image.instances]
        lowest = image.instances[int(np.argmax(bottoms))]
        if bottoms.count(max(bottoms)) == 1:
            assert lowest.occlusion_rate == 0


def test_workers_and_interruptions_do_not_change_the_result(walt, finished, tmp_path):
    output = tmp_path / "set"
    command = arguments(walt, output, "--max-occlusion-rate", "0.5")
    assert main([*command, "--workers", "2"]) == 0
    assert content_of(output) == content_of(finished)
    # What a killed run leaves behind: one block without its record and no annotations.
    (output / "records" / "cam1-000001.json").unlink()
    (output / "annotations.json").unlink()
    (output / "images" / "cam1_000009.jpg").write_bytes(b"half a pict")
    assert main(command) == 0
    assert content_of(output) == content_of(finished)


def test_other_settings_in_a_begun_folder_are_refused(walt, finished, capsys):
    assert main(arguments(walt, finished, "--layer-order", "random")) == 1
    assert "must be continued with the settings" in capsys.readouterr().err


def test_the_background_is_the_median_of_the_hour(walt):
    camera = read_camera("cam1", walt / "cam1", RULE, DefectLog())
    assert sorted(camera.objects) == [8, 9]
    background = background_of(camera, 8)
    # Each place is empty in most frames.
    assert abs(background.astype(int) - ROAD).max() <= 3


def test_the_cameras_own_median_image_is_preferred(walt, tmp_path):
    camera = read_camera("cam1", walt / "cam1", RULE, DefectLog())
    half = np.full((HW[0] // 2, HW[1] // 2, 3), 33, dtype=np.uint8)
    path = walt / "cam1" / "T08-median_image.jpg"
    assert cv2.imwrite(str(path), half)
    try:
        background = background_of(camera, 8)
    finally:
        path.unlink()
    assert background.shape == (*HW, 3)
    assert abs(background.astype(int) - 33).max() <= 2


def test_the_configuration_file_holds_the_defaults():
    defaults = WaltSettings(seed=0, images_per_camera=1)
    assert load_settings(CONFIG, defaults) == defaults


def test_an_unknown_layer_order_is_refused():
    with pytest.raises(ValueError, match="bottom or random, got 'top'"):
        WaltSettings(seed=0, images_per_camera=1, layer_order="top")
