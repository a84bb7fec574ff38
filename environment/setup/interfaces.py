"""ROS interface packages: correcting the wheels' CMake exports, building and installing them."""

import re
import shutil
import tempfile
from pathlib import Path

from environment.setup.errors import SetupError
from environment.setup.virtualenv import VirtualEnvironment

# Written by the machine that built the wheels; wrong on every other one.
_PYTHON_INCLUDE = re.compile(r'/opt/python/[^;"]*/include/python3\.\d+')
_NUMPY_INCLUDE = re.compile(r'/opt/python/[^;"]*/site-packages/numpy/(?:_core|core)/include')


def correct_cmake_exports(share: Path, python_include: Path, numpy_include: Path) -> int:
    """Point the include folders in the wheels' CMake files at this machine.

    Returns:
        The number of files that were changed.
    """
    num_changed = 0
    for path in share.glob("*/cmake/*.cmake"):
        text = path.read_text()
        corrected = _NUMPY_INCLUDE.sub(str(numpy_include), text)
        corrected = _PYTHON_INCLUDE.sub(str(python_include), corrected)
        if corrected != text:
            path.write_text(corrected)
            num_changed += 1
    return num_changed


def require_compiler() -> None:
    """Check that C and C++ compilers are there.

    Raises:
        SetupError: When one is missing.
    """
    for names in (("cc", "gcc", "clang"), ("c++", "g++", "clang++")):
        if not any(shutil.which(name) for name in names):
            raise SetupError(
                f"No compiler found ({', '.join(names)}), but generating the ROS messages needs "
                "one; on Debian and Ubuntu install build-essential."
            )


def build_interface_package(
    environment: VirtualEnvironment, source: Path, name: str, *options: str
) -> None:
    """Build an interface package and install it into the environment's prefix.

    Args:
        environment: The environment, with the ROS wheels and CMake installed.
        options: More arguments for CMake, such as -DNAME=VALUE.

    Raises:
        SetupError: When CMake or the compiler fails; holds the end of their output.
    """
    require_compiler()
    bin_folder = environment.root / "bin"
    with tempfile.TemporaryDirectory(prefix=f"{name}_") as build:
        configure = [
            str(bin_folder / "cmake"),
            "-G",
            "Ninja",
            "-S",
            str(source),
            "-B",
            build,
            f"-DCMAKE_PREFIX_PATH={environment.root}",
            f"-DCMAKE_INSTALL_PREFIX={environment.root}",
            f"-DCMAKE_MAKE_PROGRAM={bin_folder / 'ninja'}",
            f"-DPython3_EXECUTABLE={environment.python}",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF",
            *options,
        ]
        environment.run(configure, f"Configuring {name} with CMake")
        environment.run([str(bin_folder / "cmake"), "--build", build], f"Building {name}")
        remove_interface_package(environment, name)
        environment.run([str(bin_folder / "cmake"), "--install", build], f"Installing {name}")


def remove_interface_package(environment: VirtualEnvironment, name: str) -> None:
    """Remove an installed interface package, so that deleted messages do not live on."""
    folders = [
        environment.root / "share" / name,
        environment.root / "include" / name,
        environment.site_packages / name,
    ]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for library in (environment.root / "lib").glob(f"lib{name}__*"):
        library.unlink()


def join_with_sources(environment: VirtualEnvironment, project_root: Path) -> None:
    """Let the environment find our packages in the source tree, beside the generated modules.

    The generated `sameo_ros/__init__.py` is empty and comes first on the path; our own one in its
    place looks for the rest of the package in the source tree.

    Args:
        environment: The environment with the generated `sameo_ros` package.
        project_root: Folder that holds `sameo_model` and `sameo_ros`.
    """
    site_packages = environment.site_packages
    (site_packages / "sameo_sources.pth").write_text(f"{project_root}\n")
    shutil.copyfile(
        project_root / "sameo_ros" / "__init__.py", site_packages / "sameo_ros" / "__init__.py"
    )
