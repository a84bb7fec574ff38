"""A stand-in for a detector: a real network on the CPU, at its own rhythm, and boxes made up.

    python -m benchmarks.stand_in_detector --rate 10

It takes the newest camera image, runs the image encoder of `sameo_lite` on it (EfficientNet-Lite0
at 512 x 512: the work of a small detector) in OpenVINO f32 with one thread, and hands out ten boxes
under the image's stamp. It finds nothing: the boxes are always the same. Each line of its output is
a stamp in nanoseconds and how long that image took, milliseconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from benchmarks.contestants import scatter_boxes
from sameo_model.runtime.bundle import load_bundle
from sameo_model.runtime.preprocess import resize_image

NUM_BOXES = 10


def load_network(*, pinned: bool) -> Any:
    """Return a function of uint8 (H, W, 3) RGB that costs what a detector costs."""
    import openvino

    bundle = load_bundle(None)
    core = openvino.Core()
    config = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": pinned,
    }
    compiled = core.compile_model(core.read_model(bundle.image_encoder), "CPU", config)
    request = compiled.create_infer_request()
    return lambda image: request.infer(
        {"image": resize_image(image, bundle.info.image_size)[np.newaxis]}
    )


def detect(rate_hz: float, *, pinned: bool) -> None:
    """Answer the newest image, again and again until a signal comes."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image
    from vision_msgs.msg import Detection2DArray

    from sameo_ros.core.stamps import stamp_to_ns
    from sameo_ros.messages.conversions import image_to_rgb
    from tests.sameo_ros.node_bench import boxes_for

    network, boxes = load_network(pinned=pinned), scatter_boxes(NUM_BOXES).tolist()
    node = rclpy.create_node("detector")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    newest: list[Any] = []
    node.create_subscription(Image, "image", newest.append, QoSProfile(depth=1))
    publisher = node.create_publisher(Detection2DArray, "detections", QoSProfile(depth=5))
    next_s = time.monotonic()
    while True:
        while (left_s := next_s - time.monotonic()) > 0 or not newest:
            executor.spin_once(timeout_sec=max(left_s, 0.01))
            del newest[:-1]
        image = newest.pop()
        started_s = time.monotonic()
        network(image_to_rgb(image))
        publisher.publish(boxes_for(image, *boxes))
        ended_s = time.monotonic()
        print(stamp_to_ns(image.header.stamp), 1000 * (ended_s - started_s), flush=True)
        next_s = max(next_s + 1 / rate_hz, ended_s)


def main() -> int:
    """Run until a signal comes."""
    from sameo_ros.ros.executable import ros_until_signal

    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rate", type=float, default=10.0, help="images a second at most")
    parser.add_argument("--pinned", action="store_true", help="bind its thread to a core")
    options = parser.parse_args()
    with ros_until_signal():
        detect(options.rate, pinned=options.pinned)
    return 0


if __name__ == "__main__":
    sys.exit(main())
