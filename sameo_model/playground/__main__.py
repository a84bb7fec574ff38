"""Command line `python -m sameo_model.playground`: serve the page until Ctrl-C."""

from __future__ import annotations

import argparse
import errno
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from sameo_model.playground.server import HOST, PlaygroundServer
from sameo_model.playground.table import ImageTable
from sameo_model.runtime import load_predictor
from sameo_model.runtime.backends.base import BACKENDS
from sameo_model.runtime.bundle import DEFAULT_MODEL
from sameo_model.runtime.images import list_images

DEFAULT_PORT = 8321
SCENES = Path(__file__).resolve().parents[2] / "sameo_ros" / "demo_scenes" / "images"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        # The scenes of the demo belong to the ROS package, which may not be there.
        is_left_out = options.images == SCENES and not SCENES.is_dir()
        samples = [] if is_left_out else list_images(options.images)
        load = partial(load_predictor, options.model, options.backend, threads=options.threads)
        with closing(ImageTable(load)) as table:
            _serve(PlaygroundServer(table, options.port, samples))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            error = OSError(
                f"port {options.port} of {HOST} is in use; choose another one with --port, or 0 "
                "for any that is free"
            )
        print(f"playground: {error}", file=sys.stderr)
        return 1
    except OverflowError:
        print(
            f"playground: --port must lie from 0 to 65535, got {options.port}; choose another one, "
            "or 0 for any that is free",
            file=sys.stderr,
        )
        return 1
    except (ValueError, RuntimeError) as error:
        print(f"playground: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.playground",
        description="Try a model on your own images in a browser of this machine. Images stay "
        "in memory and on this machine.",
    )
    add = parser.add_argument
    add("--port", type=int, default=DEFAULT_PORT, metavar="N", help="default: %(default)s")
    add(
        "--model",
        metavar="M",
        help=f"bundled model or bundle folder (default: {DEFAULT_MODEL}); without a detector "
        "objects are found by dragging and clicking alone",
    )
    backends = ", ".join(("auto", *BACKENDS))
    add("--backend", metavar="B", default="auto", help=f"{backends} (default: %(default)s)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: the backend's choice)")
    add(
        "--images",
        type=Path,
        default=SCENES,
        metavar="DIR",
        help="images that the page offers (default: the scenes of the demo)",
    )
    return parser


def _serve(server: PlaygroundServer) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server:
        print(f"open {server.url} in a browser of this machine; Ctrl-C ends it", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
