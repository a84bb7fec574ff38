"""Measure how soon the node names what is wrong with its inputs.

    python -m benchmarks.node_faults        # the faults of tests/sameo_ros/faulty_cameras, a minute

The cameras send 10 images a second. A fault begins when the node is active and the camera does what
is wrong for the first time. Counted are the messages on /diagnostics, one a second, from then on up
to the first that names the cause: 1 is the first message after the fault began. Exit status 1 if
one takes more than two.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.own_domain import take_own_domain

CAMERA_PERIOD_S = 0.1
MAX_PERIODS = 2
WAIT_S = 30.0


def measure(names: tuple[str, ...], model: Path, folder: Path) -> dict[str, int | None]:
    """Return the number of periods until the cause is named, by camera; None if it never is."""
    from tests.sameo_ros.faulty_cameras import FAULTS, FaultBench, parameters_for, says
    from tests.sameo_ros.node_bench import start_node

    process = start_node(folder, model, **parameters_for(names))
    bench = FaultBench(names, CAMERA_PERIOD_S)
    faulty = [one for one in bench.cameras if one.fault.kind]
    begun: dict[str, int] = {}
    periods: dict[str, int | None] = dict.fromkeys(one.name for one in faulty)
    deadline_s = time.monotonic() + WAIT_S
    try:
        while time.monotonic() < deadline_s and not all(periods.values()):
            bench.step()
            for camera in faulty:
                name, statuses = camera.name, bench.statuses[camera.name]
                if camera.has_begun:
                    begun.setdefault(name, len(statuses))
                seen = [
                    one for one in statuses[begun.get(name, len(statuses)) :] if _is_active(one)
                ]
                named = (i for i, one in enumerate(seen, 1) if says(one, FAULTS[name]))
                periods[name] = next(named, None)
        return periods
    finally:
        bench.close()
        process.stop()


def _is_active(status: Any) -> bool:
    return any(pair.key == "state" and pair.value == "active" for pair in status.values)


def main() -> int:
    """Measure all faults, print a table, return the exit status."""
    take_own_domain()
    from tests.bundles import make_tiny_bundle
    from tests.sameo_ros.faulty_cameras import GROUPS

    periods: dict[str, int | None] = {}
    with tempfile.TemporaryDirectory() as scratch:
        model = make_tiny_bundle(Path(scratch) / "tiny")
        for names in GROUPS:
            periods |= measure(names, model, Path(scratch))
    print("| fault | named within (periods) |\n| --- | --- |")
    for name, number in sorted(periods.items(), key=lambda item: item[1] or 99):
        print(f"| {name} | {number or f'not within {WAIT_S:.0f} s'} |")
    return 0 if all(number and number <= MAX_PERIODS for number in periods.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
