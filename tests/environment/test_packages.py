"""Requirement files, and readable failures of pip."""

import re
import sys
import venv
from pathlib import Path

import pip
import pytest

from environment.setup.errors import SetupError
from environment.setup.packages import install_requirements, remove_other_distribution
from environment.setup.virtualenv import VirtualEnvironment

REQUIREMENTS = Path(__file__).resolve().parents[2] / "environment" / "requirements"


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda p: p.stem)
def test_every_requirement_is_pinned(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"-r [a-z]+\.txt|[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), line


def test_the_demo_needs_neither_torch_nor_a_renderer():
    names = {line.split("==")[0] for line in (REQUIREMENTS / "demo.txt").read_text().splitlines()}
    assert not names & {"torch", "mujoco", "tensorboard", "pytest"}


def add_wheel(environment, name: str, version: str) -> Path:
    """Install a package of one module, as pip records it; return the module's file."""
    stem = name.replace("-", "_")
    module = environment.site_packages / f"{stem}.py"
    module.write_text("")
    folder = environment.site_packages / f"{stem}-{version}.dist-info"
    folder.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(metadata)
    (folder / "INSTALLER").write_text("pip\n")
    files = (module.name, *(f"{folder.name}/{one}" for one in ("METADATA", "INSTALLER", "RECORD")))
    (folder / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    return module


def test_wheels_of_another_distribution_are_removed_together(tmp_path):
    environment = VirtualEnvironment(tmp_path / "environment")
    venv.create(environment.root, symlinks=True)
    (environment.site_packages / "pip").symlink_to(Path(pip.__file__).parent)
    names = {"ros-rclpy": "9.1.2", "ros-rcl": "10.1.3", "rosbags": "0.11.9"}
    modules = {name: add_wheel(environment, name, version) for name, version in names.items()}
    requirements = tmp_path / "ros.txt"
    for version, left in (("9.1.2", set(names)), ("7.1.6", {"rosbags"})):
        requirements.write_text(f"# ROS\nros-rclpy=={version}\nros-rmw==7.3.2\nempy==4.2.1\n")
        remove_other_distribution(environment, requirements)
        assert {name for name, module in modules.items() if module.exists()} == left


def test_unreachable_package_index_is_one_readable_sentence(tmp_path, monkeypatch):
    # Nothing listens on port 9 of this machine.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "1")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "requirements.txt"
    path.write_text("sameo-has-no-such-package==1.0\n")
    with pytest.raises(SetupError, match=r"^No package index could be reached; connect"):
        install_requirements(VirtualEnvironment(Path(sys.prefix)), [path])


def test_failing_command_shows_the_end_of_its_output(tmp_path):
    environment = VirtualEnvironment(tmp_path)
    code = "import sys; print('the reason'); sys.exit(3)"
    with pytest.raises(SetupError, match=r"Making it failed with exit status 3:\nthe reason"):
        environment.run([sys.executable, "-c", code], "Making it")


def test_programs_run_without_what_a_sourced_distribution_exports(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/opt/ros/somewhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/ros/somewhere")
    environment = VirtualEnvironment(tmp_path)
    code = "import os; print(sorted(k for k in os.environ if k.startswith(('LD_', 'PYTHONP'))))"
    command = ["/usr/bin/env", "python3", "-S", "-c", code]
    assert environment.run(command, "Listing").strip() == "[]"
    assert environment.variables()["PATH"].startswith(f"{tmp_path}/bin:")
    assert environment.variables()["AMENT_PREFIX_PATH"] == str(tmp_path)
