"""A figure of chosen objects: one line each, one column for each way of answering their boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sameo_model.data.types import AmodalImage, AmodalInstance
from sameo_model.evaluation import rows as row_names
from sameo_model.evaluation.detections import BoxXyxy, Detection
from sameo_model.evaluation.matching import scorable
from sameo_model.evaluation.report.gallery import (
    GAP,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    MaskPair,
    crop_of,
    draw_line,
)
from sameo_model.evaluation.row_scores import RowScores
from sameo_model.evaluation.rows import Row

PHOTOGRAPH, TRUTH = "photograph", "truth"
TITLES = {
    PHOTOGRAPH: "photograph",
    row_names.FRONT_END: "front end",
    row_names.TRUE_VISIBLE: "true visible",
    row_names.VISIBLE_DECODER: "EfficientSAM",
    row_names.SAMEO_PLAIN: "SAMEO",
    row_names.SAMEO: "SAMEO",
    TRUTH: "truth",
}
DEFAULT_COLUMNS = (
    PHOTOGRAPH,
    row_names.FRONT_END,
    row_names.VISIBLE_DECODER,
    row_names.SAMEO,
    TRUTH,
)
_TITLE_HEIGHT = 24


WantedObjects = Sequence[tuple[AmodalImage, AmodalInstance]]


@dataclass(frozen=True)
class ChosenObject:
    """An object of the figure."""

    image: AmodalImage
    instance: AmodalInstance
    # what each row of the table answered to the box that fits it best; None where no box does
    answers: Mapping[str, Detection | None]


def parse_objects(text: str) -> list[tuple[int | None, int]]:
    """Read `ANNOTATION` or `IMAGE:ANNOTATION` numbers, separated by commas.

    Raises:
        ValueError: If something else is there.
    """
    chosen = []
    for part in text.split(","):
        image, colon, annotation = part.strip().rpartition(":")
        if not annotation.isdecimal() or (colon and not image.isdecimal()):
            raise ValueError(f"--objects must be ANNOTATION or IMAGE:ANNOTATION,..., got '{part}'")
        chosen.append((int(image) if image else None, int(annotation)))
    return chosen


def choose_columns(text: str | None, names: Iterable[str]) -> list[str]:
    """Return the columns of the figure: the given ones, else the default ones as far as they exist.

    Args:
        text: Names separated by commas.
        names: The rows of the table.

    Raises:
        ValueError: If a column is neither the photograph, nor the truth, nor a row of the table.
    """
    known = (PHOTOGRAPH, *names, TRUTH)
    if not text:
        return [column for column in DEFAULT_COLUMNS if column in known]
    columns = [column.strip() for column in text.split(",")]
    for column in columns:
        if column not in known:
            raise ValueError(f"--columns must be some of {', '.join(known)}, got '{column}'")
    return columns


def find_objects(
    wanted: Sequence[tuple[int | None, int]], images: Sequence[AmodalImage]
) -> WantedObjects:
    """Find evaluated objects by their numbers of image (None: any) and annotation.

    Raises:
        ValueError: If there is no such object.
    """
    by_key = {
        (image.image_id, instance.annotation_id): (image, instance)
        for image in images
        for instance in image.instances
        if scorable(instance)
    }
    by_annotation = {key[1]: key for key in by_key}
    found = []
    for image_id, annotation_id in wanted:
        key = (image_id, annotation_id) if image_id is not None else None
        key = by_annotation.get(annotation_id) if key is None else key
        if key is None or key not in by_key:
            raise ValueError(
                f"--objects must be evaluated objects, but there is no annotation {annotation_id}"
                + (f" of image {image_id}" if image_id is not None else "")
            )
        found.append(by_key[key])
    return found


def with_answers(
    wanted: WantedObjects, rows: Sequence[Row], scores: RowScores
) -> list[ChosenObject]:
    """Add what each row answered to the box that fits each object best."""
    chosen = []
    for image, instance in wanted:
        position = scores.nearest[image.image_id, instance.annotation_id][1]
        answers = {
            row.name: row.detections[image.image_id][position] if position >= 0 else None
            for row in rows
        }
        chosen.append(ChosenObject(image, instance, answers))
    return chosen


def draw_figure(chosen: Sequence[ChosenObject], columns: Sequence[str]) -> np.ndarray:
    """Draw the objects below each other and the columns side by side, under their titles.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    lines = [_draw_titles(columns), *(_draw_line(one, columns) for one in chosen)]
    return np.concatenate(lines, axis=0)


def _draw_titles(columns: Sequence[str]) -> np.ndarray:
    cell = PANEL_WIDTH + GAP
    strip = np.full((_TITLE_HEIGHT, cell * len(columns), 3), 255, dtype=np.uint8)
    for number, column in enumerate(columns):
        origin = (number * cell + 4, _TITLE_HEIGHT - 8)
        text = TITLES.get(column, column)
        cv2.putText(strip, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def _draw_line(one: ChosenObject, columns: Sequence[str]) -> np.ndarray:
    truth = crop_of(one.instance.amodal_rle), crop_of(one.instance.visible_rle)
    pairs: dict[str, MaskPair | None] = {PHOTOGRAPH: None, TRUTH: truth}
    boxes: dict[str, BoxXyxy] = {}
    for name, answer in one.answers.items():
        pairs[name] = None
        if answer is not None:
            pairs[name] = crop_of(answer.mask_rle), crop_of(answer.visible_rle)
            boxes[name] = answer.box_xyxy
    shown = [pair for column in columns if (pair := pairs[column]) is not None]
    panels = draw_line(
        one.image,
        [pairs[column] for column in columns],
        [boxes.get(column) for column in columns],
        [truth, *shown],
    )
    return np.concatenate([_centre(panel) for panel in panels], axis=1)


def _centre(panel: np.ndarray) -> np.ndarray:
    """Put a panel into a white cell of the figure."""
    cell = np.full((PANEL_HEIGHT + GAP, PANEL_WIDTH + GAP, 3), 255, dtype=np.uint8)
    height, width = min(panel.shape[0], PANEL_HEIGHT), min(panel.shape[1], PANEL_WIDTH)
    top, left = (PANEL_HEIGHT - height) // 2, (PANEL_WIDTH - width) // 2
    cell[top : top + height, left : left + width] = panel[:height, :width]
    return cell
