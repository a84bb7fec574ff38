"""The cache with camera, detector and worker on a simulated clock of whole milliseconds."""

from types import SimpleNamespace

import numpy as np
import pytest

from sameo_ros.core.frame_cache import FrameCache
from sameo_ros.core.settings import SameoParameters

MS = 1_000_000
CAMERA_30_HZ = 33


class Simulation:
    """A camera, a detector that takes the newest frame when it is free, and one worker."""

    def __init__(self, mode, *, camera_ms, detector_ms, encode_ms, decode_ms, is_silent=None):
        self.settings = SameoParameters(
            max_age_s=2.0, max_wait_s=0.5, cache_frames=4, encode_ahead=mode
        )
        self.drops, self.latencies_ms, self.encoded_at, self.num_boxes = [], [], [], 0
        self.cache = FrameCache()
        self.camera_ms, self.detector_ms = camera_ms, detector_ms
        self.encode_ms, self.decode_ms = encode_ms, decode_ms
        self.is_silent = is_silent or (lambda now: False)
        self.newest = self.detecting = None
        self.job, self.busy_until = None, 0

    def run(self, duration_ms):
        for now in range(duration_ms):
            if now % self.camera_ms == 0:
                self.newest = now
                message = SimpleNamespace(data=b"")
                self.cache.add_image(now * MS, message, now / 1000, self.settings)
            self.detect(now)
            if now >= self.busy_until:
                self.work(now)
        self.drops = [drop.cause.value for drop in self.cache.take_drops()]
        return self

    def detect(self, now):
        if self.detecting is not None and now >= self.detecting[1]:
            self.num_boxes += 1
            self.cache.add_boxes(self.detecting[0] * MS, None, now / 1000, self.settings)
            self.detecting = None
        if self.detecting is None and self.newest is not None and not self.is_silent(now):
            self.detecting = self.newest, now + self.detector_ms

    def work(self, now):
        """Finish the job in hand and begin the next: boxes first, then encoding ahead."""
        if self.job is not None:
            frame, boxes = self.job
            frame.embedding = "embedding"
            self.cache.trim(self.settings)
            if boxes is not None:
                self.latencies_ms.append(now - frame.stamp_ns // MS)
            self.job = None
        ready = self.cache.take_ready(now / 1000, self.settings)
        frame = ready[0] if ready else self.cache.find_ahead(now / 1000, self.settings)
        if frame is None:
            return
        self.job = (frame, ready[1] if ready else None)
        self.busy_until = now + (self.decode_ms if ready else 0)
        if frame.embedding is None:
            self.busy_until += self.encode_ms
            self.encoded_at.append(now)


@pytest.mark.parametrize("mode", ["on", "off", "auto"])
def test_a_30_hz_camera_with_a_100_ms_detector_does_not_starve(mode):
    run = Simulation(mode, camera_ms=CAMERA_30_HZ, detector_ms=100, encode_ms=25, decode_ms=50).run(
        10_000
    )
    assert run.num_boxes == 99
    assert run.drops == []
    assert len(run.latencies_ms) >= 98
    # At most a frame's age, the detector, an encoding in hand, and the frame's own.
    assert max(run.latencies_ms) <= 33 + 100 + 25 + 25 + 50


@pytest.mark.parametrize(
    ("mode", "camera_ms", "encode_ms"),
    [
        ("auto", CAMERA_30_HZ, 20),
        ("auto", CAMERA_30_HZ, 60),
        ("auto", 200, 100),
        ("on", 200, 20),
        ("on", 200, 100),
    ],
)
def test_encoding_ahead_hides_the_encoder_behind_the_detector(mode, camera_ms, encode_ms):
    def latency_ms(mode):
        times = {"detector_ms": 100, "encode_ms": encode_ms, "decode_ms": 30}
        run = Simulation(mode, camera_ms=camera_ms, **times).run(10_000)
        assert run.drops == []
        return np.median(run.latencies_ms[10:])

    # All that an encoder of up to 100 ms takes fits into the detector's 100 ms; a frame in which
    # the worker still decodes delays the start, and so 80 % of it is what is asked for.
    assert latency_ms("off") - latency_ms(mode) >= 0.8 * min(encode_ms, 100)


@pytest.mark.parametrize("mode", ["on", "off", "auto"])
def test_a_worker_that_is_too_slow_answers_newest_boxes_at_its_own_rate(mode):
    run = Simulation(mode, camera_ms=CAMERA_30_HZ, detector_ms=20, encode_ms=50, decode_ms=200).run(
        10_000
    )
    assert len(run.latencies_ms) >= 10_000 // (200 + 50) - 1
    assert set(run.drops) == {"dropped_superseded"}
    # The boxes that waited while one answer was drawn are the oldest that are answered.
    assert max(run.latencies_ms) <= 33 + 20 + 2 * (200 + 50)


def test_a_detector_that_is_faster_than_the_camera_gets_an_answer_each_time():
    run = Simulation("auto", camera_ms=200, detector_ms=50, encode_ms=10, decode_ms=20).run(5000)
    assert run.num_boxes == 99
    assert run.drops == []
    assert len(run.latencies_ms) >= 98
    assert len(run.encoded_at) == 25  # each image once


def test_a_silent_detector_costs_no_encoding_and_a_restarted_one_is_answered():
    run = Simulation(
        "auto", camera_ms=CAMERA_30_HZ, detector_ms=100, encode_ms=25, decode_ms=50,
        is_silent=lambda now: 3000 <= now < 6000,
    ).run(9000)  # fmt: skip
    assert not [at for at in run.encoded_at if 3200 <= at < 6000]
    assert run.drops == []
    assert len(run.latencies_ms) >= run.num_boxes - 1
    assert run.num_boxes >= 58
    # It has found its rhythm again: one encoding for each message of boxes.
    assert len([at for at in run.encoded_at if at >= 7500]) <= 16
    assert max(run.latencies_ms[-10:]) <= 33 + 100 + 50
