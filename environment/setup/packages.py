"""Python packages: installing pinned requirements with pip, and removing ROS wheels."""

import shutil
from pathlib import Path

from environment.setup.errors import SetupError
from environment.setup.virtualenv import VirtualEnvironment

ALONE = "no-dependencies.txt"
"""Requirement file whose packages are installed without what they ask for."""

# What pip says when it cannot reach a package index.
_OFFLINE_SIGNS = (
    "Connection refused",
    "Failed to establish a new connection",
    "Max retries exceeded",
    "Name or service not known",
    "NewConnectionError",
    "Network is unreachable",
    "Temporary failure in name resolution",
    "timed out",
)


def install_requirements(environment: VirtualEnvironment, files: list[Path]) -> None:
    """Install pinned packages; those that are installed already cost almost nothing.

    PyTorch comes first and alone: when another package pulls it in, pip takes the newest build,
    which brings several gigabytes of CUDA libraries.

    Raises:
        SetupError: When pip fails.
    """
    torch = [line for line in _requirement_lines(files) if line.startswith("torch==")]
    for requirement in torch:
        _install_torch(environment, requirement)
    alone = [path for path in files if path.name == ALONE]
    others = [path for path in files if path.name != ALONE]
    _pip_install(environment, [part for path in others for part in ("-r", str(path))])
    for path in alone:
        _pip_install(environment, ["--no-deps", "-r", str(path)])


def remove_other_distribution(environment: VirtualEnvironment, requirements: Path) -> None:
    """Remove all ROS wheels if they are not of the distribution that is asked for.

    The wheels of a distribution belong together, and a requirement file names a part of them.

    Args:
        environment: The environment, maybe one that had another distribution before.
        requirements: Requirement file of the distribution that is asked for.

    Raises:
        SetupError: When pip fails.
    """
    pinned = dict(line.split("==") for line in _requirement_lines([requirements]))
    listing = environment.run([*_pip(environment), "list", "--format=freeze"], "pip list")
    lines = [line for line in listing.splitlines() if line.startswith("ros-")]
    installed = dict(line.split("==") for line in lines)
    if any(pinned.get(name, version) != version for name, version in installed.items()):
        # What the file names goes last, so that an interrupted removal is seen and continued.
        names = sorted(installed, key=pinned.__contains__)
        environment.run([*_pip(environment), "uninstall", "--yes", *names], "pip uninstall")


def _install_torch(environment: VirtualEnvironment, requirement: str) -> None:
    if shutil.which("nvidia-smi") is None:
        try:
            _pip_install(environment, [f"{requirement}+cpu"])
        except SetupError as error:
            # Package indexes need not carry the CPU build; the default build works as well.
            if "No matching distribution" not in str(error):
                raise
        else:
            return
    _pip_install(environment, [requirement])


def _requirement_lines(files: list[Path]) -> list[str]:
    lines = [line.strip() for path in files for line in path.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _pip(environment: VirtualEnvironment) -> list[str]:
    return [str(environment.python), "-m", "pip", "--disable-pip-version-check"]


def _pip_install(environment: VirtualEnvironment, arguments: list[str]) -> None:
    command = [*_pip(environment), "install", "--progress-bar", "off", *arguments]
    try:
        environment.run(command, "pip install")
    except SetupError as error:
        if any(sign in str(error) for sign in _OFFLINE_SIGNS):
            raise SetupError(
                "No package index could be reached; connect to the network, or point pip at a "
                f"local one (PIP_INDEX_URL or PIP_FIND_LINKS), and start again.\n\n{error}"
            ) from error
        raise
