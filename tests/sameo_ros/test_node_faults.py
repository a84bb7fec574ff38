"""Every way in which nothing comes, with real nodes over DDS; each camera has one fault."""

import time

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from tests.sameo_ros.faulty_cameras import (  # noqa: E402
    BESIDES,
    FAULTS,
    GROUPS,
    FaultBench,
    parameters_for,
    problems_of,
    says,
    values_of,
)
from tests.sameo_ros.node_bench import start_node  # noqa: E402

WAIT_S = 60.0


def run_until_named(folder, model, names):
    """Return the latest status of each camera once all causes are named, or after a time."""
    process = start_node(folder, model, **parameters_for(names))
    bench = FaultBench(names)
    deadline_s = time.monotonic() + WAIT_S
    try:
        while time.monotonic() < deadline_s and not all(map(bench.is_named, names)):
            bench.step()
        return {name: seen[-1] for name, seen in bench.statuses.items() if seen}
    finally:
        bench.close()
        assert process.stop() == 0


def test_every_fault_has_a_group():
    assert {name for names in GROUPS for name in names} == set(FAULTS)


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: "+".join(names))
def test_the_cause_is_named_and_nothing_else(tmp_path, tiny, names):
    statuses = run_until_named(tmp_path, tiny, names)
    assert set(statuses) == set(names)
    for name, status in statuses.items():
        fault, problems = FAULTS[name], problems_of(status)
        assert says(status, fault), f"{name}: {status.level} {status.message}: {problems}"
        assert set(problems) <= {fault.kind, *BESIDES.get(name, ())}, f"{name}: {problems}"
        if fault.kind:
            assert status.message.startswith(problems[fault.kind]), f"{name}: {problems}"
    if "bag" in names:  # ages that nobody can tell are not told
        assert values_of(statuses["bag"])["age_ms_p50"] == "nan"
        assert values_of(statuses["well"])["age_ms_p50"] != "nan"
    if "well_3d" in names:  # what is missing is counted
        counts = {
            name: [int(values_of(status)[f"objects_{key}"]) for key in ("missing", "published")]
            for name, status in statuses.items()
        }
        assert counts["well_3d"][1] > 0
        assert all(counts[name][0] > 0 for name in ("no_depth", "late_depth"))
        assert all(counts[name][1] == 0 for name in ("no_depth", "late_depth"))
