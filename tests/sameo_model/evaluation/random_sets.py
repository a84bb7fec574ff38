"""Random detection sets, and COCO's own evaluation of them run step by step as its users do."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sameo_model.data.rle import encode_mask
from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.detections import Detection
from tests.sameo_model.evaluation.scenes import filled, make_instance

IMAGE_HW = (48, 64)


def random_set(
    seed: int, num_images: int = 5, num_categories: int = 3
) -> tuple[list[AmodalImage], dict[int, list[Detection]]]:
    """Return images with random boxes as truths and detections that partly match them."""
    generator = np.random.default_rng(seed)
    images, detections = [], {}
    number = 0
    for image_id in generator.permutation(100)[:num_images].tolist():
        instances = []
        for _ in range(generator.integers(0, 6)):
            number += 1
            category = int(generator.integers(1, num_categories + 1))
            mask = filled(IMAGE_HW, _random_box(generator))
            visible = mask & ~filled(IMAGE_HW, _random_box(generator))
            instances.append(make_instance(number, mask, visible, category_id=category))
        images.append(AmodalImage(image_id, Path(), IMAGE_HW, tuple(instances), "random"))
        detections[image_id] = _random_detections(generator, images[-1], num_categories)
    return images, detections


def _random_detections(
    generator: np.random.Generator, image: AmodalImage, num_categories: int
) -> list[Detection]:
    rows = []
    boxes = [tuple(int(v) for v in i.amodal_box_xywh or ()) for i in image.instances]
    boxes = [(x, y, x + w, y + h) for x, y, w, h in boxes]
    for _ in range(generator.integers(0, 12)):
        box = _random_box(generator)
        category = int(generator.integers(1, num_categories + 1))
        if boxes and generator.random() < 0.7:
            index = int(generator.integers(len(boxes)))
            moves = generator.integers(-2, 3, 4)
            near = np.array(boxes[index]) + moves
            box = tuple(near.clip(0, [64, 48, 64, 48]).tolist())
            if generator.random() < 0.8:
                category = image.instances[index].category_id
        if box[2] <= box[0] or box[3] <= box[1]:
            continue
        # Scores on a coarse grid, so that ties occur.
        score = float(generator.integers(1, 20)) / 20
        mask = encode_mask(filled(IMAGE_HW, box))
        rows.append(Detection(image.image_id, category, score, box, mask))
    return rows


def _random_box(generator: np.random.Generator) -> tuple[int, int, int, int]:
    x1, y1 = int(generator.integers(0, 50)), int(generator.integers(0, 36))
    return x1, y1, x1 + int(generator.integers(3, 15)), y1 + int(generator.integers(3, 13))


def coco_documents(
    images: list[AmodalImage], detections: dict[int, list[Detection]]
) -> tuple[dict, list[dict]]:
    """Return what the same truths and detections look like as COCO files."""
    truth = {
        "images": [{"id": i.image_id, "height": 48, "width": 64} for i in images],
        "categories": [{"id": n, "name": str(n)} for n in (1, 2, 3)],
        "annotations": [
            {
                "id": instance.annotation_id,
                "image_id": image.image_id,
                "category_id": instance.category_id,
                "segmentation": instance.amodal_rle,
                "area": int(instance.amodal_mask().sum()),
                "bbox": list(instance.amodal_box_xywh or ()),
                "iscrowd": 0,
            }
            for image in images
            for instance in image.instances
        ],
    }
    results = [
        {
            "image_id": detection.image_id,
            "category_id": detection.category_id,
            "score": detection.score,
            "segmentation": detection.mask_rle,
        }
        for rows in detections.values()
        for detection in rows
    ]
    return truth, results


def run_pycocotools(truth: dict, results: list[dict], *, class_specific: bool) -> np.ndarray:
    """Return COCO's twelve numbers from its own evaluation, `summarize` included."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(results), "segm")
        evaluator.params.useCats = int(class_specific)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats
