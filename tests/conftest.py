"""Settings for the whole suite: an isolated ROS domain, markers that skip, hypothesis."""

import atexit
import importlib.util
import os
import shutil
import tempfile

import pytest
from hypothesis import settings

# Nodes of the suite must not meet those of a robot, nor those of another run beside this one.
# Domains up to 101 keep clear of the ports that Linux gives to outgoing connections.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

# Small networks gain nothing by threads, and those of several processes wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Engines and compiled models of tests have no place in the user's cache.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="sameo-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# A busy machine is no bug.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def _missing_for_ros() -> str | None:
    # Not sameo_ros.msg: a build of ours that is broken has to fail.
    for module in ("rclpy", "vision_msgs"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed: run `make setup`, or source a ROS distribution"
    return None


def _missing_for_gpu() -> str | None:
    return None if shutil.which("nvidia-smi") else "no NVIDIA GPU on this machine"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {"ros": _missing_for_ros(), "gpu": _missing_for_gpu()}
    for item in items:
        for marker, reason in reasons.items():
            if reason is not None and item.get_closest_marker(marker) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
