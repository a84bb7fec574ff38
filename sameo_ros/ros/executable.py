"""What the executables share: how they read their arguments, and how a signal ends them."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.utilities import remove_ros_args


def read_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line but for what ROS takes of it."""
    return parser.parse_args(remove_ros_args(sys.argv)[1:])


@contextmanager
def ros_until_signal() -> Iterator[None]:
    """Run a block with ROS; SIGINT or SIGTERM ends ROS, and with it what spins in the block."""
    # Python's handler would raise KeyboardInterrupt anywhere: during the conversion of a message,
    # which then fails with another message, or while the block frees what it holds.
    # So it is ignored, but for the handler of rclpy; a signal that comes before waits for that one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        rclpy.init()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    except Exception:
        if rclpy.ok():  # else ROS has ended in the midst of a call
            raise
    finally:
        rclpy.try_shutdown()
