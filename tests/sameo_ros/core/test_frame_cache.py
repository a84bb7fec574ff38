from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sameo_ros.core.frame_cache import DropCause, FrameCache, Loss
from sameo_ros.core.settings import SameoParameters

MS = 1_000_000
SETTINGS = SameoParameters(
    max_age_s=1.0, max_wait_s=0.2, stamp_tolerance_s=0.0, cache_frames=2, encode_ahead="on"
)
SUPERSEDED, UNMATCHED, LATE = DropCause.SUPERSEDED, DropCause.UNMATCHED, DropCause.LATE


class Bench:
    """A cache whose stamps are milliseconds and whose drops are kept."""

    def __init__(self, **settings):
        self._drops = []
        self.settings = replace(SETTINGS, **settings)
        self.cache = FrameCache()

    @property
    def drops(self):
        self._drops += [(drop.cause, drop.stamp_ns // MS) for drop in self.cache.take_drops()]
        return self._drops

    def image(self, stamp_ms, now_s=0.0, num_bytes=1):
        message = SimpleNamespace(data=range(num_bytes))
        return self.cache.add_image(stamp_ms * MS, message, now_s, self.settings)

    def boxes(self, stamp_ms, now_s=0.0):
        self.cache.add_boxes(stamp_ms * MS, f"boxes {stamp_ms}", now_s, self.settings)

    def take(self, now_s=0.0):
        ready = self.cache.take_ready(now_s, self.settings)
        return None if ready is None else (ready[0].stamp_ns // MS, ready[1].stamp_ns // MS)

    def find_ahead(self, now_s=0.0):
        return self.cache.find_ahead(now_s, self.settings)

    def ahead(self, now_s=0.0):
        frame = self.find_ahead(now_s)
        return None if frame is None else frame.stamp_ns // MS

    def encode(self, now_s=0.0):
        self.find_ahead(now_s).embedding = "embedding"
        self.cache.trim(self.settings)

    def search(self, now_s=0.0):
        """The stamp of the frame that the detector gets, whose boxes are published at once."""
        frame = self.cache.take_unsearched(now_s, self.settings)
        if frame is None:
            return None
        self.cache.await_found(frame.stamp_ns, now_s)
        return frame.stamp_ns // MS

    def deadline_s(self):
        return self.cache.next_deadline_s(self.settings)


def test_boxes_wait_for_depth_of_their_image_where_that_of_an_earlier_one_came():
    bench = Bench()
    bench.image(1)
    bench.boxes(1)
    assert bench.take() == (1, 1)  # no depth has come yet
    bench.cache.add_depth(1 * MS)
    bench.image(2)
    bench.boxes(2, now_s=0.1)
    assert bench.take(now_s=0.15) is None
    assert bench.deadline_s() == pytest.approx(0.3)  # max_wait_s is 0.2
    bench.cache.add_depth(2 * MS)
    assert bench.take(now_s=0.16) == (2, 2)
    assert bench.drops == []


@pytest.mark.parametrize(
    ("depth_ms", "now_s"),
    [(1, 0.31), (3, 0.1), (0.5, 0.1), (None, 0.1)],
    ids=["waited long enough", "later depth", "depth of no image", "nobody wants depth"],
)
def test_boxes_do_not_wait_for_depth_in_vain(depth_ms, now_s):
    bench = Bench()
    bench.image(1)
    bench.image(2)
    bench.boxes(2, now_s=0.1)
    bench.cache.add_depth(1 * MS)
    bench.cache.add_depth(None if depth_ms is None else round(depth_ms * MS))
    assert bench.take(now_s) == (2, 2)


def test_boxes_of_older_images_do_not_wait_when_depth_of_a_newer_one_has_come():
    bench = Bench()
    for stamp_ms in (1, 2, 3):
        bench.image(stamp_ms)
    bench.cache.add_depth(1 * MS)
    bench.boxes(2)
    bench.boxes(3)
    assert bench.take() is None
    bench.cache.add_depth(3 * MS)
    assert bench.take() == (3, 3)
    assert bench.drops == [(SUPERSEDED, 2)]


@pytest.mark.parametrize(
    ("without_depth", "is_waiting"),
    [((2, 4, 6, 8), False), ((3, 6, 9), False), ((5,), True)],
    ids=["every second", "two of three", "one was lost"],
)
def test_boxes_wait_for_depth_only_where_it_comes_for_most_images(without_depth, is_waiting):
    bench = Bench()
    for stamp_ms in range(1, 11):
        bench.image(stamp_ms)
        if stamp_ms < 10 and stamp_ms not in without_depth:
            bench.cache.add_depth(stamp_ms * MS)
    bench.boxes(10)
    assert bench.take() == (None if is_waiting else (10, 10))


def test_the_detector_waits_until_the_boxes_that_it_found_have_come():
    bench = Bench()
    bench.image(1)
    assert bench.search() == 1
    bench.image(2)
    assert bench.search(0.1) is None
    bench.boxes(1, 0.1)
    assert bench.search(0.1) == 2


def test_boxes_that_are_lost_hold_up_the_detector_for_max_wait_s_alone():
    bench = Bench()
    bench.image(1)
    assert bench.search() == 1
    assert bench.deadline_s() == 0.2
    bench.image(2, 0.1)
    assert bench.search(0.2) == 2
    bench.image(1, 0.2)  # the recording begins again
    assert bench.search(0.2) == 1


def test_after_lost_boxes_there_is_nothing_to_wait_for():
    bench = Bench()
    bench.image(1)
    bench.search()
    assert bench.search(0.2) is None
    assert bench.deadline_s() is None


def test_boxes_get_the_image_of_their_stamp():
    bench = Bench()
    for stamp in (10, 20, 30):
        bench.image(stamp)
    bench.boxes(20)
    assert bench.take() == (20, 20)
    assert bench.take() is None
    assert bench.drops == []


def test_boxes_wait_for_an_image_that_comes_after_them():
    bench = Bench()
    bench.boxes(10, now_s=0.0)
    assert bench.take(now_s=0.1) is None
    bench.image(10, now_s=0.15)
    assert bench.take(now_s=0.15) == (10, 10)


def test_boxes_whose_image_does_not_come_are_dropped_after_max_wait():
    bench = Bench()
    bench.image(10)
    bench.boxes(11, now_s=1.0)
    assert bench.deadline_s() == pytest.approx(1.2)
    assert bench.take(now_s=1.19) is None
    assert bench.drops == []
    assert bench.take(now_s=1.2) is None
    assert bench.drops == [(UNMATCHED, 11)]
    assert bench.deadline_s() is None


def test_boxes_of_an_image_that_was_kept_once_are_late_at_once():
    bench = Bench()
    bench.image(10, now_s=0.0)
    bench.boxes(10, now_s=1.01)
    assert bench.drops == [(LATE, 10)]
    assert bench.take(now_s=1.01) is None


def test_an_image_is_kept_until_max_age():
    bench = Bench()
    bench.image(10, now_s=0.0)
    bench.boxes(10, now_s=0.99)
    assert bench.take(now_s=0.99) == (10, 10)


def test_an_image_with_waiting_boxes_outlives_max_age():
    bench = Bench()
    bench.image(10, now_s=0.0)
    bench.boxes(10, now_s=0.9)
    bench.image(20, now_s=3.0)
    assert bench.take(now_s=3.0) == (10, 10)


def test_the_newest_image_wins_and_the_others_are_superseded():
    bench = Bench()
    for stamp in (10, 20, 30):
        bench.image(stamp)
    for stamp in (30, 10, 20):
        bench.boxes(stamp)
    assert bench.take() == (30, 30)
    assert sorted(bench.drops, key=str) == [(SUPERSEDED, 10), (SUPERSEDED, 20)]


def test_boxes_without_an_image_do_not_push_out_those_with_one():
    bench = Bench()
    bench.image(10)
    bench.boxes(10)
    bench.boxes(20)
    assert bench.take() == (10, 10)
    bench.image(20)
    assert bench.take() == (20, 20)
    assert bench.drops == []


def test_boxes_of_the_same_stamp_replace_those_that_wait():
    bench = Bench()
    bench.image(10)
    bench.boxes(10)
    bench.boxes(10)
    assert bench.drops == [(SUPERSEDED, 10)]
    assert bench.take() == (10, 10)


def test_the_same_image_can_be_answered_twice():
    bench = Bench()
    bench.image(10)
    for _ in range(2):
        bench.boxes(10)
        assert bench.take() == (10, 10)


def test_too_many_waiting_boxes_push_out_the_oldest():
    bench = Bench()
    for stamp in range(33):
        bench.boxes(stamp)
    assert bench.drops == [(UNMATCHED, 0)]


@pytest.mark.parametrize(
    ("tolerance_s", "taken"), [(0.0, None), (0.004, None), (0.005, (20, 15)), (1.0, (20, 15))]
)
def test_a_tolerance_widens_the_match(tolerance_s, taken):
    bench = Bench(stamp_tolerance_s=tolerance_s)
    bench.image(20)
    bench.boxes(15)
    assert bench.take() == taken


def test_the_exact_image_is_awaited_before_a_near_one_is_taken():
    bench = Bench(stamp_tolerance_s=0.1)
    bench.image(10)
    bench.boxes(20)
    assert bench.take(now_s=0.1) is None  # image 20 may still come
    bench.image(20, now_s=0.1)
    assert bench.take(now_s=0.1) == (20, 20)


def test_a_near_image_is_taken_when_the_exact_one_does_not_come():
    bench = Bench(stamp_tolerance_s=0.1)
    bench.image(10)
    bench.boxes(20)
    assert bench.take(now_s=0.2) == (10, 20)
    assert bench.drops == []


def test_a_jump_back_in_time_forgets_the_frames_before_it():
    bench = Bench()
    assert not bench.image(10)
    assert not bench.image(20)
    bench.boxes(20)
    bench.boxes(5)
    assert bench.image(5)
    assert bench.drops == [(LATE, 20)]
    assert bench.take() == (5, 5)
    bench.boxes(20)  # of the run before: the image with that stamp is not shown any more
    assert bench.take(now_s=0.2) is None
    assert bench.drops == [(LATE, 20), (LATE, 20)]


def test_boxes_dropped_by_a_jump_back_have_that_as_their_reason():
    bench = Bench()
    for stamp_ms in (10, 20, 5):
        bench.image(stamp_ms)
        bench.boxes(20)  # two are superseded
    assert bench.take(now_s=0.2) is None
    *_, drop = bench.cache.take_drops()
    assert (drop.cause, drop.loss) == (LATE, Loss.JUMP)


def test_after_a_jump_back_boxes_wait_for_the_new_image_of_their_stamp():
    bench = Bench()
    for stamp_ms in (10, 20, 10):
        bench.image(stamp_ms)
    bench.boxes(20)
    bench.image(20)
    assert bench.take() == (20, 20)
    assert bench.drops == []


def test_a_loop_over_the_same_stamps_goes_on():
    bench = Bench()
    for _ in range(3):
        for stamp in (10, 20, 30):
            bench.image(stamp)
            bench.boxes(stamp)
            assert bench.take() == (stamp, stamp)
    assert bench.drops == []


def test_an_image_of_the_same_stamp_replaces_the_older_one():
    bench = Bench()
    bench.image(0)
    bench.encode()
    bench.image(0)
    assert bench.ahead() == 0  # the new one is not encoded yet


def test_the_latest_image_stays_for_calls_however_old_it_is():
    bench = Bench()
    bench.image(10, now_s=0.0)
    bench.boxes(10, now_s=50.0)
    assert bench.drops == [(LATE, 10)]
    assert bench.cache.latest.stamp_ns == 10 * MS


def test_encoding_ahead_takes_the_newest_image_once():
    bench = Bench()
    bench.image(10)
    bench.image(20)
    assert bench.ahead() == 20
    bench.encode()
    assert bench.ahead() is None


def test_encoding_ahead_can_be_switched_off():
    bench = Bench(encode_ahead="off")
    bench.image(10)
    assert bench.ahead() is None


def test_auto_encodes_nothing_before_boxes_have_come():
    bench = Bench(encode_ahead="auto")
    bench.image(10)
    assert bench.ahead() is None
    bench.boxes(10)
    bench.take()
    bench.image(20)
    assert bench.ahead() == 20


def test_auto_encodes_only_the_frames_that_a_slow_detector_takes():
    # 30 Hz camera, the detector takes the newest frame and needs three periods for it.
    bench = Bench(encode_ahead="auto")
    for number in range(30):
        bench.image(number)
        if number % 3 == 0 and number >= 3:
            bench.boxes(number - 3)
            assert bench.take() == (number - 3, number - 3)
        if number >= 15:
            # Boxes of 12 came with frame 15: the detector now works on 15, and so on.
            working_on = number - number % 3
            assert bench.ahead() == (working_on if number % 3 == 0 else None)
        if bench.find_ahead():
            bench.encode()


def test_only_the_newest_embeddings_are_kept():
    bench = Bench(cache_frames=2)
    frames = []
    for stamp in (10, 20, 30):
        bench.image(stamp)
        frames.append(bench.find_ahead())
        bench.encode()
    assert [frame.embedding for frame in frames] == [None, "embedding", "embedding"]


def test_a_frame_with_a_fault_is_neither_encoded_ahead_nor_taken_for_near_boxes():
    bench = Bench(stamp_tolerance_s=0.1)
    bench.image(20)
    bench.image(10 + 20)
    bench.cache.latest.fault = "its data are cut off"
    assert bench.ahead() is None
    bench.boxes(29)
    assert bench.take() == (20, 29)


def test_boxes_of_the_very_stamp_of_a_frame_with_a_fault_hear_of_it_at_once():
    bench = Bench()
    bench.image(10)
    bench.cache.latest.fault = "its data are cut off"
    bench.boxes(10)
    assert bench.take() == (10, 10)


def test_clearing_drops_what_waits():
    bench = Bench()
    bench.image(10)
    bench.boxes(10)
    bench.boxes(20)
    bench.cache.clear()
    assert bench.drops == [(LATE, 10), (LATE, 20)]
    assert bench.cache.latest is None
    assert bench.take() is None


def test_large_images_are_not_kept_beyond_half_a_gigabyte():
    bench = Bench()
    for stamp in range(20):
        bench.image(stamp, num_bytes=100 * 2**20)
    for stamp in range(20):
        bench.boxes(stamp)
    # 512 MiB hold five of them: 15 to 19 are left.
    drops = [drop for drop in bench.cache.take_drops() if drop.cause is LATE]
    assert [drop.stamp_ns // MS for drop in drops] == list(range(15))
    assert {drop.loss for drop in drops} == {Loss.MEMORY}


@pytest.mark.parametrize("tolerance_s", [0.0, 0.001])
def test_the_limit_of_memory_never_costs_a_frame_whose_boxes_wait(tolerance_s):
    bench = Bench(stamp_tolerance_s=tolerance_s)
    bench.image(10, num_bytes=400 * 2**20)
    bench.boxes(10 if tolerance_s == 0 else 11)
    for stamp in (20, 30):
        bench.image(stamp, num_bytes=400 * 2**20)
    assert bench.take()[0] == 10
    assert bench.drops == []


def test_decoded_pixels_count_as_memory_but_a_view_of_the_message_does_not():
    bench = Bench()
    bench.image(10, num_bytes=5)
    frame = bench.cache.latest
    frame.image_rgb = np.zeros((2, 2, 3), np.uint8)
    assert frame.num_bytes == 5 + 12
    frame.image_rgb = frame.image_rgb[:]
    assert frame.num_bytes == 5


def test_late_boxes_tell_how_far_they_are_behind_their_image():
    bench = Bench()
    bench.image(10, now_s=1.0)
    bench.boxes(10, now_s=4.5)
    (drop,) = bench.cache.take_drops()
    assert (drop.cause, drop.loss, drop.behind_s) == (LATE, Loss.AGE, 3.5)
    assert bench.cache.take_drops() == []


def test_boxes_near_an_image_that_was_kept_once_are_late_too():
    bench = Bench(stamp_tolerance_s=0.02)
    bench.image(10, now_s=0.0)
    bench.boxes(15, now_s=3.5)
    assert bench.take(3.7) is None
    (drop,) = bench.cache.take_drops()
    assert (drop.cause, drop.behind_s) == (LATE, 3.5)


@pytest.mark.parametrize(
    ("stamp_ms", "first_ms", "is_early"),
    [(15_000, 20_000, True), (9_000, 20_000, False), (20_001, 20_000, False), (9_000, None, True)],
    ids=["just before", "long before", "after", "no image"],
)
def test_unmatched_boxes_tell_whether_they_are_of_the_time_before_the_first_image(
    stamp_ms, first_ms, is_early
):
    bench = Bench()
    bench.boxes(stamp_ms, now_s=0.0)
    if first_ms is not None:
        bench.image(first_ms, now_s=0.1)
        bench.image(first_ms + 50, now_s=0.2)
    assert bench.take(now_s=0.3) is None
    (drop,) = bench.cache.take_drops()
    assert (drop.cause, drop.is_early) == (UNMATCHED, is_early)


def test_after_a_jump_back_another_image_is_the_first():
    bench = Bench()
    bench.image(20_000, now_s=0.0)
    bench.image(5_000, now_s=0.1)
    bench.boxes(4_000, now_s=0.1)
    assert bench.take(now_s=0.4) is None
    (drop,) = bench.cache.take_drops()
    assert drop.is_early


def test_settings_count_from_the_next_call_on():
    bench = Bench()
    bench.boxes(10)
    bench.settings = replace(SETTINGS, max_wait_s=5.0)
    assert bench.take(now_s=1.0) is None
    assert bench.drops == []
    assert bench.deadline_s() == 5.0


class Accounting(RuleBasedStateMachine):
    """Whatever comes in whatever order: received = answered + dropped + waiting."""

    def __init__(self):
        super().__init__()
        self.drops = Counter()
        self.received = self.answered = 0
        self.now_s = 0.0
        self.images = set()
        self.settings = replace(SETTINGS, stamp_tolerance_s=0.002)
        self.cache = FrameCache()

    @rule(stamp=st.integers(0, 20), wait_ms=st.integers(0, 500))
    def image(self, stamp, wait_ms):
        self.now_s += wait_ms * 1e-3
        self.images.add(stamp * MS)
        message = SimpleNamespace(data=b"")
        self.cache.add_image(stamp * MS, message, self.now_s, self.settings)

    @rule(stamp=st.integers(0, 20), wait_ms=st.integers(0, 500))
    def boxes(self, stamp, wait_ms):
        self.now_s += wait_ms * 1e-3
        self.received += 1
        self.cache.add_boxes(stamp * MS, None, self.now_s, self.settings)

    @rule(wait_ms=st.integers(0, 500))
    def take(self, wait_ms):
        self.now_s += wait_ms * 1e-3
        ready = self.cache.take_ready(self.now_s, self.settings)
        if ready is not None:
            frame, boxes = ready
            self.answered += 1
            assert frame.stamp_ns in self.images
            assert abs(frame.stamp_ns - boxes.stamp_ns) <= 2 * MS

    @rule()
    def encode(self):
        frame = self.cache.find_ahead(self.now_s, self.settings)
        if frame is not None:
            frame.embedding = "embedding"
        self.cache.trim(self.settings)

    @rule()
    def clear(self):
        self.cache.clear()

    @invariant()
    def every_boxes_message_is_accounted_for(self):
        self.drops.update(drop.cause for drop in self.cache.take_drops())
        assert self.received == self.answered + self.drops.total() + len(self.cache._waiting)


TestAccounting = Accounting.TestCase
