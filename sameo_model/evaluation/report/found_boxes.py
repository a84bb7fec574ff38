"""What a detector finds on images chosen at random: right, false and missed boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sameo_model.data.types import AmodalImage
from sameo_model.evaluation.box_metrics import BoxVerdicts, judge_boxes
from sameo_model.evaluation.built_in import box_lines
from sameo_model.evaluation.detections import Detection, boxes_of, scores_of
from sameo_model.evaluation.report.gallery import rescale
from sameo_model.evaluation.report.page import html_figure, html_table, render_page
from sameo_model.evaluation.result_files import RESULT_FILE
from sameo_model.runtime.files import write_json, write_whole
from sameo_model.runtime.types import FloatArray, Uint8Array
from sameo_model.runtime.wording import counted

NUM_IMAGES = 10
SIDE = 640  # pixels of a figure's longer side

# Okabe and Ito's colours, told apart by people with any colour vision.
RIGHT, FALSE, MISSED, IGNORED = (86, 180, 233), (213, 94, 0), (240, 228, 66), (160, 160, 160)


def found_boxes_section(
    images: Sequence[AmodalImage],
    detections: Mapping[int, Sequence[Detection]],
    min_score: float,
    seed: int,
) -> tuple[str, str]:
    """Draw the detections on images that the seed chooses.

    Args:
        detections: By image id; boxes are visible ones.
        min_score: From which score a detection is drawn and judged.

    Returns:
        Heading and HTML for `render_page`.

    Raises:
        FileNotFoundError: If a chosen image is missing.
    """
    figures = []
    for image in choose_images(images, seed):
        shown = [d for d in detections.get(image.image_id, ()) if d.score >= min_score]
        boxes = boxes_of(shown)
        verdicts = judge_boxes(image, boxes, scores_of(shown))
        caption = (
            f"image {image.image_id} ({image.path.name}): {verdicts.is_right.sum()} right, "
            f"{verdicts.is_false.sum()} false, "
            f"{(~verdicts.is_found).sum()} missed"
        )
        figures.append(html_figure(draw_found_boxes(image.load_rgb(), boxes, verdicts), caption))
    legend = (
        f"<p>Boxes that score {min_score:g} or more. Blue: right (IoU 0.5 with an object of its "
        "own); orange: false; yellow: an object that was missed; grey: on a region that does not "
        "count.</p>"
    )
    heading = f"{counted(len(figures), 'image')} chosen at random (seed {seed})"
    return heading, f'{legend}<div class="gallery">{"".join(figures)}</div>'


def write_boxes_report(folder: Path, result: Mapping[str, Any], section: tuple[str, str]) -> None:
    """Write `index.html` and `result.json` where only visible boxes are known."""
    settings = result["settings"]
    subtitle = (
        f"{settings['annotations']}: {counted(result['num_images'], 'image')}, "
        f"{counted(result['num_truths'], 'object')}"
    )
    table = html_table(box_lines(result["boxes"]))
    sections = [("Average precision and recall of boxes, percent", table), section]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULT_FILE, dict(result), indent=2)
    title = f"Boxes of the detector of {settings['model'] or 'sameo_lite'}"
    write_whole(folder / "index.html", render_page(title, subtitle, sections))


def choose_images(images: Sequence[AmodalImage], seed: int) -> list[AmodalImage]:
    """Choose up to `NUM_IMAGES` images at random, in their order."""
    count = min(NUM_IMAGES, len(images))
    chosen = np.random.default_rng(seed).choice(len(images), count, replace=False)
    return [images[position] for position in sorted(chosen.tolist())]


def draw_found_boxes(
    image_rgb: Uint8Array, boxes_xyxy: FloatArray, verdicts: BoxVerdicts
) -> Uint8Array:
    """Draw found and missed boxes over an image, scaled to `SIDE`.

    Args:
        image_rgb: uint8 (H, W, 3), RGB.
        boxes_xyxy: float (N, 4), the found boxes, pixels.

    Returns:
        uint8 (h, w, 3), RGB.
    """
    scale = SIDE / max(image_rgb.shape[:2])
    canvas = rescale(image_rgb, scale)
    for boxes, colour in (
        (boxes_xyxy[verdicts.is_ignored], IGNORED),
        (verdicts.true_xyxy[~verdicts.is_found], MISSED),
        (boxes_xyxy[verdicts.is_false], FALSE),
        (boxes_xyxy[verdicts.is_right], RIGHT),
    ):
        for x1, y1, x2, y2 in (boxes * scale).round().astype(int).tolist():
            cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), (0, 0, 0), 4)
            cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), colour, 2)
    return canvas
