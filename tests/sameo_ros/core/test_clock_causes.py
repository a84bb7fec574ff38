import pytest

from sameo_ros.core.clock_causes import explain_clock, is_plausible

S = 1_000_000_000
DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("transit_s", "stamp_ns", "now_ns", "use_sim_time", "words"),
    [
        (None, 0, 0, True, "no /clock has come"),
        (-5.0, 5 * S, 0, True, "no /clock has come"),
        (1e9, 0, 10**18, False, "image stamps are zero: only boxes of stamp zero find an image"),
        (3 * DAY_S, S, 10**18, False, "3 days behind the node's clock"),
        (3 * DAY_S, S, 10**18, False, "use_sim_time:=true"),
        (-7.0, S, 10**18, False, "7.0 s ahead of the node's clock"),
        (60.0, S, 100 * S, True, "not that of the camera"),
    ],
)
def test_each_fault_of_a_clock_is_named(transit_s, stamp_ns, now_ns, use_sim_time, words):
    assert words in explain_clock(transit_s, stamp_ns, now_ns, use_sim_time=use_sim_time)


@pytest.mark.parametrize("transit_s", [None, -0.1, 0.0, 0.02, 3.0])
def test_a_clock_that_fits_needs_no_explanation(transit_s):
    assert explain_clock(transit_s, S, 10**18, use_sim_time=False) == ""


@pytest.mark.parametrize(
    ("transit_s", "stamp_ns", "plausible"),
    [(0.02, S, True), (0.02, 0, False), (-2.0, S, False), (DAY_S, S, False)],
)
def test_ages_are_told_only_where_the_clock_fits(transit_s, stamp_ns, plausible):
    assert is_plausible(transit_s, stamp_ns) is plausible
