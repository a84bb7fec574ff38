"""`colcon build`, as ROS users build the package, and what it installs."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_imports import PROJECT_ROOT
from tests.workspace import copy_project, run

pytestmark = [
    pytest.mark.ros,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("colcon_core") is None, reason="colcon is not installed"
    ),
]

# Packages of the environment's prefix, or of the distribution that was sourced.
UNDERLAY = os.environ.get("AMENT_PREFIX_PATH", sys.prefix)
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A workspace with a copy of the sources."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "src").mkdir()
    copy_project(folder / "src")
    return folder


@pytest.fixture(scope="module", params=["copied", "linked"])
def install(request, workspace) -> Path:
    """The workspace after a build, and after another with --symlink-install.

    Both use one build folder, so that the messages are compiled once.
    """
    # ament refuses to put a link where the build before it made a folder.
    shutil.rmtree(workspace / "build" / "sameo_ros" / "ament_cmake_python", ignore_errors=True)
    folder = workspace / f"install_{request.param}"
    options = ["--symlink-install"] if request.param == "linked" else []
    definitions = [f"-DCMAKE_PREFIX_PATH={UNDERLAY}", f"-DPython3_EXECUTABLE={sys.executable}"]
    command = [sys.executable, "-m", "colcon", "build", "--install-base", str(folder), *options]
    command += ["--cmake-args", "-GNinja", "-DBUILD_TESTING=OFF", *definitions]
    run(command, cwd=workspace, AMENT_PREFIX_PATH=UNDERLAY, PATH=PATH)
    return folder


def run_in(install: Path, command: str) -> str:
    """Run a shell command as a user does who sourced the workspace."""
    done = subprocess.run(
        ["bash", "-c", f". {install}/setup.bash && {command}"],
        cwd=install,
        env={**os.environ, "PATH": PATH, "AMENT_PREFIX_PATH": UNDERLAY, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sourced_workspace_gives_messages_and_modules_of_the_installation(install):
    code = (
        "import sameo_ros.messages.conversions, sameo_ros.msg, sameo_ros.srv, sameo_model.runtime; "
        "print(sameo_ros.messages.conversions.__file__, sameo_model.runtime.__file__, "
        "sameo_ros.msg.__file__, sep='\\n')"
    )
    files = run_in(install, f'python3 -c "{code}"').split()
    assert len(files) == 3
    assert all(file.startswith(str(install)) for file in files)


def test_installation_holds_every_module_launch_file_and_configuration(install):
    prefix = install / "sameo_ros"
    installed = {path.name for path in prefix.rglob("*") if path.is_file()}
    for folder in ("sameo_ros", "sameo_model", "launch", "config"):
        names = {
            path.name
            for path in (PROJECT_ROOT / folder).rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        assert names
        assert names - installed == set()
    assert (prefix / "share" / "sameo_ros" / "launch" / "sameo.launch.py").exists()
    assert (prefix / "share" / "sameo_ros" / "config" / "sameo.yaml").exists()


def test_executables_start_the_main_functions_of_their_modules(install):
    folder = install / "sameo_ros" / "lib" / "sameo_ros"
    names = ["node", "build_engines", "replay", "recorder"]
    files = [folder / f"sameo_{name}" for name in names]
    assert all(os.access(file, os.X_OK) for file in files)
    # The executables' own imports, without the last line that starts the program.
    code = (
        "import sys\n"
        "for path in sys.argv[1:]:\n"
        "    lines = open(path).read().splitlines()\n"
        "    assert lines[-1] == 'sys.exit(main())'\n"
        "    exec(chr(10).join(lines[:-1]))\n"
        "    print(main.__module__, callable(main))"
    )
    words = run_in(install, f'python3 -c "{code}" {" ".join(map(str, files))}').split()
    assert words == [word for name in names for word in (f"sameo_ros.{name}", "True")]
