import pytest

from sameo_ros.core.input_watch import InputWatch
from sameo_ros.core.pairing_causes import explain_pairing, format_duration
from sameo_ros.core.settings import SameoParameters

S = 1_000_000_000
NOW_S = 100.0
PERIOD_S = 0.1


def explain(
    *,
    sent,
    received=lambda i: True,
    image_stamp=lambda ns: ns,
    stamp=lambda ns: ns,
    detected=lambda i: True,
    times=1,
    **values,
):
    """A 10 Hz camera whose detector answers at once; images i from 0 to `sent`, ending now."""
    watch = InputWatch(0.0)
    for i in range(sent):
        now_s = NOW_S - PERIOD_S * (sent - i)
        stamp_ns = 5000 * S + i * S // 10
        if received(i):
            watch.note_image(image_stamp(stamp_ns), now_s, 0.0)
        for k in range(times if detected(i) else 0):
            watch.note_boxes(stamp(stamp_ns) + k * S // 30, now_s + 0.01 + k / 30)
    settings = SameoParameters(**values)
    return explain_pairing(
        watch, settings, NOW_S, image_topic="/cam", transport="raise net.core.rmem_max (now 1)"
    )


@pytest.mark.parametrize(
    "given",
    [
        {"sent": 0},
        {"sent": 50},
        {"sent": 50, "detected": lambda i: i % 3 == 0},  # slower than the camera
        {"sent": 50, "received": lambda i: i != 30},  # one image lost of twenty
        {"sent": 2, "received": lambda i: False},  # too early to tell
        {"sent": 50, "stamp": lambda ns: ns + 2_000_000, "stamp_tolerance_s": 0.005},
    ],
    ids=["nothing", "all", "slow detector", "one lost", "start", "tolerance"],
)
def test_boxes_that_find_their_images_need_no_explanation(given):
    assert explain(**given) == {}


@pytest.mark.parametrize(
    ("received", "found", "came"),
    [(lambda i: False, 0, 0), (lambda i: i % 3 == 0, 6, 8), (lambda i: i % 3 > 0, 14, 16)],
    ids=["all lost", "two thirds lost", "a third lost"],
)
def test_images_lost_on_the_way_are_told_from_wrong_stamps(received, found, came):
    # Boxes 25 to 44 are the last 20 that have waited long enough; images count from 21 on.
    causes = explain(sent=50, received=received)
    assert list(causes) == ["images_lost"]
    assert f"{found} found their image" in causes["images_lost"]
    assert f"{came} images came" in causes["images_lost"]
    assert "net.core.rmem_max (now 1)" in causes["images_lost"]
    assert "qos_overrides./cam.subscription.reliability:=reliable" in causes["images_lost"]


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        (lambda ns: 0, "leaves header.stamp at zero"),
        (lambda ns: ns + 40_000_000, "about 40 ms from the nearest image"),
        # Seconds as float64: near 1.7e9 s they are 238 ns apart.
        (lambda ns: ns + 238, "0.000238 ms from the nearest image: they were rounded on the way"),
        (lambda ns: ns + 238, "set stamp_tolerance_s to 0.001"),
        (lambda ns: ns + 86_400 * 3 * S, "3 days ahead of the nearest image"),
        (lambda ns: ns % (100 * S) + S, "clock of its own"),
    ],
    ids=["zero", "anew", "rounded", "tolerance", "epoch", "since boot"],
)
def test_a_detector_with_stamps_of_its_own_is_named(stamp, words):
    causes = explain(sent=50, stamp=stamp)
    assert list(causes) == ["detector_stamps"]
    assert words in causes["detector_stamps"]


@pytest.mark.parametrize(("constant_ns", "words"), [(0, "stay at zero"), (7, "stay at 7 ns")])
def test_images_whose_stamps_stand_still_are_not_called_lost(constant_ns, words):
    causes = explain(sent=50, image_stamp=lambda ns: constant_ns)
    assert list(causes) == ["image_stamps"]
    assert f"{words} (the last 50 images)" in causes["image_stamps"]


def test_several_messages_for_each_of_evenly_spaced_images_are_the_detectors():
    several = "the detector sends several messages for each image, or images are lost"
    assert explain(sent=50, times=3)["images_lost"].startswith(several)
    # The same where images are missing here and there, or all of them.
    for received in (lambda i: i % 3 > 0, lambda i: False):
        causes = explain(sent=50, times=3, received=received)
        assert causes["images_lost"].startswith("images are lost in transport")


def test_several_messages_per_image_none_of_which_fits_have_stamps_of_their_own():
    causes = explain(sent=50, times=3, stamp=lambda ns: ns + 15_000_000)
    assert list(causes) == ["detector_stamps"]


def test_zero_stamps_are_fine_where_those_of_the_images_are_zero_too():
    watch = InputWatch(0.0)
    for i in range(10):
        watch.note_image(0, NOW_S - i, 0.0)
        watch.note_boxes(0, NOW_S - i)
    assert explain_pairing(watch, SameoParameters(), NOW_S, image_topic="", transport="") == {}


def test_what_was_wrong_long_ago_is_forgotten():
    watch = InputWatch(0.0)
    for i in range(10):
        watch.note_boxes(i + 1, NOW_S - 20)
    assert explain_pairing(watch, SameoParameters(), NOW_S, image_topic="", transport="") == {}


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(0.04, "40 ms"), (0.5, "0.5 s"), (90, "90.0 s"), (150, "2 minutes"), (7200, "2 hours")],
)
def test_durations_have_the_unit_that_suits_them(duration_s, text):
    assert format_duration(duration_s) == text


def test_boxes_of_images_from_before_the_start_tell_nothing():
    watch = InputWatch(0.0)
    for i in range(40):  # the detector is 20 images, two seconds, behind
        if i >= 20:
            watch.note_image(100 * S + i * S // 10, NOW_S - PERIOD_S * (40 - i), 0.0)
        watch.note_boxes(100 * S + (i - 20) * S // 10, NOW_S - PERIOD_S * (40 - i) + 0.01)
    assert explain_pairing(watch, SameoParameters(), NOW_S, image_topic="", transport="") == {}
