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
    # Python's handler would raise KeyboardInterrupt anywhere: amid the conversion of a message,
    # which then fails in words of its own, or while the block frees what it holds.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rclpy.init()
    try:
        yield
    except Exception:
        if rclpy.ok():  # else ROS has ended in the midst of a call
            raise
    finally:
        rclpy.try_shutdown()
