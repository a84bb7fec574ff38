"""Lifted objects as messages: boxes for planners, markers for RViz, points, labels of pixels.

Messages are duck-typed, and the constructors of those to fill are handed in.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sameo_model.runtime.overlay import format_label, instance_colour
from sameo_model.runtime.types import MaskCrop, Uint8Array
from sameo_ros.core.answer import Answer
from sameo_ros.core.extent import UNKNOWN_ROTATION_RAD2
from sameo_ros.core.instances import draw_instances
from sameo_ros.core.lifting import LiftedObject, lift_object
from sameo_ros.core.placement import Placement, axes_to_quaternion
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.transforms import TransformTree
from sameo_ros.messages.conversions import bytes_to_array

_CUBE, _TEXT, _ADD, _DELETE_ALL = 1, 9, 0, 3
_UINT32, _FLOAT32 = 6, 7
# The colour is packed as 0x00rrggbb in the bytes of a float, as RViz and PCL read it.
_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("instance", "<u4")])
ALL_POINTS = "all"
_TEXT_HEIGHT_M = 0.02


@dataclass(frozen=True)
class ObjectMessageTypes:
    """Constructors, without arguments, of the messages to fill."""

    detection: Callable[[], Any]
    result: Callable[[], Any]
    marker: Callable[[], Any]
    point_field: Callable[[], Any]


def lift_objects(
    answer: Answer, depth: SceneDepth, placement: Placement | None = None
) -> list[LiftedObject | None]:
    """Lift every mask of an answer; depth must have a camera.

    Args:
        placement: The frame that boxes stand upright in; None: the optical frame.
    """
    prediction = answer.prediction
    visible_masks = prediction.visible_masks or [MaskCrop.empty()] * len(answer.indices)
    aligned = None if placement is None else placement.rotation
    assert depth.camera is not None
    return [
        lift_object(amodal, visible, float(ratio), depth.depth_m, depth.camera, aligned)
        for amodal, visible, ratio in zip(
            prediction.amodal_masks, visible_masks, prediction.occlusion_ratio, strict=True
        )
    ]


def place_results(
    header: Any, depth: SceneDepth, transforms: TransformTree, target_frame: str, stamp_ns: int
) -> tuple[Any, Placement]:
    """Return header and frame of the results in 3D.

    Args:
        header: std_msgs/Header of the image; it is not changed.
        depth: Depth of the image; its camera may name another frame.
        target_frame: Frame of the results, "" for the camera's optical frame.
        stamp_ns: Stamp of the image, nanoseconds.

    Raises:
        LookupError: If the transforms do not connect both frames.
    """
    header = copy.deepcopy(header)
    if depth.camera is not None:
        header.frame_id = depth.camera.frame_id or header.frame_id
    if not target_frame:
        return header, Placement(header.frame_id)
    placement = transforms.find(target_frame, header.frame_id, stamp_ns)
    header.frame_id = target_frame
    return header, placement


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
    placement: Placement | None = None,
) -> None:
    """Fill a vision_msgs/Detection3DArray with all masks of an answer, in their order.

    `bbox` is the box around the whole object. `results[0].pose` is the centre of that box with its
    covariance; the rotation is that of the box, and the object's own is unknown. An object that
    could not be lifted has a box of size 0 and no `results`.

    Args:
        message: The vision_msgs/Detection3DArray to fill.
        objects: One for each mask.
        header: std_msgs/Header with the image's stamp and the frame of the placement.
        placement: The frame of the results; None: the optical frame.
    """
    placement = placement or Placement("")
    message.header = header
    for row, lifted in enumerate(objects):
        index = answer.indices[row]
        detection = types.detection()
        detection.header = header
        detection.id = answer.detections.detection_ids[index]
        if lifted is None:
            detection.bbox.center.orientation.w = 1.0
        else:
            _fill_pose(detection.bbox.center, lifted, placement)
            _fill_point(detection.bbox.size, lifted.box.size_xyz)
            result = types.result()
            result.hypothesis.class_id = answer.detections.class_ids[index]
            score = answer.detections.scores[index] * answer.prediction.predicted_iou[row]
            result.hypothesis.score = float(score)
            _fill_pose(result.pose.pose, lifted, placement)
            covariance = np.zeros((6, 6))
            covariance[:3, :3] = placement.place_covariance(lifted.box.covariance_xyz)
            covariance[3:, 3:] = UNKNOWN_ROTATION_RAD2 * np.eye(3)
            result.pose.covariance = covariance.ravel()
            detection.results = [result]
        message.detections.append(detection)


def fill_markers(
    message: Any,
    types: ObjectMessageTypes,
    answer: Answer,
    objects: Sequence[LiftedObject | None],
    header: Any,
    placement: Placement | None = None,
) -> None:
    """Fill a visualization_msgs/MarkerArray: the old ones go, then a box and a text per object.

    Args:
        message: The visualization_msgs/MarkerArray to fill.
        objects: One for each mask; None where there is no depth.
        header: std_msgs/Header with the image's stamp and the frame of the placement.
        placement: The frame of the results; None: the optical frame.
    """
    placement = placement or Placement("")
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
            _fill_pose(marker.pose, lifted, placement)
        # RViz does not draw a box without thickness.
        _fill_point(box.scale, np.maximum(lifted.box.size_xyz, 1e-3))
        box.color.a, text.color.a = 0.4, 1.0
        half_m = np.abs(placement.up_xyz @ placement.place_axes(lifted.box.axes))
        above_m = half_m @ lifted.box.size_xyz / 2 + _TEXT_HEIGHT_M
        centre = placement.place_points(lifted.box.centre_xyz)
        _fill_point(text.pose.position, centre + above_m * placement.up_xyz)
        text.scale.z = _TEXT_HEIGHT_M
        ratio = float(answer.prediction.occlusion_ratio[row])
        text.text = format_label(index, answer.detections.class_ids[index], ratio)
        message.markers += [box, text]


def choose_points(
    answer: Answer, objects: Sequence[LiftedObject | None], points_of: str
) -> list[tuple[int, LiftedObject]] | None:
    """Choose the objects whose points are published, with their detection indices.

    Args:
        objects: One for each mask; None where there is no depth.
        points_of: Detection id or index of one object, or `all`.

    Returns:
        Those that were lifted; None if the one that is named was not.
    """
    found = [(index, one) for index, one in zip(answer.indices, objects, strict=True) if one]
    if points_of == ALL_POINTS:
        return found
    row = find_row(answer, points_of)
    wanted = None if row is None else answer.indices[row]
    return [one for one in found if one[0] == wanted] or None


def fill_points(
    message: Any,
    types: ObjectMessageTypes,
    chosen: Sequence[tuple[int, LiftedObject]],
    image_rgb: Uint8Array,
    header: Any,
    placement: Placement | None = None,
) -> None:
    """Fill a sensor_msgs/PointCloud2 with the coloured visible points of objects.

    Args:
        message: The sensor_msgs/PointCloud2 to fill: x, y, z in metres, rgb, and as `instance`
            the detection index (uint32).
        chosen: Detection index and object.
        image_rgb: uint8 (H, W, 3), RGB, the image.
        header: std_msgs/Header with the image's stamp and the frame of the placement.
        placement: The frame of the results; None: the optical frame.
    """
    placement = placement or Placement("")
    sizes = [len(lifted.points_xyz) for _, lifted in chosen]
    message.header = header
    message.height, message.width = 1, sum(sizes)
    message.is_bigendian, message.is_dense = False, True
    message.point_step = _POINT.itemsize
    message.row_step = message.point_step * message.width
    for name in _POINT.names or ():
        field = types.point_field()
        field.name, field.offset, field.count = name, _POINT.fields[name][1], 1  # type: ignore[index]
        field.datatype = _UINT32 if name == "instance" else _FLOAT32
        message.fields.append(field)
    cloud = np.zeros(message.width, dtype=_POINT)
    start = 0
    for (index, lifted), size in zip(chosen, sizes, strict=True):
        part = cloud[start : start + size]
        points = placement.place_points(lifted.points_xyz)
        part["x"], part["y"], part["z"] = points.T
        red, green, blue = image_rgb[lifted.pixels_xy[:, 1], lifted.pixels_xy[:, 0]].T.astype("<u4")
        part["rgb"] = (red << 16) | (green << 8) | blue
        part["instance"] = index
        start += size
    message.data = bytes_to_array(cloud.view(np.uint8))


def fill_instances(message: Any, answer: Answer, header: Any) -> None:
    """Fill a sensor_msgs/Image with the label of each pixel.

    Args:
        message: The sensor_msgs/Image to fill: mono16, detection index + 1 on the visible part of
            each object, 0 elsewhere.
        answer: The masks, with visible ones.
        header: std_msgs/Header of the image; shared, not copied.
    """
    labels = draw_instances(answer)
    message.header = header
    message.height, message.width = labels.shape
    message.encoding, message.is_bigendian, message.step = "mono16", 0, 2 * labels.shape[1]
    message.data = bytes_to_array(labels.astype("<u2").view(np.uint8))


def _fill_pose(message: Any, lifted: LiftedObject, placement: Placement) -> None:
    _fill_point(message.position, placement.place_points(lifted.box.centre_xyz))
    quaternion = axes_to_quaternion(placement.place_axes(lifted.box.axes))
    turn = message.orientation
    turn.x, turn.y, turn.z, turn.w = quaternion


def _fill_point(message: Any, xyz: Any) -> None:
    message.x, message.y, message.z = (float(value) for value in xyz)
