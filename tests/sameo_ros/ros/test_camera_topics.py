"""What the topics of a camera cost when nobody listens; the node and its publishers are doubles."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from sensor_msgs.msg import CameraInfo, Image  # noqa: E402

from sameo_model.runtime import MaskCrop, Prediction  # noqa: E402
from sameo_ros.core.answer import Answer, DetectedBoxes  # noqa: E402
from sameo_ros.core.camera import CameraRecord  # noqa: E402
from sameo_ros.core.camera_model import CameraModel  # noqa: E402
from sameo_ros.core.frame_cache import Frame  # noqa: E402
from sameo_ros.core.input_watch import InputWatch  # noqa: E402
from sameo_ros.core.problem_log import ProblemLog  # noqa: E402
from sameo_ros.core.scene_depth import SceneDepth  # noqa: E402
from sameo_ros.core.settings import SameoParameters  # noqa: E402
from sameo_ros.core.statistics import Statistics  # noqa: E402
from sameo_ros.ros import camera_topics, object_topics  # noqa: E402


class Publisher:
    def __init__(self, num_subscribers, topic_name=""):
        self.num_subscribers = num_subscribers
        self.topic_name = topic_name
        self.published = []

    def get_subscription_count(self):
        return self.num_subscribers

    def publish(self, message):
        self.published.append(message)


IMAGE = Image(height=32, width=32, encoding="rgb8", step=96, data=bytes(32 * 96))
PIXELS = np.zeros((32, 32, 3), np.uint8)

INFO = CameraInfo(height=32, width=32, k=[20.0, 0, 16, 0, 20, 16, 0, 0, 1])
INFO.header.frame_id = "optical"


def make_answer():
    """Return the answer to one box, 2 m in front of the camera."""
    mask = MaskCrop(4, 4, np.ones((16, 16), bool))
    one = np.ones(1, np.float32)
    return Answer(
        (32, 32),
        DetectedBoxes(np.float32([[4, 4, 20, 20]]), ["mug"], one, ["id"]),
        [0],
        Prediction([mask], [mask], one, 0 * one),
        [[]],
        SceneDepth(np.full((32, 32), 2, np.float32), CameraModel.from_message(INFO)),
    )


def deliver(monkeypatch, listened):
    """Deliver an answer; return the names of published topics and of the work that was done."""
    publishers, work = {}, []

    def open_publisher(kind, topic, problems):
        return publishers.setdefault(topic[2:], Publisher(int(topic[2:] in listened)))

    node = SimpleNamespace(
        open_publisher=open_publisher,
        create_service=lambda *_: None,
        get_clock=lambda: SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=5)),
    )
    worker = SimpleNamespace(model=SimpleNamespace(name="tiny"))
    record = CameraRecord("", Statistics(), ProblemLog(work.append))
    topics = camera_topics.CameraTopics(
        node, worker, record, compressed=False, detections_type="auto"
    )
    for module, name in (
        (camera_topics, "draw_answer"),
        (object_topics, "lift_objects"),
        (object_topics, "fill_instances"),
    ):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *given, name=name, real=real: work.append(name) or real(*given)
        )
    frame = Frame(0, 1, 0.0, IMAGE)
    topics.deliver(frame, make_answer(), SameoParameters(points_of="id"))
    return {name for name, one in publishers.items() if one.published}, work


def test_without_subscribers_only_the_masks_are_made(monkeypatch):
    assert deliver(monkeypatch, set()) == ({"masks"}, [])


@pytest.mark.parametrize(
    ("topic", "work"),
    [
        ("overlay", "draw_answer"),
        ("objects", "lift_objects"),
        ("markers", "lift_objects"),
        ("points", "lift_objects"),
        ("instances", "fill_instances"),
    ],
)
def test_a_subscriber_gets_its_topic_and_no_other_work_is_done(monkeypatch, topic, work):
    assert deliver(monkeypatch, {topic}) == ({"masks", topic}, [work])


@pytest.mark.parametrize("failing", ["lift_objects", "fill_instances"])
def test_masks_go_out_whatever_happens_to_3d(monkeypatch, failing):
    def fail(*_):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(object_topics, failing, fail)
    published, work = deliver(monkeypatch, {"objects", "instances"})
    assert "masks" in published
    assert any("no such luck" in str(one) for one in work)


class Subscribing:
    """A node whose subscriptions can be fed."""

    def __init__(self, target_frame):
        self.callbacks, self.publishers, self.latched = {}, {}, set()
        self.notes = []
        self._target_frame = target_frame

    def open_publisher(self, kind, topic, problems):
        return self.publishers.setdefault(topic[2:], Publisher(1, topic))

    def get_logger(self):
        return SimpleNamespace(info=lambda sentence, once: self.notes.append(sentence))

    def open_subscription(self, kind, topic, callback, problems, *, depth, latched=False):
        self.callbacks[topic] = callback
        self.latched |= {topic} if latched else set()

    def destroy_subscription(self, subscription):
        pass

    def resolve_topic_name(self, topic):
        return f"/{topic}"

    def get_parameter(self, name):
        values = {"target_frame": self._target_frame, "max_age_s": SameoParameters().max_age_s}
        return SimpleNamespace(value=values[name])


def lay_down(child, parent):
    """Return a TFMessage: the child lies half a metre above the parent and looks down."""
    half_turn = SimpleNamespace(x=1.0, y=0.0, z=0.0, w=0.0)
    transform = SimpleNamespace(
        header=SimpleNamespace(frame_id=parent, stamp=SimpleNamespace(sec=0, nanosec=0)),
        child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(x=0.0, y=0.0, z=0.5), rotation=half_turn
        ),
    )
    return SimpleNamespace(transforms=[transform])


def publish_in(monkeypatch, target_frame, *static):
    """Publish an object 2 m in front of the camera; return Detection3DArrays and complaints."""
    said = []
    tf2 = SimpleNamespace(TFMessage=object)
    monkeypatch.setitem(sys.modules, "tf2_msgs", SimpleNamespace(msg=tf2))
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", tf2)
    node = Subscribing(target_frame)
    topics = object_topics.ObjectTopics(
        node, CameraRecord("", Statistics(), ProblemLog(said.append))
    )
    topics.subscribe(InputWatch(0.0), lambda _: None)
    for message in static:
        node.callbacks["/tf_static"](message)
    topics.publish(Frame(0, 1, 0.0, IMAGE), make_answer(), lambda: PIXELS, SameoParameters())
    return node, said


def test_objects_are_given_in_the_target_frame(monkeypatch):
    node, said = publish_in(monkeypatch, "base", lay_down("optical", "base"))
    assert said == []
    assert node.latched == {"/tf_static"}
    (objects,) = node.publishers["objects"].published
    assert objects.header.frame_id == "base"
    # 2 m below a camera that hangs at 0.5 m.
    assert objects.detections[0].bbox.center.position.z == pytest.approx(-1.5, abs=0.01)


def test_a_listener_to_points_of_no_object_hears_what_to_set(monkeypatch):
    node, said = publish_in(monkeypatch, "")
    assert said == []
    assert node.publishers["points"].published == []
    assert node.notes == ["~/points is silent: set points_of to an object, or to all"]


def test_a_target_frame_that_is_not_known_is_named_and_nothing_is_given(monkeypatch):
    node, said = publish_in(monkeypatch, "base", lay_down("other", "base"))
    assert node.publishers["objects"].published == []
    assert ["target_frame base is not connected with optical" in one for one in said] == [True]


def depth_image(seconds):
    image = Image(height=32, width=32, encoding="16UC1", step=64, data=bytes(32 * 64))
    image.header.stamp.sec = seconds
    return image


def publish_without_depth(stamp_s, *depth_s):
    """Publish an object of an image after depth of other stamps; return the complaints."""
    said = []
    node = Subscribing("")
    topics = object_topics.ObjectTopics(
        node, CameraRecord("", Statistics(), ProblemLog(said.append))
    )
    topics.subscribe(InputWatch(0.0), lambda _: None)
    for seconds in depth_s:
        node.callbacks["depth"](depth_image(seconds))
    frame, answer = Frame(stamp_s * 10**9, 1, 0.0, IMAGE), make_answer()
    answer = dataclasses.replace(answer, depth=None)
    topics.publish(frame, answer, lambda: PIXELS, SameoParameters())
    return said


def test_depth_that_is_not_kept_any_more_is_named():
    # Kept for max_age_s, 2 s, and 1 s.
    (sentence,) = publish_without_depth(1, 1, 2, 3, 4, 5)
    assert "not kept any more: it is kept for 3 s" in sentence
    (sentence,) = publish_without_depth(1, 2, 3)
    assert "1000 ms ahead of the image" in sentence


def test_depth_that_comes_after_its_boxes_are_answered_is_named_though_other_depth_is_used():
    said, noted = [], []
    node = Subscribing("")
    topics = object_topics.ObjectTopics(
        node, CameraRecord("", Statistics(), ProblemLog(said.append))
    )
    topics.subscribe(InputWatch(0.0), noted.append)
    node.callbacks["camera_info"](INFO)
    settings = SameoParameters(depth_tolerance_s=1.5)
    for seconds in (1, 2, 3):
        frame = Frame(seconds * 10**9, 1, 0.0, IMAGE)
        answer = dataclasses.replace(
            make_answer(), depth=topics.read_depth(frame, (32, 32), settings)
        )
        topics.publish(frame, answer, lambda: PIXELS, settings)
        node.callbacks["depth"](depth_image(seconds))
    assert len(node.publishers["objects"].published) == 2
    assert noted == [10**9, 2 * 10**9, 3 * 10**9]
    assert ["raise max_wait_s" in one for one in said] == [True]


def test_without_a_target_frame_nothing_listens_to_transforms(monkeypatch):
    node, said = publish_in(monkeypatch, "")
    assert said == []
    assert set(node.callbacks) == {"depth", "camera_info"}
    (objects,) = node.publishers["objects"].published
    assert objects.header.frame_id == "optical"


def test_a_target_frame_without_tf2_msgs_says_what_to_install(monkeypatch):
    said = []
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", None)
    node = Subscribing("base")
    topics = object_topics.ObjectTopics(
        node, CameraRecord("", Statistics(), ProblemLog(said.append))
    )
    topics.subscribe(InputWatch(0.0), lambda _: None)
    assert ["install it" in one for one in said] == [True]
