import struct
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_model.runtime import MaskCrop, Prediction
from sameo_ros.core.answer import Answer, DetectedBoxes
from sameo_ros.core.extent import Extent
from sameo_ros.core.lifting import LiftedObject
from sameo_ros.core.placement import Placement
from sameo_ros.messages.detections import detections_to_boxes
from sameo_ros.messages.objects import (
    ObjectMessageTypes,
    choose_points,
    fill_instances,
    fill_markers,
    fill_objects,
    fill_points,
)
from tests.sameo_ros.stand_ins import box_detection, detections, header, hypothesis


def vector():
    return SimpleNamespace(x=0.0, y=0.0, z=0.0)


def pose():
    turn = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=0.0)
    return SimpleNamespace(position=vector(), orientation=turn)


TYPES = ObjectMessageTypes(
    detection=lambda: SimpleNamespace(
        bbox=SimpleNamespace(center=pose(), size=vector()), results=[]
    ),
    result=lambda: SimpleNamespace(hypothesis=SimpleNamespace(), pose=SimpleNamespace(pose=pose())),
    marker=lambda: SimpleNamespace(
        pose=pose(), scale=vector(), color=SimpleNamespace(r=0.0, g=0.0, b=0.0, a=0.0)
    ),
    point_field=SimpleNamespace,
)
QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter turn about z


STRAIGHT = np.eye(3)


def lifted(axes=STRAIGHT):
    return LiftedObject(
        points_xyz=np.array([[0.5, -0.25, 1.0], [0.5, 0.25, 2.0]], np.float32),
        pixels_xy=np.array([[1, 0], [0, 1]]),
        box=Extent(
            centre_xyz=np.array([0.6, 0.1, 1.5]),
            size_xyz=np.array([0.4, 0.2, 0.0]),
            axes=axes,
            covariance_xyz=np.array([[0.01, 0.004, 0], [0.004, 0.02, 0], [0, 0, 0.03]]),
        ),
    )


LIFTED = lifted()
# A frame that looks at the camera's x as its own x, at its z as its own y, and has its y as down.
TABLE = Placement(
    "table",
    np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    np.array([0.0, 0.0, 1.0]),
    np.array([0.0, 0.0, 1.0]),
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


def fill(objects, placement=None):
    message = SimpleNamespace(detections=[])
    fill_objects(message, TYPES, ANSWER, objects, header(), placement)
    return message.detections


def test_objects_carry_a_box_and_the_centre_of_it_with_its_uncertainty():
    used, message = header(), SimpleNamespace(detections=[])
    fill_objects(message, TYPES, ANSWER, [None, LIFTED], used)
    assert message.header is used
    found = message.detections[1]
    assert found.id == "track 7"
    assert vars(found.bbox.center.position) == {"x": 0.6, "y": 0.1, "z": 1.5}
    assert vars(found.bbox.center.orientation) == {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}
    assert vars(found.bbox.size) == {"x": 0.4, "y": 0.2, "z": 0.0}
    (result,) = found.results
    assert result.hypothesis.class_id == "mug"
    assert result.hypothesis.score == 0.25  # 0.5 * 0.5, equation 6
    assert result.pose.pose == found.bbox.center
    covariance = np.reshape(result.pose.covariance, (6, 6))
    np.testing.assert_allclose(covariance[:3, :3], LIFTED.box.covariance_xyz)
    # Nothing is known of the rotation: half a turn is one deviation.
    np.testing.assert_allclose(covariance[3:, 3:], np.pi**2 * np.eye(3))
    assert not covariance[:3, 3:].any()


def test_what_could_not_be_lifted_is_listed_with_its_id_and_without_a_result():
    unlifted, found = fill([None, LIFTED])
    assert unlifted.id == "0"  # the detector gave none
    assert unlifted.results == []
    assert vars(unlifted.bbox.size) == {"x": 0.0, "y": 0.0, "z": 0.0}
    assert unlifted.bbox.center.orientation.w == 1.0
    assert found.results


def test_a_turned_box_has_the_quaternion_of_its_axes():
    turn = fill([None, lifted(QUARTER)])[1].bbox.center.orientation
    # Half of a quarter turn about z.
    assert (turn.x, turn.y) == (0, 0)
    assert (turn.z, turn.w) == pytest.approx((np.sin(np.pi / 4), np.cos(np.pi / 4)))


def test_objects_are_given_in_another_frame():
    found = fill([None, LIFTED], TABLE)[1]
    # x stays, y is the camera's z, z is the camera's -y, one metre up.
    position = found.results[0].pose.pose.position
    assert (position.x, position.y, position.z) == pytest.approx((0.6, 1.5, 0.9))
    covariance = np.reshape(found.results[0].pose.covariance, (6, 6))[:3, :3]
    np.testing.assert_allclose(covariance, [[0.01, 0, -0.004], [0, 0.03, 0], [-0.004, 0, 0.02]])
    turn = found.bbox.center.orientation
    # The optical axes are turned by a quarter about x, seen from the frame.
    expected = (-np.sin(np.pi / 4), 0, 0, np.cos(np.pi / 4))
    assert (turn.x, turn.y, turn.z, turn.w) == pytest.approx(expected, abs=1e-9)


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


def test_labels_stand_above_boxes_in_every_frame():
    message = SimpleNamespace(markers=[])
    fill_markers(message, TYPES, ANSWER, [None, LIFTED], header(), TABLE)
    _, box, text = message.markers
    # The box is 0.2 m along the camera's y, which is up here.
    assert text.pose.position.z == pytest.approx(box.pose.position.z + 0.1 + 0.02)
    assert text.pose.position.x == box.pose.position.x


def read_points(message):
    names = ["x", "y", "z", "rgb", "instance"]
    assert [field.name for field in message.fields] == names
    assert [field.offset for field in message.fields] == [0, 4, 8, 12, 16]
    assert [field.datatype for field in message.fields] == [7, 7, 7, 7, 6]  # FLOAT32, UINT32
    assert (message.height, message.point_step) == (1, 20)
    assert message.row_step == 20 * message.width == len(message.data)
    data = message.data.tobytes()
    return [struct.unpack_from("<fffII", data, 20 * i) for i in range(message.width)]


IMAGE_RGB = np.array([[[0, 0, 0], [1, 2, 3]], [[250, 100, 50], [0, 0, 0]]], np.uint8)


def test_points_hold_metres_the_packed_colour_and_the_detection_index():
    message = SimpleNamespace(fields=[])
    fill_points(message, TYPES, [(1, LIFTED)], IMAGE_RGB, header())
    assert read_points(message) == [(0.5, -0.25, 1.0, 0x010203, 1), (0.5, 0.25, 2.0, 0xFA6432, 1)]


def test_points_of_several_objects_are_told_apart_by_the_detection_index():
    message = SimpleNamespace(fields=[])
    fill_points(message, TYPES, [(0, LIFTED), (7, LIFTED)], IMAGE_RGB, header())
    assert [point[4] for point in read_points(message)] == [0, 0, 7, 7]


def test_a_cloud_of_no_objects_is_empty():
    message = SimpleNamespace(fields=[])
    fill_points(message, TYPES, [], IMAGE_RGB, header())
    assert read_points(message) == []


@pytest.mark.parametrize(
    ("points_of", "indices"),
    [("all", [1]), ("track 7", [1]), ("1", [1]), ("0", None), ("", None), ("none such", None)],
)
def test_points_of_names_one_object_or_all(points_of, indices):
    chosen = choose_points(ANSWER, [None, LIFTED], points_of)
    assert (chosen and [index for index, _ in chosen]) == indices


def test_all_points_of_nothing_are_an_empty_cloud_and_not_none():
    assert choose_points(ANSWER, [None, None], "all") == []


def test_labels_of_pixels_are_detection_index_plus_one_in_two_bytes():
    both = [MaskCrop(0, 0, np.ones((2, 2), bool)), MaskCrop(1, 0, np.ones((2, 1), bool))]
    prediction = Prediction(both, both, np.float32([1, 1]), np.float32([0, 0]))
    message = SimpleNamespace()
    boxes = DetectedBoxes(np.zeros((300, 4), np.float32), [""] * 300, np.ones(300), [""] * 300)
    answer = Answer((2, 3), boxes, [4, 299], prediction, [[299], []])
    fill_instances(message, answer, header())
    assert (message.height, message.width, message.step) == (2, 3, 6)
    assert (message.encoding, message.is_bigendian) == ("mono16", 0)
    labels = np.frombuffer(message.data, "<u2").reshape(2, 3)
    np.testing.assert_array_equal(labels, [[5, 300, 0], [5, 300, 0]])


@pytest.mark.parametrize("fill", [fill_objects, fill_markers])
def test_without_depth_nothing_is_given_a_place(fill):
    message = SimpleNamespace(detections=[], markers=[])
    fill(message, TYPES, ANSWER, [None, None], header())
    assert [one.results for one in message.detections] in ([[], []], [])
    assert len(message.markers) in (0, 1)
