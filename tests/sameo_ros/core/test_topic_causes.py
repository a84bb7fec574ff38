import pytest

from sameo_ros.core.input_watch import Arrivals
from sameo_ros.core.topic_causes import (
    Publisher,
    TopicView,
    explain_jumps,
    explain_repeats,
    explain_silence,
    is_silent,
)

IMAGE = "sensor_msgs/msg/Image"
CAMERA = Publisher("/camera", IMAGE)


def explain(*publishers, similar=(), other=None, arrived_s=(), now_s=10.0, grace_s=1.5):
    topic = TopicView("/image", "image", IMAGE, publishers, similar, other)
    arrivals = Arrivals(since_s=0.0)
    for time_s in arrived_s:
        arrivals.note(time_s)
    return explain_silence(topic, arrivals, now_s) if is_silent(arrivals, now_s, grace_s) else ""


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (
            explain(similar=("/cam/image_raw", "/other")),
            ["nobody publishes /image", "/cam/image_raw, /other", "-r image:=/cam/image_raw"],
        ),
        (
            explain(similar=("/depth",), other=("/image/compressed", "compressed")),
            ["but there is /image/compressed", "image_transport:=compressed"],
        ),
        (explain(), ["nobody publishes /image", "nor any topic of that type", "-r image:=..."]),
        (explain(CAMERA), ["/camera publishes /image", "no message has come for 10 s"]),
        (explain(CAMERA, arrived_s=(1, 2, 3)), ["stopped 7 s ago, after 3", "/camera"]),
        (explain(arrived_s=(1, 2, 3)), ["nobody publishes /image any more", "after 3"]),
        (
            explain(Publisher("/camera", "sensor_msgs/msg/CompressedImage")),
            ["as sensor_msgs/msg/CompressedImage", "image_transport:=compressed"],
        ),
        (
            explain(Publisher("/camera", IMAGE, is_latched=True)),
            ["once, before the node was there", "subscription.durability:=transient_local"],
        ),
        (
            explain(Publisher("/camera", IMAGE, is_latched=True), arrived_s=(1, 2, 3)),
            ["stopped 7 s ago"],
        ),
        (
            explain(Publisher("/camera", IMAGE, "reliability")),
            ["another reliability", "qos_overrides./image.subscription.reliability"],
        ),
    ],
    ids=[
        "renamed",
        "transport",
        "none",
        "silent",
        "stopped",
        "gone",
        "type",
        "latched",
        "latched stopped",
        "qos",
    ],
)
def test_each_cause_has_its_sentence_and_remedy(case, words):
    assert all(one in case for one in words), case


@pytest.mark.parametrize("now_s", [10.0, 11.4])
def test_a_topic_whose_messages_come_needs_no_explanation(now_s):
    assert explain(CAMERA, arrived_s=(9.8, 9.9, 10.0), now_s=now_s) == ""


def test_a_start_needs_none_within_the_grace():
    assert explain(now_s=1.5) == ""
    assert explain(now_s=1.6) != ""


def test_a_slow_detector_is_not_taken_for_a_stopped_one():
    slow = (0.0, 4.0, 8.0)  # three times the longest gap are 12 s
    assert explain(CAMERA, arrived_s=slow, now_s=19.9) == ""
    assert "stopped 12 s ago" in explain(CAMERA, arrived_s=slow, now_s=20.1)


def test_one_publisher_that_fits_is_enough_of_a_match():
    other = Publisher("/recorder", IMAGE, "durability")
    assert "no message has come" in explain(other, CAMERA)


@pytest.mark.parametrize(
    ("publishers", "number", "words"),
    [
        ((CAMERA, Publisher("/bag", IMAGE)), 2, "the images before are dropped"),
        (
            (CAMERA, Publisher("/bag", IMAGE)),
            3,
            "has 2 publishers (/bag, /camera); stop all but one",
        ),
        ((CAMERA, CAMERA), 3, "has 2 publishers (/camera); stop all but one"),
        ((CAMERA,), 3, "3 times of late: /camera must send /image in the order of stamps"),
    ],
    ids=["rare", "two nodes", "twice in a node", "one"],
)
def test_stamps_that_go_back_again_and_again_name_who_publishes_them(publishers, number, words):
    topic = TopicView("/image", "image", IMAGE, publishers)
    assert explain_jumps(topic, number).endswith(words)


def test_boxes_that_repeat_the_stamp_of_others_name_who_publishes_them():
    topic = TopicView("/boxes", "detections", "", (Publisher("/a", ""), Publisher("/b", "")))
    assert explain_repeats(topic, 2) == ""
    assert explain_repeats(topic, 3) == (
        "3 detection messages of late have the stamp of one before: /boxes has 2 publishers "
        "(/a, /b); stop all but one"
    )
