"""What comes from the system: EGL and Mesa for rendering, a browser for testing reports."""

import ctypes.util
import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

PACKAGES = ("libegl1", "libgl1-mesa-dri")
INSTALL = "apt-get install -y --no-install-recommends"
BROWSERS = ("chromium", "chromium-browser")

# Mesa's renderer without a GPU, under the names of its older and newer versions.
_SOFTWARE_DRIVERS = (
    "/usr/lib*/dri/swrast_dri.so",
    "/usr/lib/*/dri/swrast_dri.so",
    "/usr/lib*/libgallium-*.so",
    "/usr/lib/*/libgallium-*.so",
)


def install_rendering_libraries() -> None:
    """Install EGL and Mesa with apt where the user may; otherwise say how to.

    Rendering is needed to make training scenes alone, so a failure here is a message, no error.
    """
    _install(
        PACKAGES,
        rendering_libraries_present,
        "Rendering training scenes needs EGL and Mesa, which are missing",
    )


def install_browser() -> None:
    """Install Chromium with apt where the user may; otherwise say how to.

    One test of the evaluation's report needs it and is skipped without, so a failure is a message.
    """
    _install(BROWSERS[:1], browser_present, "Testing reports needs Chromium, which is missing")


def browser_present() -> bool:
    """Tell whether a Chromium is installed."""
    return any(shutil.which(name) for name in BROWSERS)


def _install(packages: Sequence[str], present: Callable[[], bool], need: str) -> None:
    if present():
        return
    prefix = _privileged_prefix()
    if shutil.which("apt-get") is None or prefix is None:
        _say_how(packages, need)
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            [*prefix, "apt-get", "-qq", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    if done.returncode != 0 or not present():
        _say_how(packages, need)


def rendering_libraries_present() -> bool:
    """Tell whether EGL and a driver behind it are installed."""
    return ctypes.util.find_library("EGL") is not None and (
        ctypes.util.find_library("EGL_nvidia") is not None
        or any(glob.glob(pattern) for pattern in _SOFTWARE_DRIVERS)
    )


def _privileged_prefix() -> list[str] | None:
    """The words before a command that needs root; None when the user may not."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo", "-n"] if allowed.returncode == 0 else None


def _say_how(packages: Sequence[str], need: str) -> None:
    print(
        f"{need}: run `sudo {INSTALL} {' '.join(packages)}`.",
        file=sys.stderr,
    )
