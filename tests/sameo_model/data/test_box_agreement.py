"""Sets whose masks lie elsewhere than their own boxes are broken, and the cause is guessed."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sameo_model import datasets
from sameo_model.data.collection import open_dataset
from sameo_model.data.types import DatasetFormatError

HEIGHT, WIDTH = IMAGE_HW = 60, 100
# x, y, width, height; no two of them lie alike in a turned or mirrored image.
RECTANGLES = [(5, 8, 20, 10), (40, 3, 12, 30), (70, 35, 25, 6), (12, 30, 9, 22), (55, 20, 30, 12)]


def mask_of(rectangle) -> np.ndarray:
    x, y, width, height = rectangle
    mask = np.zeros(IMAGE_HW, np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def rle(mask: np.ndarray, size: list[int] | None = None) -> dict:
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {"size": size or encoded["size"], "counts": encoded["counts"].decode()}


def polygon(rectangle, scale_xy=(1, 1)) -> list[list[float]]:
    x, y, width, height = rectangle
    points = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return [[number for point in points for number in np.multiply(point, scale_xy).tolist()]]


def write_set(folder, segmentation=lambda r: rle(mask_of(r)), box=list):
    records = [
        {
            **{"id": number, "image_id": 1, "category_id": 1, "bbox": box(rectangle)},
            **{"segmentation": segmentation(rectangle), "visible_mask": segmentation(rectangle)},
        }
        for number, rectangle in enumerate(RECTANGLES, start=1)
    ]
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((*IMAGE_HW, 3), np.uint8))
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": records,
        "categories": [{"id": 1, "name": "box"}],
    }
    (folder / "annotations.json").write_text(json.dumps(document))


MASKS = {
    "size` is [width, height]; it": lambda r: rle(mask_of(r), [WIDTH, HEIGHT]),
    "size` is [width, height] and": lambda r: rle(mask_of(r).T.copy()),
    "run lengths go along the rows; they": lambda r: {
        "size": list(IMAGE_HW), "counts": rle(mask_of(r).T.copy())["counts"]
    },
    "polygons are in shares": lambda r: polygon(r, (1 / WIDTH, 1 / HEIGHT)),
    "polygons are in percent": lambda r: polygon(r, (100 / WIDTH, 100 / HEIGHT)),
    "polygons are written y, x": lambda r: [[n for x, y in zip(
        polygon(r)[0][::2], polygon(r)[0][1::2], strict=True) for n in (y, x)]],
    "turned or mirrored": lambda r: rle(mask_of(r)[::-1, ::-1].copy()),
    "mirrored images": lambda r: rle(mask_of(r)[:, ::-1].copy()),
    "images of different size": lambda r: polygon(r, (0.5, 0.5)),
}  # fmt: skip
BOXES = {
    "boxes are corners": lambda r: [r[0], r[1], r[0] + r[2], r[1] + r[3]],
    "boxes are in shares": lambda r: [r[0] / WIDTH, r[1] / HEIGHT, r[2] / WIDTH, r[3] / HEIGHT],
    "shares of the image's sides": lambda r: [
        *((r[0] + r[2] / 2) / WIDTH, (r[1] + r[3] / 2) / HEIGHT),
        *(r[2] / WIDTH, r[3] / HEIGHT),
    ],
    "boxes begin with their centre": lambda r: [r[0] + r[2] / 2, r[1] + r[3] / 2, r[2], r[3]],
    "boxes are written y, x": lambda r: [r[1], r[0], r[3], r[2]],
    "turned or mirrored": lambda r: [r[1], WIDTH - r[0] - r[2], r[3], r[2]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        *(({"segmentation": written}, cause) for cause, written in MASKS.items()),
        *(({"box": written}, cause) for cause, written in BOXES.items()),
    ],
    ids=[*(f"mask: {cause}" for cause in MASKS), *(f"box: {cause}" for cause in BOXES)],
)
def test_a_set_of_damaged_truth_is_broken_and_the_cause_named(tmp_path, capsys, arguments, cause):
    write_set(tmp_path, **arguments)
    report_path = tmp_path / "check.json"
    assert datasets.main(["check", "amodal_coco", str(tmp_path), "--json", str(report_path)]) == 1
    report = json.loads(report_path.read_text())
    assert report["verdict"] == "broken"
    assert cause in report["fault"]
    assert "of 5 masks do not lie where the file's own boxes are: probably" in report["fault"]
    assert report["fault"] in capsys.readouterr().out
    for root in (tmp_path, tmp_path / "annotations.json"):
        with pytest.raises(DatasetFormatError, match=r"amodal_coco is broken: . of 5 masks"):
            open_dataset("amodal_coco", root)


def test_a_broken_set_can_be_looked_at(tmp_path):
    write_set(tmp_path, box=BOXES["boxes are corners"])
    shown = ["show", "amodal_coco", str(tmp_path), "--output", str(tmp_path / "sheet.png")]
    assert datasets.main(shown) == 0


def test_boxes_of_no_known_kind_are_called_damaged(tmp_path):
    write_set(tmp_path, box=lambda r: [1, 1, 7, 3])
    with pytest.raises(DatasetFormatError, match=r"5 of 5 masks .*: masks or boxes are damaged"):
        open_dataset("amodal_coco", tmp_path)


def test_single_boxes_elsewhere_are_counted_and_repaired(tmp_path):
    write_set(tmp_path, box=lambda r: [0, 0, 3, 3] if r in RECTANGLES[:2] else list(r))
    dataset = open_dataset("amodal_coco", tmp_path)
    assert dataset.defects["box_unlike_mask"]["count"] == 2
    assert dataset.box_agreement["num_elsewhere"] == 2
    assert dataset.box_agreement["fault"] is None


def test_boxes_that_are_a_little_off_break_nothing(tmp_path):
    # 3 pixels wider on every side: beyond rounding, yet the same objects.
    write_set(tmp_path, box=lambda r: [r[0] - 3, r[1] - 3, r[2] + 6, r[3] + 6])
    assert open_dataset("amodal_coco", tmp_path).defects["box_unlike_mask"]["count"] == 5


def test_a_set_that_agrees_is_sound(tmp_path):
    write_set(tmp_path)
    assert datasets.main(["check", "amodal_coco", str(tmp_path)]) == 0
    agreement = open_dataset("amodal_coco", tmp_path).box_agreement
    assert (agreement["num_compared"], agreement["num_unlike"]) == (5, 0)


def write_halved(folder, num_right=0, halved=lambda r: (r[0], r[1], r[2], r[3] // 2)):
    """Write whole masks that are half of the visible ones, but for the first ones."""
    write_set(folder)
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    for number, record in enumerate(document["annotations"]):
        key = "visible_mask" if number < num_right else "segmentation"
        record[key] = rle(mask_of(halved(RECTANGLES[number])))
        del record["bbox"]
    path.write_text(json.dumps(document))


def test_a_set_whose_two_masks_are_exchanged_is_broken(tmp_path, capsys):
    write_halved(tmp_path)
    assert datasets.main(["check", "amodal_coco", str(tmp_path)]) == 1
    fault = "5 of 5 visible masks that differ from the whole one enclose it: the two masks seem"
    assert fault in capsys.readouterr().out
    with pytest.raises(DatasetFormatError, match=fault):
        open_dataset("amodal_coco", tmp_path)


def test_some_whole_masks_inside_visible_ones_are_repaired(tmp_path):
    write_halved(tmp_path, num_right=1)
    dataset = open_dataset("amodal_coco", tmp_path)
    assert dataset.defects["visible_outside_amodal"]["count"] == 4


def test_a_few_wrong_records_do_not_break_a_set(tmp_path):
    write_halved(tmp_path)
    path = tmp_path / "annotations.json"
    document = json.loads(path.read_text())
    # 2 of 42 records are wrong, which is less than 5 percent; the others are not covered.
    whole = dict(document["annotations"][0], segmentation=rle(mask_of(RECTANGLES[0])))
    sound = [dict(whole, id=number) for number in range(10, 50)]
    path.write_text(json.dumps(document | {"annotations": [*document["annotations"][:2], *sound]}))
    assert open_dataset("amodal_coco", tmp_path).box_agreement["num_exchanged"] == 2


def test_visible_masks_a_little_too_large_are_not_exchanged(tmp_path):
    # One row of 10, 30, 22 and 12 is at most a tenth; only the row of 6 makes a part.
    write_halved(tmp_path, halved=lambda r: (r[0], r[1], r[2], r[3] - 1))
    assert open_dataset("amodal_coco", tmp_path).box_agreement["num_exchanged"] == 1
