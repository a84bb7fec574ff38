"""Command line: amodal masks for boxes in images, as pictures and as COCO results."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from sameo_model.runtime import Prediction, Predictor, load_predictor
from sameo_model.runtime.backends.base import BACKENDS
from sameo_model.runtime.boxes import BoxPrompt, BoxSource, prompts_to_boxes, read_boxes
from sameo_model.runtime.bundle import DEFAULT_MODEL
from sameo_model.runtime.files import write_whole
from sameo_model.runtime.geometry import BoxFault, check_boxes
from sameo_model.runtime.masks import crop_to_rle
from sameo_model.runtime.overlay import draw_overlay, format_label
from sameo_model.runtime.preprocess import read_image
from sameo_model.runtime.types import ImageHW, Uint8Array

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}

_DESCRIPTION = """\
Predict the whole shape of objects, hidden parts included, from an image and a box around the
visible part of each object. Writes into the output folder:

  <image>_overlay.png   visible part solid, hidden part hatched, box, number, hidden share
  predictions.json      COCO results: 'segmentation' is the amodal mask and 'visible_mask' the
                        visible one (both RLE), 'score' is detection score times predicted IoU
"""

_EXAMPLES = """\
examples:
  two boxes, in pixels of the image: left, top, right, bottom
    python -m sameo_model.predict --image photo.png --boxes "40,60,210,300;180,90,320,280" \\
        --output out

  boxes of a detector, with classes and scores
    echo '[{"box": [40, 60, 210, 300], "class": "mug", "score": 0.9}]' > boxes.json
    python -m sameo_model.predict --image photo.png --boxes boxes.json --output out

  a folder, with {"photo.png": [{"box": ...}, ...], ...} or an amodal COCO file
    python -m sameo_model.predict --image images/ --boxes annotations.json --output out

  your own model, in bfloat16 on a processor that has it
    python -m sameo_model.predict --image photo.png --boxes boxes.json --output out \\
        --model bundles/mine --backend openvino --precision bf16
"""

_BOXES_HELP = (
    '"x1,y1,x2,y2;..." (write --boxes="-5,..." where the first number is negative) or a JSON '
    "file (see the examples)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        num_images, num_masks = predict_files(options)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"predict: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"{num_masks} masks of {num_images} images are in {options.output}")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.predict",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--image", required=True, type=Path, metavar="IMG", help="an image, or a folder of images")
    add("--boxes", required=True, help=_BOXES_HELP)
    add("--output", required=True, type=Path, metavar="DIR", help="folder for the results")
    add("--model", metavar="M", help=f"bundled model or bundle folder (default: {DEFAULT_MODEL})")
    backends = ", ".join(("auto", *BACKENDS))
    add("--backend", metavar="B", default="auto", help=f"{backends} (default: %(default)s)")
    add("--precision", choices=("f32", "bf16", "f16"), help="default: the backend's own")
    add("--threads", type=int, metavar="N", help="CPU threads (default: the backend's choice)")
    add(
        "--prompts",
        choices=("visible", "amodal"),
        default="visible",
        help="which boxes of an amodal COCO file to use (default: %(default)s)",
    )
    return parser


def predict_files(options: argparse.Namespace) -> tuple[int, int]:
    """Predict for every image, write the results, return the numbers of images and masks.

    Raises:
        OSError: If a file cannot be found, read or written.
        ValueError: If an image, the boxes or the model are not as they must be.
        RuntimeError: If the backend cannot run here.
    """
    if options.output.exists() and not options.output.is_dir():
        raise ValueError(f"--output must be a folder, but {options.output} is a file; name another")
    source = read_boxes(options.boxes, options.prompts)
    paths = _find_images(options.image, source)
    category_ids = _number_categories(source)
    results: list[dict[str, Any]] = []
    with load_predictor(
        options.model, options.backend, precision=options.precision, threads=options.threads
    ) as predictor:
        for number, path in enumerate(tqdm(paths, unit="image", disable=len(paths) == 1), start=1):
            prompts = source.for_image(path)
            image_rgb = read_image(path)
            prediction = predict_image(predictor, image_rgb, prompts, path.name)
            overlay = _draw(image_rgb, prediction, prompts)
            options.output.mkdir(parents=True, exist_ok=True)
            write_whole(options.output / f"{path.stem}_overlay.png", overlay)
            image = {
                "image_id": source.image_ids.get(source.find_image(path) or "", number),
                "file_name": path.name,
            }
            image_hw = image_rgb.shape[0], image_rgb.shape[1]
            for i, prompt in enumerate(prompts):
                category_id = prompt.category_id
                category = category_ids[prompt.class_id] if category_id is None else category_id
                result = _to_result(prediction, i, prompt, image_hw)
                results.append({**image, "category_id": category, **result})
    write_whole(options.output / "predictions.json", json.dumps(results) + "\n")
    return len(paths), len(results)


def predict_image(
    predictor: Predictor, image_rgb: Uint8Array, prompts: Sequence[BoxPrompt], name: str
) -> Prediction:
    """Predict the masks of one image; every box must be usable.

    Args:
        predictor: The model.
        image_rgb: uint8 (H, W, 3), RGB.
        prompts: N boxes in pixels of the image.
        name: Name of the image for the error's text.

    Raises:
        ValueError: If a box cannot be used; the message names it.
    """
    boxes_xyxy = prompts_to_boxes(prompts)
    image_hw = image_rgb.shape[0], image_rgb.shape[1]
    for i, fault in enumerate(check_boxes(boxes_xyxy, image_hw).faults):
        if fault != BoxFault.NONE:
            raise ValueError(
                f"box {i} of image {name} ({image_hw[1]} x {image_hw[0]} pixels) "
                f"{BoxFault(fault).reason}: {list(prompts[i].box_xyxy)}; mend or remove it"
            )
    return predictor.decode(predictor.encode(image_rgb), boxes_xyxy)


def _find_images(path: Path, source: BoxSource) -> list[Path]:
    if not path.is_dir():
        return [path]
    images = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise FileNotFoundError(f"folder {path} holds no image; give one with PNG or JPEG files")
    if source.by_image is None and len(images) > 1:
        raise ValueError(
            f"boxes for the {len(images)} images of {path} must name their images; give a "
            "mapping from file name to boxes, or an amodal COCO file"
        )
    known = [image for image in images if source.by_image is None or source.find_image(image)]
    if not known:
        raise ValueError(f"the boxes name none of the images in {path}; check the file names")
    stems = [image.stem for image in known]
    if len(set(stems)) < len(stems):
        raise ValueError(
            f"images in {path} must differ in more than their suffix, as <name>_overlay.png is "
            "written for each; rename them"
        )
    return known


def _number_categories(source: BoxSource) -> dict[str, int]:
    """Number the classes of boxes without COCO categories from 1, in alphabetical order."""
    lists = [source.common, *(source.by_image or {}).values()]
    names = sorted({prompt.class_id for prompts in lists for prompt in prompts})
    return {name: number for number, name in enumerate(names, start=1)}


def _to_result(
    prediction: Prediction, i: int, prompt: BoxPrompt, image_hw: ImageHW
) -> dict[str, Any]:
    amodal = prediction.amodal_masks[i]
    height, width = amodal.mask.shape
    predicted_iou = float(prediction.predicted_iou[i])
    ratio = float(prediction.occlusion_ratio[i])
    result: dict[str, Any] = {
        "bbox": [amodal.x, amodal.y, width, height],
        "score": prompt.score * predicted_iou,
        "segmentation": crop_to_rle(amodal, image_hw),
    }
    if prediction.visible_masks is not None:
        result["visible_mask"] = crop_to_rle(prediction.visible_masks[i], image_hw)
    return {
        **result,
        "prompt_box": list(prompt.box_xyxy),
        "class": prompt.class_id,
        "detection_score": prompt.score,
        "predicted_iou": predicted_iou,
        "occlusion_ratio": None if np.isnan(ratio) else ratio,
    }


def _draw(image_rgb: Uint8Array, prediction: Prediction, prompts: Sequence[BoxPrompt]) -> bytes:
    """Return the overlay as the content of a PNG file."""
    labels = [
        format_label(i, prompt.class_id, float(prediction.occlusion_ratio[i]))
        for i, prompt in enumerate(prompts)
    ]
    overlay = draw_overlay(
        image_rgb,
        prediction.amodal_masks,
        prediction.visible_masks,
        prompts_to_boxes(prompts),
        labels,
    )
    _, data = cv2.imencode(".png", cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
    return data.tobytes()


if __name__ == "__main__":
    sys.exit(main())
