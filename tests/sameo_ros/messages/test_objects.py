import struct
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_model.runtime import MaskCrop, Prediction
from sameo_ros.core.answer import Answer
from sameo_ros.core.lifting import LiftedObject
from sameo_ros.messages.detections import detections_to_boxes
from sameo_ros.messages.objects import ObjectMessageTypes, fill_markers, fill_objects, fill_points
from tests.sameo_ros.stand_ins import box_detection, detections, header, hypothesis


def vector():
    return SimpleNamespace(x=0.0, y=0.0, z=0.0)


def pose():
    return SimpleNamespace(position=vector())


TYPES = ObjectMessageTypes(
    detection=lambda: SimpleNamespace(bbox=SimpleNamespace(center=pose(), size=vector())),
    result=lambda: SimpleNamespace(hypothesis=SimpleNamespace(), pose=SimpleNamespace(pose=pose())),
    marker=lambda: SimpleNamespace(
        pose=pose(), scale=vector(), color=SimpleNamespace(r=0.0, g=0.0, b=0.0, a=0.0)
    ),
    point_field=SimpleNamespace,
)
LIFTED = LiftedObject(
    points_xyz=np.array([[0.5, -0.25, 1.0], [0.5, 0.25, 2.0]], np.float32),
    pixels_xy=np.array([[1, 0], [0, 1]]),
    centroid_xyz=np.array([0.5, 0.0, 1.5]),
    box_centre_xyz=np.array([0.6, 0.1, 1.5]),
    box_size_xyz=np.array([0.4, 0.2, 0.0]),
    variance_xyz=np.array([0.01, 0.02, 0.03]),
)
MESSAGE = detections(
    box_detection(0, 0, 1, 1),
    box_detection(0, 0, 9, 9, results=[hypothesis("mug", 0.5)], detection_id="track 7"),
)
NOTHING = [MaskCrop.empty()] * 2
ANSWER = Answer(
    (2, 2),
    detections_to_boxes(MESSAGE),
    [0, 1],
    Prediction(NOTHING, NOTHING, np.float32([1, 0.5]), np.float32([0, 0.25])),
    [[], []],
)


def test_objects_carry_box_centroid_and_uncertainty():
    used, message = header(), SimpleNamespace(detections=[])
    fill_objects(message, TYPES, ANSWER, [None, LIFTED], used)
    assert message.header is used
    (found,) = message.detections
    assert found.id == "track 7"
    assert vars(found.bbox.center.position) == {"x": 0.6, "y": 0.1, "z": 1.5}
    assert vars(found.bbox.size) == {"x": 0.4, "y": 0.2, "z": 0.0}
    (result,) = found.results
    assert result.hypothesis.class_id == "mug"
    assert result.hypothesis.score == 0.25  # 0.5 * 0.5, equation 6
    assert vars(result.pose.pose.position) == {"x": 0.5, "y": 0.0, "z": 1.5}
    covariance = np.reshape(result.pose.covariance, (6, 6))
    np.testing.assert_allclose(np.diag(covariance), [0.01, 0.02, 0.03, 0, 0, 0])
    assert np.count_nonzero(covariance) == 3


def test_markers_replace_the_old_ones_with_a_box_and_a_text_per_object():
    message = SimpleNamespace(markers=[])
    fill_markers(message, TYPES, ANSWER, [None, LIFTED], header())
    clear, box, text = message.markers
    assert clear.action == 3  # DELETEALL
    assert (box.type, box.action, text.type, text.action) == (1, 0, 9, 0)  # CUBE, TEXT, ADD
    assert (box.id, box.ns) != (text.id, text.ns)
    assert vars(box.scale) == {"x": 0.4, "y": 0.2, "z": 0.001}  # RViz needs some thickness
    assert text.text == "#1 mug 25% hidden"
    assert text.pose.position.y < box.pose.position.y - 0.1  # above: y points down
    assert box.color.r == text.color.r


def test_points_hold_metres_and_the_packed_colour():
    image_rgb = np.array([[[0, 0, 0], [1, 2, 3]], [[250, 100, 50], [0, 0, 0]]], np.uint8)
    message = SimpleNamespace(fields=[])
    fill_points(message, TYPES, LIFTED, image_rgb, header())
    assert [(field.name, field.offset) for field in message.fields] == [
        ("x", 0),
        ("y", 4),
        ("z", 8),
        ("rgb", 12),
    ]
    assert (message.height, message.width, message.point_step, message.row_step) == (1, 2, 16, 32)
    data = message.data.tobytes()
    assert struct.unpack_from("<fffI", data, 0) == (0.5, -0.25, 1.0, 0x010203)
    assert struct.unpack_from("<fffI", data, 16) == (0.5, 0.25, 2.0, 0xFA6432)


@pytest.mark.parametrize("fill", [fill_objects, fill_markers])
def test_without_depth_there_are_no_objects(fill):
    message = SimpleNamespace(detections=[], markers=[])
    fill(message, TYPES, ANSWER, [None, None], header())
    assert len(message.detections) == 0
    assert len(message.markers) in (0, 1)
