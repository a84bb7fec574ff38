"""A tool whose package is missing names it."""

import os
import subprocess
import sys

import pytest

from tests.sameo_ros.processes import ROOT


@pytest.mark.parametrize(
    ("tool", "module", "package"),
    [
        ("bag", "rosbags", "rosbags"),
        pytest.param("view", "foxglove", "foxglove-sdk", marks=pytest.mark.ros),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path, tool, module, package
):
    # As where it is not installed: it cannot be found, and importing it fails.
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{module!r}] = None")
    done = subprocess.run(
        [sys.executable, "-m", f"sameo_ros.{tool}", *(["IN", "OUT"] if tool == "bag" else [])],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tool}: the package {package} is missing; run `pip install ")
    assert "Traceback" not in done.stderr


def test_the_guide_names_the_packages_beside_the_tools():
    lines = (ROOT / "docs" / "node.md").read_text().splitlines()
    for tool, package in (("bag", "rosbags"), ("view", "foxglove-sdk")):
        shown = [line for line in lines if f"sameo_ros.{tool}" in line]
        assert any(f"pip install {package}" in line for line in shown)
