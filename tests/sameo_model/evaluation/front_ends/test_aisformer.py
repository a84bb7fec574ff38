"""AISFormer's files as its evaluator writes them, and its buckets by visible share."""

import contextlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sameo_model.evaluation.average_precision import MatchTable
from sameo_model.evaluation.buckets import BUCKETS
from sameo_model.evaluation.detections import group_by_image
from sameo_model.evaluation.front_ends.reading import ReadOptions, read_detections
from sameo_model.evaluation.matching import MatchSettings, match_images
from tests.sameo_model.evaluation.random_sets import IMAGE_HW, random_set

RANGES = [[0, 1.0], [0, 0.85], [0, 0.75], [0, 0.6]]
CATEGORIES = {1: "1", 2: "2", 3: "3"}


def _encode(mask):
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {**rle, "counts": rle["counts"].decode("utf-8")}


def _share(amodal, visible):
    """Return the visible share as AISFormer computes it: float32, NaN for an empty mask."""
    both = torch.sum(torch.from_numpy(amodal & visible)).float()
    return (both / torch.sum(torch.from_numpy(amodal)).float()).item()


def _records(images, detections):
    """Return amodal and visible records by image; a fixed share of each mask is visible."""
    generator = np.random.default_rng(5)
    by_image = []
    for image in images:
        amodal_records, visible_records = [], []
        for number, item in enumerate(detections[image.image_id]):
            amodal = coco_mask.decode(item.mask_rle).astype(bool)
            if number == 0:
                amodal[:] = False
            visible = amodal & (generator.random(IMAGE_HW) < generator.choice([0.5, 0.7, 0.8, 1.0]))
            x1, y1, x2, y2 = item.box_xyxy
            record = {
                "image_id": image.image_id,
                "category_id": item.category_id - 1,
                "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
                "score": item.score,
                "area": _share(amodal, visible),
            }
            amodal_records.append({**record, "segmentation": _encode(amodal)})
            visible_records.append({**record, "segmentation": _encode(visible)})
        by_image.append((image.image_id, amodal_records, visible_records))
    return by_image


def write_files(folder: Path, images, detections):
    """Write what AISFormer leaves: two files of torch.save, and two of JSON with true numbers."""
    by_image = _records(images, detections)
    for position, kind in enumerate(("amodal", "visible"), start=1):
        entries = [{"image_id": one[0], "instances": one[position]} for one in by_image]
        torch.save(entries, folder / f"instances_{kind}_predictions.pth")
        flat = [
            {**record, "category_id": record["category_id"] + 1}
            for entry in entries
            for record in entry["instances"]
        ]
        (folder / f"coco_instances_{kind}_results.json").write_text(json.dumps(flat))
    return flat


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A random set whose `occlude_rate` differs from the masks, with AISFormer's files of it."""
    folder = tmp_path_factory.mktemp("inference")
    images, detections = random_set(11, num_images=12)
    generator = np.random.default_rng(3)
    images = [
        replace(
            image,
            path=Path(f"images/{image.image_id}.png"),
            instances=tuple(
                replace(one, stated_occlusion_rate=float(generator.choice([0, 0.15, 0.3, 0.5])))
                for one in image.instances
            ),
        )
        for image in images
    ]
    write_files(folder, images, detections)
    return folder, images


FILES = ["instances_amodal_predictions.pth", "coco_instances_amodal_results.json"]


@pytest.mark.parametrize("name", FILES)
def test_both_files_are_read_as_one(data, name):
    folder, images = data
    found = read_detections(folder / name, images, CATEGORIES, ReadOptions(class_specific=True))
    visible_name = name.replace("amodal", "visible")
    assert found.notes == [f"visible masks are those of {visible_name}"]
    records = json.loads((folder / "coco_instances_visible_results.json").read_text())
    for item, record in zip(found.detections, records, strict=True):
        assert item.visible_rle["counts"] == record["segmentation"]["counts"].encode()
        assert item.category_id == record["category_id"]
        assert item.visible_share == record["area"] or math.isnan(record["area"])


def test_the_file_of_visible_masks_says_where_the_amodal_ones_are(data):
    folder, images = data
    found = read_detections(folder / FILES[0].replace("amodal", "visible"), images, CATEGORIES)
    assert found.notes == [
        "instances_visible_predictions.pth holds visible masks; the amodal ones are in "
        "instances_amodal_predictions.pth"
    ]


def test_a_visible_file_of_another_run_is_not_used(data, tmp_path):
    folder, images = data
    for kind in ("amodal", "visible"):
        path = tmp_path / f"coco_instances_{kind}_results.json"
        records = json.loads((folder / path.name).read_text())
        path.write_text(json.dumps(records if kind == "amodal" else records[1:]))
    found = read_detections(tmp_path / FILES[1], images, CATEGORIES)
    assert "holds other detections than" in found.notes[0]
    assert all(item.visible_rle is None for item in found.detections)


def test_areas_in_pixels_are_no_shares(data, tmp_path):
    folder, images = data
    records = json.loads((folder / FILES[1]).read_text())
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**record, "area": 40.0} for record in records]))
    found = read_detections(path, images, CATEGORIES)
    assert all(item.visible_share is None for item in found.detections)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("class_specific", [True, False])
def test_buckets_equal_aisformers_own(data, name, class_specific):
    folder, images = data
    options = ReadOptions(class_specific=class_specific)
    found = read_detections(folder / name, images, CATEGORIES, options)
    settings = MatchSettings(class_specific, buckets=BUCKETS["aisformer"])
    matches, _ = match_images(images, group_by_image(found.detections), settings)
    ids = sorted(image.image_id for image in images)
    records = json.loads((folder / FILES[1]).read_text())
    expected = _evaluate(images, records, class_specific=class_specific)
    ours = [MatchTable(matches, ids, bucket).scores()["ap"] for bucket in range(len(RANGES))]
    assert ours == pytest.approx(expected)
    assert len(set(expected)) == len(RANGES)


def _evaluate(images, records, *, class_specific):
    """Return AP by range with the areas that AISFormer's evaluation takes."""
    truth, found = COCO(), COCO()
    entries = [{"id": image.image_id, "height": 48, "width": 64} for image in images]
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    truth.dataset = {
        "images": entries,
        "categories": categories,
        "annotations": [
            {
                "id": one.annotation_id,
                "image_id": image.image_id,
                "category_id": one.category_id,
                "segmentation": one.amodal_rle,
                "area": 1 - one.stated_occlusion_rate,
                "iscrowd": 0,
            }
            for image in images
            for one in image.instances
        ],
    }
    results = [{**one, "id": n, "iscrowd": 0} for n, one in enumerate(records, start=1)]
    found.dataset = {"images": entries, "categories": categories, "annotations": results}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found.createIndex()
        evaluator = COCOeval(truth, found, "segm")
        evaluator.params.useCats = int(class_specific)
        evaluator.params.areaRng = RANGES
        evaluator.params.areaRngLbl = ["all", "small", "medium", "large"]
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, :, :, -1]
    return [
        float(precision[:, :, :, n][precision[:, :, :, n] > -1].mean()) for n in range(len(RANGES))
    ]
