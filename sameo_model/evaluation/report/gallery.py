"""Figures of single objects: the photograph, what is true, and what was predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sameo_model.data.types import AmodalImage, AmodalInstance, Rle
from sameo_model.evaluation.crops import rle_to_crop
from sameo_model.evaluation.detections import BoxXyxy, Detection
from sameo_model.evaluation.instance_scores import OCCLUDED_ABOVE
from sameo_model.evaluation.report.page import html_figure
from sameo_model.evaluation.row_scores import RowScores
from sameo_model.runtime.overlay import draw_overlay
from sameo_model.runtime.types import MaskCrop

PANEL_HEIGHT = 200
PANEL_WIDTH = 220
MARGIN_SHARE = 0.2
GAP = 4
PER_GROUP = 4
GROUPS = ("worst", "median", "best")


MaskPair = tuple[MaskCrop | None, MaskCrop | None]
"""Amodal and visible mask of an object."""


@dataclass(frozen=True)
class Case:
    """An object that is shown."""

    image: AmodalImage
    instance: AmodalInstance
    detection: Detection | None  # the detection that overlaps it most; None if none touches it
    iou: float  # IoU of the two, 0 without a detection


def choose_cases(
    images: Sequence[AmodalImage], scores: RowScores, detections: Mapping[int, Sequence[Detection]]
) -> dict[str, list[Case]]:
    """Choose the worst, median and best objects by the IoU of the detection that fits best.

    Occluded objects are chosen, if there are enough; whole ones show nothing about amodal masks.

    Args:
        detections: By image id; each with a mask.

    Returns:
        Up to four cases by the name of the group; no object is in two groups.
    """
    cases = []
    for image in images:
        found = detections.get(image.image_id, ())
        for instance in image.instances:
            key = image.image_id, instance.annotation_id
            if key in scores.nearest:
                iou, position = scores.nearest[key]
                cases.append(Case(image, instance, found[position] if position >= 0 else None, iou))
    occluded = [c for c in cases if (c.instance.occlusion_rate or 0.0) > OCCLUDED_ABOVE]
    if len(occluded) >= PER_GROUP * len(GROUPS):
        cases = occluded
    cases.sort(key=lambda case: case.iou)
    size = min(PER_GROUP, len(cases) // len(GROUPS) or 1)
    middle = max((len(cases) - size) // 2, 0)
    return {
        "worst": cases[:size],
        "median": cases[middle : middle + size] if len(cases) > size else [],
        "best": cases[::-1][:size] if len(cases) > 2 * size else [],
    }


def figure(case: Case) -> str:
    """Return a `<figure>` with the three panels and a caption."""
    rate = case.instance.occlusion_rate or 0.0
    judged = "no detection" if case.detection is None else f"IoU {case.iou:.2f}"
    caption = (
        f"image {case.image.image_id} ({case.image.path.name}), object "
        f"{case.instance.annotation_id} {case.instance.category}: {judged}, "
        f"{100 * rate:.0f} % hidden. Photograph, true, predicted."
    )
    return html_figure(draw_case(case), caption)


def draw_case(case: Case) -> np.ndarray:
    """Draw photograph, truth and prediction with its box side by side, hidden parts hatched.

    Returns:
        uint8 (h, w, 3), RGB.
    """
    instance, detection = case.instance, case.detection
    true_masks = crop_of(instance.amodal_rle), crop_of(instance.visible_rle)
    found_masks = (
        (crop_of(detection.mask_rle), crop_of(detection.visible_rle)) if detection else None
    )
    prompt = detection.box_xyxy if detection else None
    pairs = [None, true_masks, found_masks]
    panels = draw_line(case.image, pairs, [None, None, prompt], [true_masks, found_masks])
    gap = np.full((panels[0].shape[0], GAP, 3), 128, dtype=np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def draw_line(
    image: AmodalImage,
    pairs: Sequence[MaskPair | None],
    boxes_xyxy: Sequence[BoxXyxy | None],
    around: Sequence[MaskPair | None],
) -> list[np.ndarray]:
    """Draw one object several times: pairs of masks, or nothing over the photograph.

    Args:
        pairs: Masks of each panel; None leaves the photograph as it is.
        boxes_xyxy: Box of each panel; None is that of its amodal mask.
        around: Masks around which the photograph is cut out.

    Returns:
        uint8 (h, w, 3), RGB, for each pair; all of one size.
    """
    x1, y1, x2, y2 = window_around([pair for pair in around if pair], image)
    pixels = image.load_rgb()[y1:y2, x1:x2]
    scale = min(PANEL_HEIGHT / (y2 - y1), PANEL_WIDTH / (x2 - x1))
    return [
        draw_panel(pixels, pair, box_xyxy, (x1, y1), scale)
        for pair, box_xyxy in zip(pairs, boxes_xyxy, strict=True)
    ]


def crop_of(rle: Rle | None) -> MaskCrop | None:
    """Decode a mask, where there is one."""
    return None if rle is None else rle_to_crop(rle)


def window_around(pairs: Sequence[MaskPair], image: AmodalImage) -> tuple[int, int, int, int]:
    """Return the part of the image around the masks, with a margin."""
    boxes = np.array([pair[0].box_xyxy for pair in pairs if pair[0] and pair[0].mask.size])
    x1, y1 = boxes[:, :2].min(axis=0).tolist()
    x2, y2 = boxes[:, 2:].max(axis=0).tolist()
    margin = int(MARGIN_SHARE * max(x2 - x1, y2 - y1)) + 4
    height, width = image.image_hw
    return (
        max(x1 - margin, 0),
        max(y1 - margin, 0),
        min(x2 + margin, width),
        min(y2 + margin, height),
    )


def draw_panel(
    pixels: np.ndarray,
    pair: MaskPair | None,
    box_xyxy: BoxXyxy | None,
    origin_xy: tuple[int, int],
    scale: float,
) -> np.ndarray:
    """Draw amodal and visible mask and a box, by default the amodal mask's own."""
    panel = rescale(pixels, scale)
    if pair is None or pair[0] is None:
        return panel
    amodal = _move(pair[0], origin_xy, scale, pixels.shape[:2])
    visible = None if pair[1] is None else [_move(pair[1], origin_xy, scale, pixels.shape[:2])]
    box = np.array(amodal.box_xyxy, dtype=float)
    if box_xyxy is not None:
        box = (np.array(box_xyxy) - np.array([*origin_xy, *origin_xy])) * scale
    return draw_overlay(panel, [amodal], visible, [box], [""])


def _move(
    crop: MaskCrop, origin_xy: tuple[int, int], scale: float, window_hw: tuple[int, int]
) -> MaskCrop:
    """Return a mask in the pixels of a panel."""
    window = MaskCrop(*origin_xy, np.zeros(window_hw, dtype=bool))
    inside = window.cut(crop).astype(np.uint8)
    return MaskCrop.from_mask(rescale(inside * 255, scale) > 127)


def rescale(pixels: np.ndarray, scale: float) -> np.ndarray:
    """Return uint8 pixels, (H, W) or (H, W, C), with sides multiplied by a factor."""
    size_wh = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(pixels), size_wh, interpolation=method)
