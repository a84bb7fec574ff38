"""Command line of the evaluation: `python -m sameo_model.evaluate masks|detections|...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sameo_model.evaluation import (
    average_command,
    compare_command,
    detections_command,
    masks_command,
)

COMMANDS = (masks_command, detections_command, compare_command, average_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Words after the program's name; None takes those of the process.

    Returns:
        Exit status: 0 on success, 1 for a regression that `compare` found, 2 for an error, which
        is printed as one sentence.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.evaluate", description="Score masks, detectors and models."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for module in COMMANDS:
        module.add_parser(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"evaluate {options.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
