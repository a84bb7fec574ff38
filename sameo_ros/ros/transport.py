"""Camera images over DDS without losing most of them.

An image is larger than the segment of shared memory that Fast DDS gives a publisher and than a
socket's usual buffer, so that best-effort images are lost whenever the reader is not scheduled at
once. Of 100 images of 640x480 at 30 Hz, on two cores with a load of 13, between 1 and 11 came
through the default transports and between 80 and 98 through large socket buffers. With
ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST the middleware chooses the transports itself; there a
reliable subscription (see `qos_overrides`) gets every image.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

_VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
_USERS_CHOICE = (
    _VARIABLE,
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
)
_BUFFER_BYTES = 4_000_000
_KERNEL_LIMIT = Path("/proc/sys/net/core/rmem_max")


def use_large_socket_buffers(
    environment: MutableMapping[str, str], kernel_limit: Path = _KERNEL_LIMIT
) -> bool:
    """Let Fast DDS receive over sockets with large buffers, where the kernel allows it.

    Call it before rclpy.init. It does nothing where the user has chosen transports or a profile;
    other middlewares and Fast DDS before 2.12 (Humble) do not read the variable.

    Args:
        environment: The process's environment variables; may be changed.
        kernel_limit: File with the largest buffer that a process may ask for, bytes.

    Returns:
        Whether the environment was changed.
    """
    if any(name in environment for name in _USERS_CHOICE):
        return False
    if not kernel_limit.is_file() or int(kernel_limit.read_text()) < _BUFFER_BYTES:
        return False
    environment[_VARIABLE] = f"UDPv4?sockets_size={_BUFFER_BYTES}B"
    return True


def describe_transport(
    environment: Mapping[str, str], middleware: str, kernel_limit: Path = _KERNEL_LIMIT
) -> str:
    """Say how images travel here, and what lets more of them through.

    Args:
        middleware: Name of the middleware, such as rmw_fastrtps_cpp.
        kernel_limit: File with the largest buffer that a process may ask for, bytes.
    """
    limit = kernel_limit.read_text().strip() if kernel_limit.is_file() else "unknown"
    kernel = f"raise net.core.rmem_max (now {limit} bytes)"
    if "fastrtps" not in middleware:
        return f"with {middleware} {kernel}"
    profile = next((environment[name] for name in _USERS_CHOICE[1:] if name in environment), "none")
    return (
        "start every process with FASTDDS_DEFAULT_PROFILES_FILE (before Kilted: "
        "FASTRTPS_DEFAULT_PROFILES_FILE) set to sameo_ros's config/fastdds.xml (now "
        f"{profile}), or {kernel}"
    )
