"""Make a virtual environment that runs this project on a machine without a ROS distribution.

    python3 environment/setup full      .venv: everything
    python3 environment/setup demo      .venv-demo: the node, no PyTorch and no renderer

A step is skipped while its inputs are what they were. Only the standard library is used.
"""

import argparse
import fcntl
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.dont_write_bytecode = True

from errors import SetupError  # noqa: E402
from interfaces import (  # noqa: E402
    build_interface_package,
    join_with_sources,
    mend_cmake_exports,
)
from packages import install_requirements  # noqa: E402
from stamp import Stamp, hash_files  # noqa: E402
from system_libraries import install_rendering_libraries  # noqa: E402
from virtualenv import VirtualEnvironment  # noqa: E402

PROJECT_ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = PROJECT_ROOT / "environment"


class Setup:
    """The steps that make one environment, in order."""

    def __init__(self, kind: str, distribution: str, root: Path) -> None:
        """Choose the inputs; nothing is done yet.

        Args:
            kind: "full" or "demo".
            distribution: Name of the ROS distribution, which names a requirements file.
            root: Folder of the environment.
        """
        self.environment = VirtualEnvironment(root)
        self._stamp = Stamp(root / "sameo_stamp.json")
        self._requirements = [
            ENVIRONMENT / "requirements" / f"ros-{distribution}.txt",
            ENVIRONMENT / "requirements" / f"{kind}.txt",
        ]
        self._packages_key = hash_files(
            [ENVIRONMENT / "requirements", ENVIRONMENT / "setup"], str(root), kind, distribution
        )
        self._vision_key = hash_files([ENVIRONMENT / "vision_msgs"], self._packages_key)
        package = ("msg", "srv", "CMakeLists.txt", "package.xml", "sameo_ros/__init__.py")
        self._sameo_key = hash_files([PROJECT_ROOT / p for p in package], self._vision_key)

    @property
    def is_done(self) -> bool:
        """Whether every step was finished with the present inputs."""
        return self.environment.python.exists() and self._stamp.is_done(
            "sameo_ros", self._sameo_key
        )

    def run(self) -> None:
        """Do the steps whose inputs changed."""
        self.environment.create()
        with open(self.environment.root / "sameo_setup.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._step("packages", self._packages_key, self._install_packages)
            self._step("vision_msgs", self._vision_key, self._build_vision_msgs)
            self._step("sameo_ros", self._sameo_key, self._build_sameo_ros)

    def _step(self, name: str, key: str, action: Callable[[], None]) -> None:
        if self._stamp.is_done(name, key):
            return
        self._stamp.begin(name)
        started = time.monotonic()
        action()
        say(f"    done in {time.monotonic() - started:.0f} s")
        self._stamp.finish(name, key)

    def _install_packages(self) -> None:
        say(f"[1/3] Installing Python packages into {self.environment.root.name}")
        install_requirements(self.environment, self._requirements)
        mend_cmake_exports(
            self.environment.root / "share",
            self.environment.python_include,
            self.environment.numpy_include,
        )

    def _build_vision_msgs(self) -> None:
        say("[2/3] Generating the ROS package vision_msgs (takes about 15 s)")
        build_interface_package(self.environment, ENVIRONMENT / "vision_msgs", "vision_msgs")

    def _build_sameo_ros(self) -> None:
        say("[3/3] Generating the messages and the service of sameo_ros (takes about 10 s)")
        build_interface_package(
            self.environment, PROJECT_ROOT, "sameo_ros", "-DSAMEO_INTERFACES_ONLY=ON"
        )
        join_with_sources(self.environment, PROJECT_ROOT)
        self.environment.run_python("import rclpy, sameo_ros.msg, sameo_ros.srv, vision_msgs.msg")


def say(line: str) -> None:
    """Print a line of progress at once; standard output is kept for results."""
    print(line, file=sys.stderr, flush=True)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="environment/setup",
        description="Make a virtual environment that runs this project without a ROS distribution.",
    )
    parser.add_argument(
        "kind",
        choices=("full", "demo"),
        help="full: everything, in .venv; demo: the node alone, in .venv-demo, unless .venv is up "
        "to date and serves as well",
    )
    parser.add_argument(
        "--distribution",
        choices=("kilted", "jazzy"),
        default="kilted",
        help="ROS distribution whose wheels are installed (default: kilted)",
    )
    parser.add_argument(
        "--print-python",
        action="store_true",
        help="print the path of the environment's interpreter at the end",
    )
    return parser.parse_args(arguments)


def choose_setup(kind: str, distribution: str) -> Setup:
    """Choose the environment's folder; a finished full environment serves the demo as well."""
    suffix = "" if distribution == "kilted" else f"-{distribution}"
    full = Setup("full", distribution, PROJECT_ROOT / f".venv{suffix}")
    if kind == "full" or full.is_done:
        return full
    return Setup("demo", distribution, PROJECT_ROOT / f".venv-demo{suffix}")


def main() -> int:
    """Run the command line and return the exit status."""
    arguments = parse_arguments()
    try:
        if sys.version_info < (3, 11):
            raise SetupError(
                f"The environment needs Python 3.11 or newer, but this is {sys.version.split()[0]};"
                " run environment/setup with a newer one."
            )
        setup = choose_setup(arguments.kind, arguments.distribution)
        if arguments.kind == "full":
            install_rendering_libraries()
        setup.run()
    except SetupError as error:
        say(f"environment/setup: {error}")
        return 1
    if arguments.print_python:
        print(setup.environment.python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
