"""Lifted objects as messages: boxes for planners, markers for RViz, points of one object.

Messages are duck-typed, and the constructors of those to fill are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sameo_model.runtime.overlay import format_label, instance_colour
from sameo_model.runtime.types import MaskCrop, Uint8Array
from sameo_ros.core.answer import Answer
from sameo_ros.core.lifting import LiftedObject, lift_object
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.messages.conversions import bytes_to_array

_CUBE, _TEXT, _ADD, _DELETE_ALL = 1, 9, 0, 3
_FLOAT32 = 7
_TEXT_HEIGHT_M = 0.02


@dataclass(frozen=True)
class ObjectMessageTypes:
    """Constructors, without arguments, of the messages to fill."""

    detection: Callable[[], Any]
    result: Callable[[], Any]
    marker: Callable[[], Any]
    point_field: Callable[[], Any]


def lift_objects(answer: Answer, depth: SceneDepth) -> list[LiftedObject | None]:
    """Lift every mask of an answer; depth must have a camera."""
    prediction = answer.prediction
    visible_masks = prediction.visible_masks or [MaskCrop.empty()] * len(answer.indices)
    assert depth.camera is not None
    return [
        lift_object(amodal, visible, float(ratio), depth.depth_m, depth.camera)
        for amodal, visible, ratio in zip(
            prediction.amodal_masks, visible_masks, prediction.occlusion_ratio, strict=True
        )
    ]


def find_row(answer: Answer, wanted: str) -> int | None:
    """Return the row of the object with that detection id, else with that detection index."""
    ids = [answer.detections.detection_ids[index] for index in answer.indices]
    numbers = [str(index) for index in answer.indices]
    if wanted and wanted in ids:
        return ids.index(wanted)
    return numbers.index(wanted) if wanted in numbers else None


def fill_objects(
    message: Any,
    types: ObjectMessageTypes,
    answer: Answer,
    objects: Sequence[LiftedObject | None],
    header: Any,
) -> None:
    """Fill a vision_msgs/Detection3DArray; an object that could not be lifted is left out.

    Args:
        message: The vision_msgs/Detection3DArray to fill.
        types: Constructors of the messages inside.
        answer: The masks.
        objects: One for each mask.
        header: std_msgs/Header with the image's stamp and the optical frame.
    """
    message.header = header
    for row, lifted in enumerate(objects):
        if lifted is None:
            continue
        index = answer.indices[row]
        detection = types.detection()
        detection.header = header
        detection.id = answer.detections.detection_ids[index]
        _fill_point(detection.bbox.center.position, lifted.box_centre_xyz)
        _fill_point(detection.bbox.size, lifted.box_size_xyz)
        result = types.result()
        result.hypothesis.class_id = answer.detections.class_ids[index]
        score = answer.detections.scores[index] * answer.prediction.predicted_iou[row]
        result.hypothesis.score = float(score)
        _fill_point(result.pose.pose.position, lifted.centroid_xyz)
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = np.diag(lifted.variance_xyz)
        result.pose.covariance = covariance.ravel()
        detection.results = [result]
        message.detections.append(detection)


def fill_markers(
    message: Any,
    types: ObjectMessageTypes,
    answer: Answer,
    objects: Sequence[LiftedObject | None],
    header: Any,
) -> None:
    """Fill a visualization_msgs/MarkerArray: the old ones go, then a box and a text per object.

    Args:
        message: The visualization_msgs/MarkerArray to fill.
        types: Constructors of the messages inside.
        answer: The masks.
        objects: One for each mask; None where there is no depth.
        header: std_msgs/Header with the image's stamp and the optical frame.
    """
    clear = types.marker()
    clear.header, clear.action = header, _DELETE_ALL
    message.markers.append(clear)
    for row, lifted in enumerate(objects):
        if lifted is None:
            continue
        index = answer.indices[row]
        colour = [value / 255 for value in instance_colour(row)]
        box, text = types.marker(), types.marker()
        for marker, kind, name in ((box, _CUBE, "boxes"), (text, _TEXT, "labels")):
            marker.header, marker.ns, marker.id = header, name, index
            marker.type, marker.action = kind, _ADD
            marker.color.r, marker.color.g, marker.color.b = colour
            _fill_point(marker.pose.position, lifted.box_centre_xyz)
        # RViz does not draw a box without thickness.
        _fill_point(box.scale, np.maximum(lifted.box_size_xyz, 1e-3))
        box.color.a, text.color.a = 0.4, 1.0
        # y points down, so that smaller is above the box.
        text.pose.position.y -= lifted.box_size_xyz[1] / 2 + _TEXT_HEIGHT_M
        text.scale.z = _TEXT_HEIGHT_M
        ratio = float(answer.prediction.occlusion_ratio[row])
        text.text = format_label(index, answer.detections.class_ids[index], ratio)
        message.markers += [box, text]


def fill_points(
    message: Any,
    types: ObjectMessageTypes,
    lifted: LiftedObject,
    image_rgb: Uint8Array,
    header: Any,
) -> None:
    """Fill a sensor_msgs/PointCloud2 with the coloured visible points of one object.

    Args:
        message: The sensor_msgs/PointCloud2 to fill: x, y, z in metres and rgb.
        types: Constructors of the messages inside.
        lifted: The object.
        image_rgb: uint8 (H, W, 3), RGB, the image.
        header: std_msgs/Header with the image's stamp and the optical frame.
    """
    message.header = header
    message.height, message.width = 1, len(lifted.points_xyz)
    message.is_bigendian, message.is_dense = False, True
    message.point_step = 16
    message.row_step = message.point_step * message.width
    for i, name in enumerate(("x", "y", "z", "rgb")):
        field = types.point_field()
        field.name, field.offset, field.datatype, field.count = name, 4 * i, _FLOAT32, 1
        message.fields.append(field)
    cloud = np.zeros((message.width, 16), dtype=np.uint8)
    cloud[:, :12] = lifted.points_xyz.astype("<f4").view(np.uint8).reshape(-1, 12)
    # The colour is packed as 0x00rrggbb, little endian.
    colours = image_rgb[lifted.pixels_xy[:, 1], lifted.pixels_xy[:, 0]]
    cloud[:, 12:15] = colours[:, ::-1]
    message.data = bytes_to_array(cloud)


def _fill_point(message: Any, xyz: Any) -> None:
    message.x, message.y, message.z = (float(value) for value in xyz)
