"""Command line: amodal masks for boxes in images, as overlays and as COCO results."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from sameo_model.predict_inputs import add_points, open_model, read_source
from sameo_model.runtime import Prediction, Predictor
from sameo_model.runtime.backends.base import BACKENDS
from sameo_model.runtime.box_source import (
    BoxPrompt,
    BoxSource,
    detections_to_prompts,
    find_faults,
    prompts_to_boxes,
    prompts_to_clicks,
)
from sameo_model.runtime.boxes import reach_far_outside
from sameo_model.runtime.bundle import DEFAULT_MODEL
from sameo_model.runtime.files import (
    ResultsFile,
    check_no_file_in_the_way,
    check_output_folder,
    write_whole,
)
from sameo_model.runtime.image_boxes import BoxedImage, match_boxes
from sameo_model.runtime.images import read_image
from sameo_model.runtime.overlay import draw_overlay, format_label
from sameo_model.runtime.records import prediction_record
from sameo_model.runtime.types import Uint8Array
from sameo_model.runtime.wording import counted

_DESCRIPTION = """\
Predict the whole shape of objects, hidden parts included, from an image and a box around the
visible part of each object. Without boxes, everything that the model's own detector finds is drawn.
Writes into the output folder:

  <image>_overlay.png   visible part solid, hidden part hatched, box, number, hidden share
  predictions.json      COCO results: 'segmentation' is the amodal mask and 'visible_mask' the
                        visible one (both RLE), 'score' is detection score times predicted IoU;
                        'image_id' and 'category_id' only where the boxes have them

Over a folder each image's results are written when it is done. An image or a box that cannot be
used is named and left out, and the exit status is then 1.
"""

_EXAMPLES = """\
examples:
  everything that is found
    python -m sameo_model.predict --image photo.png --output out

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
    "default: the model's own detector finds everything; "
    '"x1,y1,x2,y2;..." (write --boxes="-5,..." where the first number is negative) or a file: '
    "JSON (see the examples), COCO results, or what MMDetection (.pkl) and Detectron2 (.pth) write"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        outcome = predict_files(options)
    except (OSError, ValueError, RuntimeError) as error:
        _complain(error)
        return 1
    written = f"{counted(outcome.num_masks, 'mask')} of {counted(outcome.num_images, 'image')}"
    left_out = f"; images or boxes left out: {len(outcome.failures)}" if outcome.failures else ""
    print(f"{written} written to {options.output}{left_out}")
    return 1 if outcome.failures else 0


def _complain(error: object) -> None:
    tqdm.write(f"predict: {' '.join(str(error).split())}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.predict",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--image",
        required=True,
        type=Path,
        metavar="IMG",
        help="an image, or a folder of images; one with an EXIF orientation is turned "
        "upright, unless a COCO file of boxes states the size of the stored pixels",
    )
    add("--boxes", help=_BOXES_HELP)
    add(
        "--min-score",
        type=float,
        metavar="S",
        help="without --boxes: lowest detector score, from 0 to 1 (default: the model's)",
    )
    add(
        "--annotations",
        type=Path,
        metavar="A.json",
        help="COCO file that gives names to the image and class numbers of the boxes",
    )
    add(
        "--points",
        metavar="P",
        help='clicks on the visible parts of the objects in one image: "x,y x,y;x,y;...", one '
        'group per box, up to 4 points each; in JSON "points": [[x, y], ...] after "box". '
        "For models that were trained and exported with them",
    )
    add("--output", required=True, type=Path, metavar="DIR", help="folder for the results")
    add(
        "--model",
        metavar="M",
        help="bundled model, bundle folder, or a checkpoint (.safetensors, .ckpt) where torch is "
        f"installed (default: {DEFAULT_MODEL})",
    )
    backends = ", ".join(("auto", *BACKENDS))
    add("--backend", metavar="B", default="auto", help=f"{backends} (default: %(default)s)")
    add("--precision", choices=("f32", "bf16", "f16"), help="default: the backend's own")
    add("--threads", type=int, metavar="N", help="CPU threads (default: the backend's choice)")
    add(
        "--framing",
        choices=("image", "window"),
        help="what the model sees: the whole image, or a window around each box (default: what "
        "the model was made for)",
    )
    add(
        "--prompts",
        choices=("visible", "amodal"),
        help="which boxes of an amodal COCO file to use (default: visible)",
    )
    add(
        "--box-format",
        choices=("xywh", "xyxy"),
        help="what `bbox` of COCO results is: x, y, width, height or x1, y1, x2, y2 "
        "(default: xywh)",
    )
    return parser


@dataclass
class Outcome:
    """What a run has done."""

    num_images: int = 0  # images whose results are written
    num_masks: int = 0  # their masks
    # a sentence for each image or box that was left out
    failures: list[str] = field(default_factory=list)


def predict_files(options: argparse.Namespace) -> Outcome:
    """Predict for every image and write the results as they come.

    Raises:
        OSError: If a file cannot be found or written.
        ValueError: If the boxes, the model, or a single image are invalid.
        RuntimeError: If the backend cannot run here.
    """
    check_no_file_in_the_way(options.output, "--output")
    if options.image.is_dir():
        check_output_folder(options.output, options.image)
    _check_options(options)
    source = BoxSource() if options.boxes is None else read_source(options)
    matched = match_boxes(options.image, source)
    for note in matched.notes:
        print(f"note: {note}", file=sys.stderr)
    outcome = Outcome()
    is_alone = not options.image.is_dir()
    are_xywh = source.form == "COCO results" and options.box_format != "xyxy"
    has_noted = False
    if options.points is not None:
        matched = add_points(matched, options.points, is_alone=is_alone)
    with (
        _open_model(options) as predictor,
        ResultsFile(options.output / "predictions.json") as results,
    ):
        for boxed in tqdm(matched.images, unit="image", disable=is_alone):
            try:
                image_rgb = read_image(boxed.path, boxed.annotated_hw)
                chosen = _usable_prompts(boxed, image_rgb, predictor, outcome, is_alone=is_alone)
                has_noted = has_noted or _note_far_box(boxed, image_rgb, are_xywh)
            except (OSError, ValueError) as error:
                if is_alone:
                    raise
                _leave_out(outcome, str(error))
                continue
            if options.boxes is None:
                found = predictor.segment_all(image_rgb, min_score=options.min_score)
                chosen, prediction = detections_to_prompts(found.detections), found.prediction
            else:
                prediction = _decode(predictor, image_rgb, chosen)
            records = _write_overlay(options, image_rgb, boxed, chosen, prediction)
            results.add(records)
            outcome.num_images += 1
            outcome.num_masks += len(records)
    return outcome


def _check_options(options: argparse.Namespace) -> None:
    if options.min_score is not None and not 0 <= options.min_score <= 1:
        raise ValueError(f"--min-score must lie from 0 to 1, got {options.min_score:g}")
    if options.boxes is not None and options.min_score is not None:
        raise ValueError("--min-score is for the model's own detector; leave it out with --boxes")
    for name in ("annotations", "points", "prompts", "box_format"):
        if options.boxes is None and getattr(options, name) is not None:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} belongs to boxes of your own; give --boxes too")


def _open_model(options: argparse.Namespace) -> Predictor:
    predictor = open_model(options)
    if options.boxes is None and not predictor.has_detector:
        predictor.close()
        raise ValueError(
            f"--boxes must give the boxes, because model {predictor.name} contains no detector; "
            "give boxes, or another --model"
        )
    return predictor


def _leave_out(outcome: Outcome, sentence: str) -> None:
    outcome.failures.append(sentence)
    _complain(f"left out: {sentence}")


def _usable_prompts(
    boxed: BoxedImage,
    image_rgb: Uint8Array,
    predictor: Predictor,
    outcome: Outcome,
    *,
    is_alone: bool,
) -> list[BoxPrompt]:
    """Return the boxes that the model can be given; name the others.

    Raises:
        ValueError: If a box of the only image, or a click beside it, cannot be used.
    """
    image_hw = image_rgb.shape[0], image_rgb.shape[1]
    faults = find_faults(boxed.prompts, image_hw, predictor.framing)
    for i, fault in faults.items():
        sentence = (
            f"box {i} of image {boxed.path.name} ({image_hw[1]} x {image_hw[0]} pixels) "
            f"{fault}; correct or remove it"
        )
        if is_alone:
            raise ValueError(sentence)
        _leave_out(outcome, sentence)
    return [prompt for i, prompt in enumerate(boxed.prompts) if i not in faults]


def _note_far_box(boxed: BoxedImage, image_rgb: Uint8Array, are_xywh: bool) -> bool:
    """Note the first box that reaches far outside its image; return whether there is one."""
    height, width = image_rgb.shape[:2]
    far = reach_far_outside(prompts_to_boxes(boxed.prompts), (height, width))
    if far.any():
        i = int(far.argmax())
        cause = ", or x1, y1, x2, y2 (--box-format xyxy)" if are_xywh else ""
        tqdm.write(
            f"note: box {i} of image {boxed.path.name} ({width} x {height} pixels) reaches far "
            f"outside the image: {list(boxed.prompts[i].box_xyxy)}; are the boxes of another image "
            f"size{cause}?",
            file=sys.stderr,
        )
    return bool(far.any())


def _decode(
    predictor: Predictor, image_rgb: Uint8Array, prompts: Sequence[BoxPrompt]
) -> Prediction:
    clicks = prompts_to_clicks(prompts)
    return predictor.decode(
        predictor.encode(image_rgb),
        prompts_to_boxes(prompts),
        points_xy=None if clicks is None else clicks.points_xy,
        point_labels=None if clicks is None else clicks.labels,
    )


def _write_overlay(
    options: argparse.Namespace,
    image_rgb: Uint8Array,
    boxed: BoxedImage,
    prompts: Sequence[BoxPrompt],
    prediction: Prediction,
) -> list[dict[str, Any]]:
    """Write the overlay of one image and return its records."""
    options.output.mkdir(parents=True, exist_ok=True)
    overlay = _draw(image_rgb, prediction, prompts)
    write_whole(options.output / f"{boxed.path.stem}_overlay.png", overlay)
    image: dict[str, Any] = {"file_name": boxed.name}
    if boxed.image_id is not None:
        image["image_id"] = boxed.image_id
    image_hw = image_rgb.shape[0], image_rgb.shape[1]
    return [
        {**image, **prediction_record(prediction, i, prompt, image_hw)}
        for i, prompt in enumerate(prompts)
    ]


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
