"""Workers end with the process that started them, whatever it was making."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sameo_model.synthesis.fabricate_cutouts import write_cutouts

PREPARING = """
import multiprocessing, time
from sameo_model.synthesis.mesh_library import _run_apart

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sameo_model.synthesis.mesh_library"])
    _run_apart(context, time.sleep, 600)
"""


def descendants(number):
    """Return the processes that a process has started, and theirs."""
    try:
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except OSError:
        return set()
    found = {int(child) for child in children}
    return found.union(*(descendants(child) for child in found))


def is_running(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_and_wait(command, has_begun):
    """Kill a command alone when it has begun; return once all that it started is gone."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 240
        while not has_begun(process.pid):
            assert process.poll() is None, "ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        started = descendants(process.pid)
        process.kill()
    assert started
    deadline = time.monotonic() + 60
    while running := [number for number in started if is_running(number)]:
        assert time.monotonic() < deadline, running
        time.sleep(0.05)


def test_workers_of_composites_end(tmp_path):
    output = tmp_path / "set"
    command = [sys.executable, "-m", "sameo_model.synthesize", "composites", "--workers", "2"]
    command += ["--cutouts", str(write_cutouts(tmp_path / "cutouts")), "--num-images", "100000"]
    command += ["--image-size", "64x64", "--output", str(output)]
    kill_and_wait(command, lambda _: any(output.glob("records/*.json")))


@pytest.mark.usefixtures("egl")
def test_workers_of_scenes_end(tmp_path):
    output = tmp_path / "set"
    command = [sys.executable, "-m", "sameo_model.synthesize", "scenes", "--workers", "2"]
    command += ["--scenes", "10000", "--views", "1", "--image-size", "64x64"]
    command += ["--output", str(output)]
    kill_and_wait(command, lambda _: any(output.glob("records/*.json")))


def test_processes_that_make_meshes_ready_end(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PREPARING)
    # The fork server, the tracker of resources and the sleeping process, the fork server's child.
    kill_and_wait([sys.executable, str(script)], lambda pid: len(descendants(pid)) >= 3)
