"""Overlays of predictions on their images: visible part solid, hidden part hatched, box and label.

The command line `predict` and the ROS node draw with this one painter.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime.boxes import check_boxes
from sameo_model.runtime.types import BoolArray, ImageHW, MaskCrop, Uint8Array

Colour = tuple[int, int, int]
_Rectangle = tuple[int, int, int, int]
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_VISIBLE_SHARE = 0.45
_GOLDEN_RATIO = 0.618034


def draw_overlay(
    image_rgb: Uint8Array,
    amodal_masks: Sequence[MaskCrop],
    visible_masks: Sequence[MaskCrop] | None,
    boxes_xyxy: npt.ArrayLike,
    labels: Sequence[str],
) -> Uint8Array:
    """Draw the masks of one image over it.

    Lines and letters grow with the image, so that 640 x 480 and 1920 x 1080 are both legible.

    Args:
        image_rgb: uint8 (H, W, 3), RGB; it is not changed.
        amodal_masks: N crops; what is not visible of them is hatched.
        visible_masks: N crops; None draws the amodal masks solid.
        boxes_xyxy: float (N, 4), x1, y1, x2, y2 in pixels; unusable boxes are not drawn.
        labels: N texts, such as `format_label` makes.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    canvas = np.array(image_rgb, dtype=np.uint8, order="C")
    image_hw = canvas.shape[0], canvas.shape[1]
    colours = [instance_colour(i) for i in range(len(amodal_masks))]
    for crop, colour in zip(visible_masks or amodal_masks, colours, strict=True):
        _tint(canvas, crop, colour)
    for i, visible in enumerate(visible_masks or ()):
        _hatch(canvas, amodal_masks[i], visible, colours[i])
    for crop, colour in zip(amodal_masks, colours, strict=True):
        _outline(canvas, crop, colour)

    checked = check_boxes(boxes_xyxy, image_hw)
    placed: list[_Rectangle] = []
    boxes = checked.boxes_xyxy.round().astype(int).tolist()
    shown = np.flatnonzero(checked.usable).tolist()
    for i in shown:
        x1, y1, x2, y2 = boxes[i]
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), colours[i], _thickness(image_hw))
    for i in shown:
        _write_label(canvas, labels[i], tuple(boxes[i]), colours[i], placed)
    return canvas


def format_label(number: int, class_id: str = "", occlusion_ratio: float = float("nan")) -> str:
    """Write a label: number, class if there is one, hidden share in percent if it is known.

    Args:
        number: Id of the instance in its image.
        class_id: Name or id of its class; "" is unknown.
        occlusion_ratio: Hidden share of the object in [0, 1]; NaN is unknown.
    """
    share = "" if np.isnan(occlusion_ratio) else f"{100 * occlusion_ratio:.0f}% hidden"
    return " ".join(part for part in (f"#{number}", class_id, share) if part)


def instance_colour(index: int) -> Colour:
    """Return the RGB colour of an instance by its position; neighbours differ strongly."""
    hue = (0.02 + index * _GOLDEN_RATIO) % 1.0
    value = (1.0, 0.85)[index % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.8, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _thickness(image_hw: ImageHW) -> int:
    return max(1, round(min(image_hw) / 480))


def _tint(canvas: Uint8Array, crop: MaskCrop, colour: Colour) -> None:
    x1, y1, x2, y2 = crop.box_xyxy
    _blend(canvas[y1:y2, x1:x2], crop.mask, colour, _VISIBLE_SHARE)


def _hatch(canvas: Uint8Array, amodal: MaskCrop, visible: MaskCrop, colour: Colour) -> None:
    """Draw diagonal stripes on the hidden part, each with a dark edge to show on any ground."""
    x1, y1, x2, y2 = amodal.box_xyxy
    hidden = amodal.mask & ~amodal.cut(visible)
    width = 2 * _thickness((canvas.shape[0], canvas.shape[1]))
    diagonal = np.add.outer(np.arange(y1, y2), np.arange(x1, x2)) % (4 * width)
    window = canvas[y1:y2, x1:x2]
    _blend(window, hidden & (diagonal >= width) & (diagonal < 2 * width), (0, 0, 0), 0.6)
    _blend(window, hidden & (diagonal < width), colour, 0.9)


def _blend(window: Uint8Array, where: BoolArray, colour: Colour, share: float) -> None:
    levels = np.arange(256)[:, None, None] * (1 - share) + np.array(colour) * share
    tinted = cv2.LUT(window, levels.round().astype(np.uint8)) if window.size else window
    np.copyto(window, tinted, where=where[..., None])


def _outline(canvas: Uint8Array, crop: MaskCrop, colour: Colour) -> None:
    if crop.mask.size == 0:
        return
    contours, _ = cv2.findContours(
        crop.mask.astype(np.uint8),
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_NONE,
        offset=(crop.x, crop.y),
    )
    width = _thickness((canvas.shape[0], canvas.shape[1]))
    cv2.drawContours(canvas, contours, -1, (0, 0, 0), 3 * width, cv2.LINE_AA)
    cv2.drawContours(canvas, contours, -1, colour, 2 * width, cv2.LINE_AA)


def _write_label(
    canvas: Uint8Array,
    text: str,
    box_xyxy: tuple[int, ...],
    colour: Colour,
    placed: list[_Rectangle],
) -> None:
    """Write a text on a filled plate where it covers the fewest other plates."""
    image_hw = canvas.shape[0], canvas.shape[1]
    scale = max(0.4, 0.45 * min(image_hw) / 480)
    thickness = max(1, round(1.5 * scale))
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    plate_wh = width + 4, height + baseline + 2
    plate = _place_plate(plate_wh, box_xyxy, image_hw, placed)
    placed.append(plate)
    cv2.rectangle(canvas, plate[:2], plate[2:], colour, cv2.FILLED)
    luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    ink = (0, 0, 0) if luma > 110 else (255, 255, 255)
    origin = plate[0] + 2, plate[3] - baseline
    cv2.putText(canvas, text, origin, _FONT, scale, ink, thickness, cv2.LINE_AA)


def _place_plate(
    plate_wh: tuple[int, int],
    box_xyxy: tuple[int, ...],
    image_hw: ImageHW,
    placed: Sequence[_Rectangle],
) -> _Rectangle:
    """Choose among places above, at the top inside, below and at the bottom inside of the box."""
    width, height = plate_wh
    x1, y1, x2, y2 = box_xyxy

    def inside_image(x: int, y: int) -> _Rectangle:
        x = max(0, min(x, image_hw[1] - width))
        y = max(0, min(y, image_hw[0] - height))
        return x, y, x + width, y + height

    tops = (y1 - height, y1, y2, y2 - height)
    places = [inside_image(x, y) for y in tops for x in (x1, x2 - width)]
    return min(places, key=lambda place: sum(_common_area(place, other) for other in placed))


def _common_area(a: _Rectangle, b: _Rectangle) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
