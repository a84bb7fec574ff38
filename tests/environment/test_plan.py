"""The order of the steps, what they depend on, and the command lines around them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from environment.setup import plan
from environment.setup.errors import SetupError

PROJECT_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A copy of what the keys of the steps depend on."""
    for name in ("environment", "msg", "srv"):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / name)
    (tmp_path / "sameo_ros").mkdir()
    for name in ("CMakeLists.txt", "package.xml", "sameo_ros/__init__.py"):
        shutil.copy(PROJECT_ROOT / name, tmp_path / name)
    monkeypatch.setattr(plan, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(plan, "ENVIRONMENT", tmp_path / "environment")
    return tmp_path


class RecordingSetup(plan.Setup):
    """Writes down the steps that would be done, and does not do them."""

    failing: str | None = None

    def run(self) -> list[str]:
        self.steps = []
        self.environment.python.parent.mkdir(parents=True, exist_ok=True)
        self.environment.python.touch()
        super().run()
        return self.steps

    def _note(self, name):
        self.steps.append(name)
        if name == self.failing:
            raise SetupError(f"{name} failed")

    def _install_packages(self):
        self._note("packages")

    def _build_interfaces(self, name):
        self._note(name)

    def _build_sameo_ros(self):
        self._note("sameo_ros")


def run_setup(project: Path, kind: str = "full") -> list[str]:
    return RecordingSetup(kind, "jazzy", project / ".venv").run()


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_second_run_does_nothing(project):
    assert run_setup(project) == ["packages", "vision_msgs", "yolo_msgs", "sameo_ros"]
    assert run_setup(project) == []


def test_the_demo_needs_no_messages_of_tests(project):
    assert run_setup(project, "demo") == ["packages", "vision_msgs", "sameo_ros"]


@pytest.mark.parametrize(
    ("changed", "steps"),
    [
        ("msg/MaskCrop.msg", ["sameo_ros"]),
        ("srv/SegmentBoxes.srv", ["sameo_ros"]),
        ("CMakeLists.txt", ["sameo_ros"]),
        ("environment/vision_msgs/msg/Point2D.msg", ["vision_msgs", "sameo_ros"]),
        ("environment/requirements/full.txt", ["packages"]),
        ("environment/yolo_msgs/msg/Point2D.msg", ["yolo_msgs"]),
        (
            "environment/requirements/ros-jazzy.txt",
            ["packages", "vision_msgs", "yolo_msgs", "sameo_ros"],
        ),
        ("environment/vision_msgs/package.xml", ["vision_msgs", "sameo_ros"]),
    ],
)
def test_changed_input_repeats_the_steps_that_depend_on_it(project, changed, steps):
    run_setup(project)
    append(project / changed, "# changed\n")
    assert run_setup(project) == steps


def test_failed_step_is_repeated(project, monkeypatch):
    monkeypatch.setattr(RecordingSetup, "failing", "vision_msgs")
    with pytest.raises(SetupError, match="vision_msgs failed"):
        run_setup(project)
    monkeypatch.setattr(RecordingSetup, "failing", None)
    assert run_setup(project) == ["vision_msgs", "yolo_msgs", "sameo_ros"]


def test_demo_takes_the_full_environment_once_that_is_up_to_date(project):
    assert plan.choose_setup("demo", "jazzy").environment.root == project / ".venv-demo"
    run_setup(project)
    assert plan.choose_setup("demo", "jazzy").environment.root == project / ".venv"
    append(project / "environment" / "requirements" / "full.txt", "# changed\n")
    assert plan.choose_setup("demo", "jazzy").environment.root == project / ".venv-demo"


def test_distributions_have_separate_environments(project):
    assert plan.choose_setup("full", "jazzy").environment.root == project / ".venv"
    assert plan.choose_setup("full", "kilted").environment.root == project / ".venv-kilted"


def test_unknown_kind_is_refused_on_the_command_line():
    done = subprocess.run(
        [sys.executable, PROJECT_ROOT / "environment" / "setup", "tiny"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "invalid choice: 'tiny'" in done.stderr


def make(*arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL"}}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_help_lists_every_target():
    words = make("help").split()
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    assert {"setup", "demo", "test", "test-all", "lint", "bench"} <= set(targets)
    assert [target for target in targets if target not in words] == []


def test_make_demo_hands_over_the_users_images_and_boxes():
    command = make("-n", "demo", "IMAGES=my photos", "BOXES=boxes.json")
    assert '--images "my photos" --boxes "boxes.json" --output demo' in command
    assert "--images" not in make("-n", "demo")


def test_continuous_integration_runs_make_test():
    script = PROJECT_ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("make test")
