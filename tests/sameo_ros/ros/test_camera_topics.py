"""What the topics of a camera cost when nobody listens; the node and its publishers are doubles."""

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
from sameo_ros.core.problem_log import ProblemLog  # noqa: E402
from sameo_ros.core.scene_depth import SceneDepth  # noqa: E402
from sameo_ros.core.settings import SameoParameters  # noqa: E402
from sameo_ros.core.statistics import Statistics  # noqa: E402
from sameo_ros.ros import camera_topics, object_topics  # noqa: E402


class Publisher:
    def __init__(self, num_subscribers):
        self.num_subscribers = num_subscribers
        self.published = []

    def get_subscription_count(self):
        return self.num_subscribers

    def publish(self, message):
        self.published.append(message)


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
    image = Image(height=32, width=32, encoding="rgb8", step=96, data=bytes(32 * 96))
    info = CameraInfo(height=32, width=32, k=[20.0, 0, 16, 0, 20, 16, 0, 0, 1])
    mask = MaskCrop(4, 4, np.ones((16, 16), bool))
    one = np.ones(1, np.float32)
    answer = Answer(
        (32, 32),
        DetectedBoxes(np.float32([[4, 4, 20, 20]]), ["mug"], one, ["id"]),
        [0],
        Prediction([mask], [mask], one, 0 * one),
        [[]],
        SceneDepth(np.full((32, 32), 2, np.float32), CameraModel.from_message(info)),
    )
    frame = Frame(0, 1, 0.0, image)
    topics.deliver(frame, answer, SameoParameters(points_of="id"))
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
