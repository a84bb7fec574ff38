"""The steps that make an environment, each skipped while its inputs are what they were."""

import fcntl
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

from environment.setup.interfaces import (
    build_interface_package,
    correct_cmake_exports,
    join_with_sources,
)
from environment.setup.packages import (
    ALONE,
    install_requirements,
    remove_other_distribution,
)
from environment.setup.stamp import Stamp, hash_files
from environment.setup.virtualenv import VirtualEnvironment

CODE = Path(__file__).resolve().parent
PROJECT_ROOT = CODE.parents[1]
ENVIRONMENT = PROJECT_ROOT / "environment"

DISTRIBUTIONS = ("jazzy", "kilted")
"""ROS distributions whose wheels can be installed; `.venv` has the first."""


class PackagesAlone:
    """An environment of one requirements file, without ROS."""

    def __init__(self, name: str, root: Path) -> None:
        """Choose the inputs; nothing is done yet."""
        self.environment = VirtualEnvironment(root)
        self._requirements = ENVIRONMENT / "requirements" / f"{name}.txt"
        self._stamp = Stamp(root / "sameo_stamp.json")
        self._key = hash_files([self._requirements, CODE / "packages.py"], str(root))

    def run(self) -> None:
        """Install the packages unless they are there."""
        self.environment.create()
        with open(self.environment.root / "sameo_setup.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._stamp.read()
            if self._stamp.is_done("packages", self._key):
                return
            self._stamp.begin("packages")
            say(f"[1/1] Installing Python packages into {self.environment.root.name}")
            install_requirements(self.environment, [self._requirements])
            self._stamp.finish("packages", self._key)


class Setup:
    """The steps that make one environment, in order."""

    def __init__(self, kind: str, distribution: str, root: Path) -> None:
        """Choose the inputs; nothing is done yet.

        Args:
            kind: "full" or "demo".
            distribution: Name of the ROS distribution, which names a requirements file.
        """
        self.environment = VirtualEnvironment(root)
        self._stamp = Stamp(root / "sameo_stamp.json")
        requirements = ENVIRONMENT / "requirements"
        ros, demo = requirements / f"ros-{distribution}.txt", requirements / "demo.txt"
        self._requirements = [ros, requirements / f"{kind}.txt"]
        if kind == "full":
            self._requirements.append(requirements / ALONE)
        # Messages are compiled against the ROS wheels and numpy, not against the other packages.
        self._packages_key = hash_files(
            [*self._requirements, demo, CODE / "packages.py", CODE / "interfaces.py"], str(root)
        )
        # What a detector may publish: yolo_msgs is there for tests alone.
        names = ("vision_msgs", "yolo_msgs") if kind == "full" else ("vision_msgs",)
        self._interface_keys = {
            name: hash_files([ENVIRONMENT / name, ros, demo, CODE / "interfaces.py"], str(root))
            for name in names
        }
        package = ("msg", "srv", "CMakeLists.txt", "package.xml", "sameo_ros/__init__.py")
        self._sameo_key = hash_files(
            [PROJECT_ROOT / p for p in package], self._interface_keys["vision_msgs"]
        )

    @property
    def is_done(self) -> bool:
        """Whether every step was finished with the present inputs."""
        return self.environment.python.exists() and (
            self._stamp.is_done("packages", self._packages_key)
            and all(self._stamp.is_done(*one) for one in self._interface_keys.items())
            and self._stamp.is_done("sameo_ros", self._sameo_key)
        )

    def run(self) -> None:
        """Do the steps whose inputs changed."""
        self.environment.create()
        with open(self.environment.root / "sameo_setup.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._stamp.read()
            self._step("packages", self._packages_key, self._install_packages)
            for name, key in self._interface_keys.items():
                self._step(name, key, functools.partial(self._build_interfaces, name))
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
        remove_other_distribution(self.environment, self._requirements[0])
        install_requirements(self.environment, self._requirements)
        correct_cmake_exports(
            self.environment.root / "share",
            self.environment.python_include,
            self.environment.numpy_include,
        )

    def _build_interfaces(self, name: str) -> None:
        say(f"[2/3] Generating the ROS package {name} (half a minute)")
        build_interface_package(self.environment, ENVIRONMENT / name, name)

    def _build_sameo_ros(self) -> None:
        say("[3/3] Generating the messages and the service of sameo_ros (half a minute)")
        build_interface_package(
            self.environment, PROJECT_ROOT, "sameo_ros", "-DSAMEO_INTERFACES_ONLY=ON"
        )
        join_with_sources(self.environment, PROJECT_ROOT)
        self.environment.run_python("import rclpy, sameo_ros.msg, sameo_ros.srv, vision_msgs.msg")


def choose_setup(kind: str, distribution: str) -> Setup | PackagesAlone:
    """Choose the environment's folder; a finished full environment serves the demo as well."""
    if kind == "oldest":
        return PackagesAlone(kind, PROJECT_ROOT / ".venv-oldest")
    suffix = "" if distribution == DISTRIBUTIONS[0] else f"-{distribution}"
    full = Setup("full", distribution, PROJECT_ROOT / f".venv{suffix}")
    if kind == "full" or full.is_done:
        return full
    return Setup("demo", distribution, PROJECT_ROOT / f".venv-demo{suffix}")


def say(line: str) -> None:
    """Print a line of progress at once; standard output is kept for results."""
    print(line, file=sys.stderr, flush=True)
