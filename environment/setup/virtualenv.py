"""The virtual environment: making it, running its programs, and finding its folders."""

import os
import subprocess
import sys
import venv
from pathlib import Path

from environment.setup.errors import SetupError

# A sourced ROS distribution, or the start-up hook of another environment's wheels, would leak its
# libraries and packages into this one.
FOREIGN_VARIABLES = (
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "ROS_DISTRO",
    "ROS_VERSION",
    "VIRTUAL_ENV",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
)


class VirtualEnvironment:
    """A virtual environment in one folder."""

    def __init__(self, root: Path) -> None:
        """Name the folder; `create` makes it."""
        self.root = root
        self.python = root / "bin" / "python"

    def create(self) -> None:
        """Make the environment with the running Python, unless it is there.

        Raises:
            SetupError: When this Python cannot make environments.
        """
        if self.python.exists():
            return
        try:
            venv.create(self.root, with_pip=True)
        except (subprocess.CalledProcessError, OSError) as error:
            raise SetupError(
                f"{sys.executable} cannot make a virtual environment with pip in {self.root} "
                f"({error}); on Debian and Ubuntu install python3-venv."
            ) from error

    @property
    def site_packages(self) -> Path:
        """The folder of the installed Python packages."""
        return Path(self.run_python("import sysconfig; print(sysconfig.get_path('purelib'))"))

    @property
    def python_include(self) -> Path:
        """The folder with Python.h.

        Raises:
            SetupError: When the header is not installed.
        """
        code = "import sysconfig; print(sysconfig.get_config_var('INCLUDEPY'))"
        folder = Path(self.run_python(code))
        if not (folder / "Python.h").exists():
            raise SetupError(
                f"Python's C headers are missing in {folder}; on Debian and Ubuntu install "
                "python3-dev."
            )
        return folder

    @property
    def numpy_include(self) -> Path:
        """The folder with numpy's C headers."""
        return Path(self.run_python("import numpy; print(numpy.get_include())"))

    def run_python(self, code: str) -> str:
        """Run a few lines of Python in the environment and return what they print, stripped."""
        return self.run([str(self.python), "-c", code], f"{self.python} -c {code!r}").strip()

    def run(self, command: list[str], what: str, cwd: Path | None = None) -> str:
        """Run a command in the environment.

        Args:
            what: The command's name in the error message.
            cwd: Folder to run in; None means the current one.

        Returns:
            The command's standard output and error, one after the other as they came.

        Raises:
            SetupError: When the command is missing or fails; holds the end of its output.
        """
        try:
            done = subprocess.run(
                command,
                cwd=cwd,
                env=self.variables(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        except OSError as error:
            raise SetupError(f"{what} cannot be started: {error}.") from error
        if done.returncode != 0:
            tail = "\n".join(done.stdout.splitlines()[-25:])
            raise SetupError(f"{what} failed with exit status {done.returncode}:\n{tail}")
        return done.stdout

    def variables(self) -> dict[str, str]:
        """Environment variables for programs that run in this environment."""
        kept = {k: v for k, v in os.environ.items() if k not in FOREIGN_VARIABLES}
        kept["PATH"] = f"{self.root / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}"
        kept["AMENT_PREFIX_PATH"] = str(self.root)
        return kept
