"""The executable `sameo_build_engines`: builds the TensorRT engines that the node will load.

It takes the node's parameters, `model` and `cache_dir` among them, so that `build_only:=true` of
the launch file prepares exactly what the same call without it loads.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C during the imports ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.signals import SignalHandlerOptions

from sameo_model.runtime import load_predictor
from sameo_ros.core.settings import SameoParameters
from sameo_ros.ros.diagnostics import forward_logs
from sameo_ros.ros.parameters import declare_parameters


def build_engines(parameters: SameoParameters) -> str:
    """Build the engines that are missing, run and check them, and free the GPU.

    Args:
        parameters: The node's; `backend` is `auto` or `tensorrt`.

    Returns:
        What is ready now, as a sentence.

    Raises:
        FileNotFoundError: If the model does not exist.
        ValueError: If the model or a parameter is wrong.
        RuntimeError: If there is no GPU or TensorRT, or a build or its check fails.
    """
    if parameters.backend not in ("auto", "tensorrt"):
        raise ValueError(
            f"only backend tensorrt has engines to build, got {parameters.backend}; leave backend "
            "out or set it to tensorrt"
        )
    with load_predictor(parameters.model, "tensorrt", **parameters.model_options) as predictor:
        return f"the engines of {predictor.name} are ready for {predictor.backend.device}"


def main() -> int:
    """Run the executable; return the exit status."""
    # Without ROS's handler of signals, so that Ctrl-C stops a build and leaves nothing behind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node("sameo")
        forward_logs(node)
        node.get_logger().info(build_engines(declare_parameters(node)))
    except (OSError, ValueError, RuntimeError, ParameterException) as error:
        print(f"sameo_build_engines: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
