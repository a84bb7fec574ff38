"""Unoccluded objects in time-lapse frames of one camera, found from box intersections."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.readers.walt import (
    WaltDetection,
    coordinate_scale,
    find_frames,
    first_frame_hw,
    iter_detections,
    read_frame,
)

# Frames of one hour that its background is the median of.
MAX_MEDIAN_FRAMES = 15


@dataclass(frozen=True)
class WaltObjectRule:
    """When a detection counts as a whole object."""

    min_confidence: float = 0.9  # least score of the detector
    # largest share of its box that any other box in the frame may cover
    max_box_overlap: float = 0.0
    min_area: int = 400  # least area of its box in pixels
    border_px: int = 2  # boxes that come nearer to the image's border are left out


@dataclass(frozen=True)
class WaltObject:
    """A whole object."""

    frame_path: Path  # image that shows it
    hour: int  # hour of the day, which decides light and shadows
    polygon_xy: np.ndarray  # float64 (P, 2), outline in pixels of the frame
    label_id: int  # class of the detector
    source_id: str  # camera and number of the detection


@dataclass(frozen=True)
class WaltCamera:
    """What is needed of one camera."""

    name: str
    folder: Path
    image_hw: tuple[int, int]  # size of its frames in pixels
    objects: dict[int, list[WaltObject]]  # whole objects by hour, only hours with at least two
    frames: dict[int, list[Path]]  # images of each of these hours


def read_camera(name: str, folder: Path, rule: WaltObjectRule, defects: DefectLog) -> WaltCamera:
    """Find the whole objects of a camera.

    Raises:
        DatasetFormatError: If the detections or the frames cannot be read.
    """
    frames = find_frames(folder)
    image_hw = first_frame_hw(frames)
    by_frame: defaultdict[str, list[WaltDetection]] = defaultdict(list)
    for detection in iter_detections(folder, defects):
        if detection.frame in frames:
            by_frame[detection.frame].append(detection)
        else:
            defects.add(Defect.FRAME_NOT_FOUND, detection.number)
    extent = [d.box_xyxy[2:] for detections in by_frame.values() for d in detections]
    corner = np.max(extent, axis=0) if extent else np.zeros(2)
    scale = coordinate_scale((float(corner[0]), float(corner[1])), image_hw)
    objects: defaultdict[int, list[WaltObject]] = defaultdict(list)
    for frame in sorted(by_frame):
        hour = frame_hour(frame)
        for detection in choose_whole(by_frame[frame], scale, image_hw, rule):
            source_id = f"{name}/{detection.number}"
            objects[hour].append(
                WaltObject(
                    frames[frame], hour, detection.polygon_xy * scale, detection.label_id, source_id
                )
            )
    usable = {hour: found for hour, found in sorted(objects.items()) if len(found) >= 2}
    frames_by_hour = {
        hour: [path for stem, path in frames.items() if frame_hour(stem) == hour] for hour in usable
    }
    return WaltCamera(name, folder, image_hw, usable, frames_by_hour)


def frame_hour(stem: str) -> int:
    """Return the hour in a frame's name, 0 if it has none."""
    match = re.match(r"\d{4}-\d\d-\d\dT(\d\d)", stem)
    return int(match[1]) if match else 0


def choose_whole(
    detections: Sequence[WaltDetection],
    scale: float,
    image_hw: tuple[int, int],
    rule: WaltObjectRule,
) -> list[WaltDetection]:
    """Return the detections of one frame whose boxes no other box covers.

    Args:
        detections: All detections of the frame, unsure ones included: they may hide others.
        scale: Factor from their coordinates to pixels of the frame.
    """
    boxes_xyxy = np.array([detection.box_xyxy for detection in detections]) * scale
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    corners_1 = np.maximum(boxes_xyxy[:, None, :2], boxes_xyxy[None, :, :2])
    corners_2 = np.minimum(boxes_xyxy[:, None, 2:], boxes_xyxy[None, :, 2:])
    shared = np.prod((corners_2 - corners_1).clip(0), axis=2)
    np.fill_diagonal(shared, 0)
    limits = [image_hw[1] - rule.border_px, image_hw[0] - rule.border_px]
    is_inside = (boxes_xyxy[:, :2] >= rule.border_px).all(1) & (boxes_xyxy[:, 2:] <= limits).all(1)
    is_whole = shared.max(axis=1) <= rule.max_box_overlap * areas
    is_sure = np.array([d.confidence for d in detections]) >= rule.min_confidence
    chosen = is_whole & is_inside & is_sure & (areas >= rule.min_area)
    return [detection for detection, keep in zip(detections, chosen, strict=True) if keep]


def background_of(camera: WaltCamera, hour: int) -> np.ndarray:
    """Return the empty scene at an hour.

    The camera's own median image of that hour counts; without one, the median of frames.

    Returns:
        uint8 (H, W, 3), BGR, of the frames' size.
    """
    height, width = camera.image_hw
    own = read_frame(camera.folder / f"T{hour:02d}-median_image.jpg")
    if own is not None:
        return cv2.resize(own, (width, height), interpolation=cv2.INTER_LINEAR)
    paths = camera.frames[hour]
    places = np.linspace(0, len(paths) - 1, min(len(paths), MAX_MEDIAN_FRAMES)).round().astype(int)
    images = [read_frame(paths[place]) for place in places]
    usable = [p for p in images if p is not None and p.shape[:2] == camera.image_hw]
    return np.median(np.stack(usable), axis=0).astype(np.uint8)
