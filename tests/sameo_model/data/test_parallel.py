"""Work in several processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from sameo_model.data.parallel import chunked, default_workers, ordered_map


def square(number: int) -> int:
    if number == 99:
        raise ValueError("99 fails")
    return number * number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    # abs is importable in every process.
    assert list(ordered_map(abs, range(-20, 0), workers)) == list(range(20, 0, -1))


def test_jobs_are_not_drawn_far_ahead():
    drawn = []

    def jobs():
        for number in range(1000):
            drawn.append(number)
            yield number

    results = ordered_map(abs, jobs(), 2)
    next(results)
    assert len(drawn) <= 8
    results.close()


def test_a_partial_carries_its_arguments_into_the_processes():
    assert list(ordered_map(partial(pow, 2), range(5), 2)) == [1, 2, 4, 8, 16]


KILLED_PARENT = """
import os, time
from sameo_model.data.parallel import ordered_map

if __name__ == "__main__":
    results = ordered_map(os.getenv, iter(lambda: "HOME", ""), 2)
    for _ in range(9):
        next(results)
    children = open(f"/proc/self/task/{os.getpid()}/children").read()
    print(children, flush=True)
    time.sleep(60)
"""


def test_processes_end_when_their_parent_is_killed(tmp_path):
    # The jobs are endless, so that the pool is at work when the parent goes.
    script = tmp_path / "parent.py"
    script.write_text(KILLED_PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        children = [int(number) for number in process.stdout.readline().split()]
        process.kill()
    # Two workers, and multiprocessing's own tracker of resources.
    assert len(children) >= 2
    deadline = time.monotonic() + 30
    while running := [number for number in children if Path(f"/proc/{number}").exists()]:
        assert time.monotonic() < deadline, running
        time.sleep(0.05)


def test_an_error_in_a_job_reaches_the_caller():
    with pytest.raises(ValueError, match="99 fails"):
        list(ordered_map(square, [1, 99], 1))


def test_chunks_hold_everything_once():
    assert list(chunked(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunked([], 3)) == []


def test_there_is_at_least_one_worker():
    assert default_workers() >= 1
