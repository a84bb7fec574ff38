import pytest

from sameo_ros.core.detector_rhythm import DetectorRhythm


def simulate(pairs):
    rhythm = DetectorRhythm()
    for answered, newest in pairs:
        rhythm.observe(answered, newest)
    return rhythm


def test_before_any_boxes_nothing_is_predicted():
    rhythm = DetectorRhythm()
    assert rhythm.is_silent
    assert not rhythm.is_known
    assert rhythm.predict() == []


def test_two_boxes_are_not_enough_to_know_the_rhythm():
    rhythm = simulate([(1, 1), (2, 2), (3, 3)])
    assert not rhythm.is_silent
    assert not rhythm.is_known


@pytest.mark.parametrize(
    ("pairs", "predicted"),
    [
        # Faster than the camera: boxes of frame n come before frame n + 1.
        ([(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)], [6]),
        # Takes the newest frame when it is free: three frames pass meanwhile.
        ([(1, 4), (4, 7), (7, 10), (10, 13), (13, 16)], [16]),
        # Works in a pipeline: every frame is answered, six frames late.
        ([(1, 7), (2, 8), (3, 9), (4, 10), (5, 11)], [6]),
        # Looks at every tenth frame.
        ([(10, 11), (20, 21), (30, 31), (40, 41), (50, 51)], [60]),
    ],
    ids=["fast", "newest when free", "pipeline", "every tenth"],
)
def test_the_next_frame_follows_from_the_way_the_detector_works(pairs, predicted):
    rhythm = simulate(pairs)
    assert rhythm.is_known
    assert rhythm.predict() == predicted


def test_a_detector_that_takes_now_this_frame_and_now_the_next_has_two_candidates():
    # Distances 0, 0, 1, 0, 1, 0, 0, 1: five times 0, three times 1; the anchor is 30.
    newest = [0, 3, 6, 9, 12, 15, 18, 21, 30]
    answered = [0, 0, 3, 7, 9, 13, 15, 18, 22]
    rhythm = simulate(list(zip(answered, newest, strict=True)))
    assert rhythm.predict() == [30, 31]


def test_a_detector_without_a_rhythm_is_not_known():
    rhythm = simulate([(0, 0), (5, 5), (7, 9), (20, 22), (21, 30), (40, 41), (47, 50), (65, 66)])
    assert not rhythm.is_known
    assert rhythm.predict() == []


def test_an_old_rhythm_is_forgotten():
    pairs = [(n, n) for n in range(1, 10)] + [(10 + 3 * n, 13 + 3 * n) for n in range(9)]
    assert simulate(pairs).predict() == [37]  # the last anchor is 13 + 3 * 8 = 37
