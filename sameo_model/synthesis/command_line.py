"""What the subcommands of `synthesize` share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sameo_model.data.arguments import whole_number
from sameo_model.data.parallel import default_workers


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], None],
    *,
    title: str,
    description: str,
) -> Callable[..., Any]:
    """Add a subcommand with the options that all have; return how to add its own."""
    parser = commands.add_parser(
        name,
        help=title,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder of the set")
    seed = whole_number(0)
    add("--seed", type=seed, default=0, help="random seed (0)")
    workers = whole_number(1)
    add("--workers", type=workers, default=default_workers(), help="processes (all cores)")
    return add
