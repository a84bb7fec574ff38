import re

import pytest

from sameo_ros.core.camera import CameraRecord, count_drops
from sameo_ros.core.frame_cache import Drop, DropCause, Loss
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.statistics import Statistics


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        (Drop(DropCause.UNMATCHED, 7), "no usable image of that stamp came within max_wait_s, 0.5"),
        (Drop(DropCause.LATE, 7, Loss.AGE, 3.5), "3.5 s after their image, .* raise max_age_s"),
        (
            Drop(DropCause.LATE, 7, Loss.JUMP, 0.1),
            "dropped when the stamps of images went backwards",
        ),
        (Drop(DropCause.LATE, 7, Loss.MEMORY, 1.0), "because 512 MiB of images were waiting"),
    ],
    ids=["unmatched", "late", "jump", "memory"],
)
def test_boxes_that_are_dropped_have_their_reason(drop, words):
    said = []
    record = CameraRecord("", Statistics(), ProblemLog(said.append))
    count_drops(record, [drop], SameoParameters())
    (sentence,) = said
    assert sentence.startswith("boxes of stamp 7 ns are dropped: ")
    assert re.search(words, sentence)
    assert record.statistics[drop.cause.value] == 1


@pytest.mark.parametrize(
    "drop",
    [
        Drop(DropCause.LATE, 7),
        Drop(DropCause.SUPERSEDED, 7),
        Drop(DropCause.UNMATCHED, 7, is_early=True),
    ],
    ids=["the node stopped", "newer ones", "before the first image"],
)
def test_drops_that_are_no_fault_are_counted_alone(drop):
    said = []
    record = CameraRecord("", Statistics(), ProblemLog(said.append))
    count_drops(record, [drop], SameoParameters())
    assert (said, record.statistics[drop.cause.value]) == ([], 1)
