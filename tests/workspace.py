"""A copy of the project in a scratch folder, to be built there."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.source_imports import PROJECT_ROOT

BUILT_FROM = (
    "CMakeLists.txt",
    "LICENSE",
    "README.md",
    "config",
    "examples",
    "launch",
    "msg",
    "package.xml",
    "pyproject.toml",
    "sameo_model",
    "sameo_ros",
    "setup.py",
    "srv",
)


def copy_project(parent: Path) -> Path:
    """Copy what pip and colcon need into a folder: building leaves folders beside the sources."""
    target = parent / "sameo_ros"
    target.mkdir()
    for name in BUILT_FROM:
        source = PROJECT_ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, target / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True
            )
        else:
            shutil.copy(source, target)
    return target


def run(command: list[str], cwd: Path | None = None, **variables: str) -> str:
    """Run a command to the end and return what it prints; fails with its output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
