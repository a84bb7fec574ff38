"""Make a virtual environment that runs this project on a machine without a ROS distribution.

    python3 environment/setup full      .venv: everything
    python3 environment/setup demo      .venv-demo: the node, no PyTorch and no renderer
    python3 environment/setup oldest    .venv-oldest: the runtime with the oldest versions, no ROS

A step is skipped while its inputs are what they were. Only the standard library is used.
"""

import argparse
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[2])

from environment.setup.errors import SetupError  # noqa: E402
from environment.setup.plan import DISTRIBUTIONS, choose_setup, say  # noqa: E402
from environment.setup.system_libraries import (  # noqa: E402
    install_browser,
    install_rendering_libraries,
)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="environment/setup",
        description="Make a virtual environment that runs this project without a ROS distribution.",
    )
    parser.add_argument(
        "kind",
        choices=("full", "demo", "oldest"),
        help="full: everything, in .venv; demo: the node alone, in .venv-demo, unless .venv is up "
        "to date and serves as well; oldest: the runtime's tests with the oldest versions, in "
        ".venv-oldest",
    )
    parser.add_argument(
        "--distribution",
        choices=DISTRIBUTIONS,
        default=DISTRIBUTIONS[0],
        help="ROS distribution whose wheels are installed (default: %(default)s)",
    )
    parser.add_argument(
        "--print-python",
        action="store_true",
        help="print the path of the environment's interpreter at the end",
    )
    parser.add_argument(
        "--browser",
        action="store_true",
        help="install Chromium too, in which reports of the evaluation are tested",
    )
    return parser.parse_args(arguments)


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
        if arguments.browser:
            install_browser()
        setup.run()
    except SetupError as error:
        say(f"environment/setup: {error}")
        return 1
    if arguments.print_python:
        print(setup.environment.python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
