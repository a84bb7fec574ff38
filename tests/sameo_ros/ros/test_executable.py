"""How signals end the executables."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from tests.bundles import make_tiny_bundle  # noqa: E402
from tests.sameo_ros.node_bench import Client, NodeProcess, boxes_for, start_node  # noqa: E402
from tests.sameo_ros.processes import ROOT  # noqa: E402

INTERRUPTED = """
import os, signal, time
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sameo_ros.ros.executable import ros_until_signal

with ros_until_signal():
    executor = SingleThreadedExecutor()
    executor.add_node(rclpy.create_node("interrupted"))
    os.kill(os.getpid(), signal.{name})
    while rclpy.ok():
        time.sleep(0.01)
    print("the block goes on")
    {then}
print("and ends")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("then", ["executor.spin_once()", "pass"])
def test_a_signal_ends_ros_and_breaks_into_nothing(name, then):
    code = INTERRUPTED.format(name=name, then=then)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["the block goes on", "and ends"]


def test_a_signal_while_ros_starts_ends_it_as_one_after_does():
    code = (
        "import os, signal, rclpy; from sameo_ros.ros.executable import ros_until_signal\n"
        "start = rclpy.init\n"
        "rclpy.init = lambda: (os.kill(os.getpid(), signal.SIGINT), start())\n"
        "with ros_until_signal():\n    while rclpy.ok(): pass\n    print('ended')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


@pytest.mark.parametrize(
    "module", ["node", "build_engines", "replay", "recorder", "view", "bag", "demo"]
)
def test_an_interrupt_during_the_imports_ends_without_output(tmp_path, module):
    started = tmp_path / "started"
    slow = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(60)"
    (tmp_path / "numpy.py").write_text(slow)
    process = subprocess.Popen(
        [sys.executable, "-m", f"sameo_ros.{module}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while not started.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=30)[0]
    finally:
        process.kill()
    assert text == ""
    assert process.returncode == -signal.SIGINT


def test_an_exception_while_ros_runs_is_not_hidden():
    code = "from sameo_ros.ros.executable import *\nwith ros_until_signal(): 1 / 0"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_a_node_that_still_loads_its_model_ends_quietly(tmp_path):
    # Nothing is compiled yet, so that OpenVINO is at it for seconds.
    process = start_node(tmp_path, "sameo_lite", backend="openvino", cache_dir=tmp_path / "cache")
    # The folder is made before the first graph is compiled. DDS may say that the node loads when it
    # has loaded already.
    deadline_s = time.monotonic() + 30
    while not (tmp_path / "cache").is_dir() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert (tmp_path / "cache").is_dir(), process.text()
    assert process.stop() == 0, process.text()
    assert "Traceback" not in process.text()


def test_an_interrupted_recorder_has_written_what_came(tmp_path):
    output = tmp_path / "out"
    node = start_node(tmp_path, make_tiny_bundle(tmp_path / "tiny"))
    recorder = NodeProcess(tmp_path, "recorder", "--output", str(output), "--count", "99")
    client = Client()

    def send():
        image = client.image()
        boxes = boxes_for(image, (16, 16, 48, 48))
        boxes.detections[0].id = "mugs#0"
        client.send(image, boxes)
        client.spin(0.1)

    try:
        client.until_active()
        client.until(lambda: send() or (output / "mugs.png").is_file())
    finally:
        client.close()
        node.stop()
    assert recorder.stop() == 130, recorder.text()
    assert [one["image"] for one in json.loads((output / "masks.json").read_text())] == ["mugs"]
