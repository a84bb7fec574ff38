"""Building engines before the node needs them; a double stands for the GPU alone."""

import logging
import subprocess
import sys

import pytest

from sameo_model.runtime.backends import cuda, engine_plan, tensorrt
from sameo_ros.core.settings import SameoParameters
from tests.bundles import add_tiny_detector, make_tiny_bundle
from tests.recording_gpu import RecordingGpu
from tests.sameo_ros.processes import ROOT

pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")
from sameo_ros.build_engines import build_engines

GRAPHS = {"image_encoder", "mask_decoder", "visible_decoder", "detector"}


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU for which "engines" are the paths of their graphs."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    gpus = []

    def open_gpu(_):
        gpus.append(RecordingGpu())
        return gpus[-1]

    monkeypatch.setattr(cuda, "unavailable_reason", lambda: None)
    monkeypatch.setattr(cuda, "open_gpu", open_gpu)
    monkeypatch.setattr(tensorrt, "check_against_reference", lambda *_: None)
    monkeypatch.setattr(engine_plan, "build_engine", lambda flavour, path, *_: str(path).encode())
    return gpus


def test_engines_are_built_into_the_folder_once_and_the_gpu_is_left(tmp_path, gpu, caplog):
    caplog.set_level(logging.INFO, "sameo_model")
    folder = tmp_path / "engines"
    parameters = SameoParameters(
        model=str(add_tiny_detector(make_tiny_bundle(tmp_path / "tiny"))), cache_dir=str(folder)
    )
    sentence = build_engines(parameters)
    assert sentence.startswith("the engines of tiny are ready for recording double, tensorrt-rtx")
    assert {path.name.split("-")[0] for path in folder.glob("*.engine")} == GRAPHS
    assert caplog.text.count("building the engine of") == len(GRAPHS)
    build_engines(parameters)
    assert caplog.text.count("building the engine of") == len(GRAPHS)
    assert [one.num_closed for one in gpu] == [1, 1]


def test_a_backend_without_engines_is_refused():
    with pytest.raises(ValueError, match=r"only backend tensorrt has engines .* got openvino"):
        build_engines(SameoParameters(backend="openvino"))


@pytest.mark.ros
def test_without_a_gpu_the_executable_says_so_and_fails(tmp_path):
    if cuda.unavailable_reason() is None:
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "sameo_ros.build_engines", "--ros-args", "-p", "threads:=0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.strip().startswith("sameo_build_engines: backend tensorrt cannot run here:")
    assert "Traceback" not in done.stderr
