"""Requirement files, and readable failures of pip."""

import re
import sys
from pathlib import Path

import pytest

from environment.setup.errors import SetupError
from environment.setup.packages import install_requirements
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
