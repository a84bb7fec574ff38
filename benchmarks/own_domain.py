"""Keep benchmarks that speak ROS away from robots."""

from __future__ import annotations

import os


def take_own_domain() -> None:
    """Talk on this machine and in a ROS domain of this process alone; call it before rclpy starts.

    A robot on the same network must neither see the frames of a benchmark nor answer them.
    """
    # Domains up to 101 keep clear of the ports that Linux gives to outgoing connections.
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
