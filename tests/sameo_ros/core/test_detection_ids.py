import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_ros.core.detection_ids import make_unique_ids


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        (["", "", ""], ["0", "1", "2"]),
        (["7", "7", "", "7"], ["7", "7#1", "2", "7#3"]),
        (["", "0"], ["0#0", "0"]),  # the detector's own id goes first
        (["a", "a", "a#1"], ["a", "a#1#1", "a#1"]),
        (["1", ""], ["1", "1#1"]),
    ],
    ids=["none", "different", "without", "equal", "taken", "taken by a made one", "own index"],
)
def test_every_detection_gets_a_name_of_its_own(ids, names):
    assert make_unique_ids(ids) == names


@given(st.lists(st.sampled_from(["", "0", "1", "1#1", "0#2", "#", "2#2", "a"]), max_size=8))
def test_names_are_different_and_keep_the_first_of_each_id(ids):
    names = make_unique_ids(ids)
    assert len(set(names)) == len(ids)
    assert all(names)
    for name in filter(None, set(ids)):
        assert names[ids.index(name)] == name
