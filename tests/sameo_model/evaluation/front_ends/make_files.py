"""Write the fixtures in `files/`: the same two detections as each framework writes them.

The calls are those of the frameworks: Detectron2's `COCOEvaluator` (`torch.save` of
`instances_to_coco_json`), MMDetection 3's `DumpDetResults` (pickle protocol 2, as `mmengine.dump`),
MMDetection 2's `tools/test.py --out` (`mmcv.dump`, numpy before its second version), and
Ultralytics' `val(save_json=True)`. Run it as a module from the project's root.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco_mask

FOLDER = Path(__file__).parent / "files"
IMAGE_ID, IMAGE_HW = 7, (64, 64)
BOXES_XYXY = [(8.0, 8.0, 40.0, 24.0), (44.0, 44.0, 60.0, 60.0)]
SCORES = [0.875, 0.75]
POSITIONS = [0, 1]
CATEGORY_IDS = [3, 5]


def _rle(box: tuple[float, ...], *, text: bool) -> dict:
    x1, y1, x2, y2 = (int(side) for side in box)
    mask = np.zeros(IMAGE_HW, np.uint8, order="F")
    mask[y1:y2, x1:x2] = 1
    rle = coco_mask.encode(mask)
    return {**rle, "counts": rle["counts"].decode("ascii")} if text else rle


def _coco_records(classes: list[int], *, masks: bool) -> list[dict]:
    records = []
    for category, box, score in zip(classes, BOXES_XYXY, SCORES, strict=True):
        x1, y1, x2, y2 = box
        record = {
            "image_id": IMAGE_ID,
            "category_id": category,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        if masks:
            record["segmentation"] = _rle(box, text=True)
        records.append(record)
    return records


def _write_detectron2() -> None:
    for masks in (True, False):
        ending = "masks" if masks else "boxes"
        instances = _coco_records(POSITIONS, masks=masks)
        torch.save(
            [{"image_id": IMAGE_ID, "instances": instances}],
            FOLDER / f"detectron2_instances_predictions_{ending}.pth",
        )
        (FOLDER / f"detectron2_coco_instances_results_{ending}.json").write_text(
            json.dumps(_coco_records(CATEGORY_IDS, masks=masks))
        )


def _write_mmdetection3() -> None:
    for masks in (True, False):
        found = {
            "bboxes": torch.tensor(BOXES_XYXY),
            "scores": torch.tensor(SCORES),
            "labels": torch.tensor(POSITIONS),
        }
        if masks:
            found["masks"] = [_rle(box, text=False) for box in BOXES_XYXY]
        sample = {
            "img_id": IMAGE_ID,
            "img_path": "data/coco/val2017/000007.png",
            "ori_shape": IMAGE_HW,
            "img_shape": (800, 800),
            "scale_factor": (12.5, 12.5),
            "pred_instances": found,
        }
        _dump([sample], f"mmdetection3_{'masks' if masks else 'boxes'}.pkl")


def _write_mmdetection2() -> None:
    boxes = [
        np.array([[*box, score]], np.float32) for box, score in zip(BOXES_XYXY, SCORES, strict=True)
    ]
    # One more class without detections, as every real file has.
    boxes.append(np.zeros((0, 5), np.float32))
    masks = [*([_rle(box, text=False)] for box in BOXES_XYXY), []]
    _dump([boxes], "mmdetection2_boxes.pkl")
    _dump([(boxes, masks)], "mmdetection2_masks.pkl")


def _dump(content: list, name: str) -> None:
    data = pickle.dumps(content, protocol=2)
    # What numpy's first version calls its core package.
    (FOLDER / name).write_bytes(data.replace(b"numpy._core.", b"numpy.core."))


def _write_ultralytics() -> None:
    records = _coco_records(CATEGORY_IDS, masks=False)
    for record in records:
        record["image_id"] = 7
        record["file_name"] = "000007.png"
    (FOLDER / "ultralytics_predictions.json").write_text(json.dumps(records))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    _write_detectron2()
    _write_mmdetection3()
    _write_mmdetection2()
    _write_ultralytics()
