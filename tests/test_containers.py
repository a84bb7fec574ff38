"""The workflow, the Dockerfile and the compose file name what exists; nothing is built here."""

import re
import shlex
import subprocess

import pytest
import yaml

from tests.source_imports import PROJECT_ROOT
from tests.workspace import BUILT_FROM

WORKFLOW = yaml.safe_load((PROJECT_ROOT / ".github" / "workflows" / "ci.yml").read_text())
DOCKERFILE = (PROJECT_ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE = yaml.safe_load((PROJECT_ROOT / "compose.yaml").read_text())
FOR_PIP = {"LICENSE", "README.md", "pyproject.toml", "setup.py"}
SHELL_LINES = [
    *(step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step),
    *re.findall(r"^RUN (.*)$", DOCKERFILE, flags=re.M),
]


def workflow_text() -> str:
    return "\n".join(SHELL_LINES[: -len(re.findall(r"^RUN ", DOCKERFILE, flags=re.M))])


def test_the_workflow_runs_every_supported_python_and_distribution():
    jobs = WORKFLOW["jobs"]
    assert jobs["bare"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert jobs["ros"]["strategy"]["matrix"]["distribution"] == ["jazzy", "kilted", "lyrical"]


@pytest.mark.parametrize("line", SHELL_LINES, ids=range(len(SHELL_LINES)))
def test_a_shell_line_can_be_parsed(line):
    text = re.sub(r"\$\{\{.*?\}\}", "value", line)  # what GitHub fills in
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_the_workflow_names_tests_and_targets_that_exist():
    tests = re.findall(r"tests/\S+\.py", workflow_text())
    targets = re.findall(r"\bmake (\S+)", workflow_text())
    assert tests
    assert targets
    assert [name for name in tests if not (PROJECT_ROOT / name).is_file()] == []
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    assert [one for one in targets if not re.search(rf"^{one}:", makefile, flags=re.M)] == []


def test_the_image_holds_what_colcon_builds():
    copied = dict(re.findall(r"^COPY (\S+) src/sameo_ros/(\S*)$", DOCKERFILE, flags=re.M))
    assert set(copied) == set(BUILT_FROM) - FOR_PIP
    # A folder's name must be repeated: COPY copies what is in it.
    for source, target in copied.items():
        assert target == (source if (PROJECT_ROOT / source).is_dir() else "")


def test_packages_that_are_left_out_are_those_that_package_xml_asks_for():
    manifest = (PROJECT_ROOT / "package.xml").read_text()
    skipped = re.findall(r'--skip-keys "([^"]*)"', "\n".join(SHELL_LINES))
    assert len(skipped) == 2
    for name in {name for names in skipped for name in names.split()}:
        assert f"<exec_depend>{name}</exec_depend>" in manifest


def test_the_entry_point_of_the_image_is_a_shell_script_that_names_the_profile():
    printed = re.search(r"RUN printf '%s\\n' (.*) > /sameo_entrypoint.sh", DOCKERFILE)
    lines = shlex.split(printed[1])
    done = subprocess.run(["bash", "-n"], input="\n".join(lines), text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    (profile,) = [line for line in lines if line.startswith("profile=")]
    assert (PROJECT_ROOT / profile.partition("/share/sameo_ros/")[2]).is_file()


def test_the_demo_in_containers_starts_what_is_installed():
    executables = re.search(
        r"foreach\(module (.*)\)", (PROJECT_ROOT / "CMakeLists.txt").read_text()
    )
    for service in COMPOSE["services"].values():
        words = service["command"].split()
        if words[:3] == ["ros2", "launch", "sameo_ros"]:
            assert (PROJECT_ROOT / "launch" / words[3]).is_file()
        else:
            assert words[:3] == ["ros2", "run", "sameo_ros"]
            assert words[3].removeprefix("sameo_") in executables[1].split()
    # Images pass through shared memory only where both see the same /dev/shm.
    assert COMPOSE["services"]["demo"]["ipc"] == "shareable"
    assert COMPOSE["services"]["recorder"]["ipc"] == "service:demo"
