"""The executable `sameo_replay`: a folder of images as a camera and a detector, for trials.

The detector works as real ones do: when it is free it takes the newest image, and after its delay
it publishes the boxes under that image's stamp.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C during the imports ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from sameo_ros.arguments import count, not_negative, positive
from sameo_ros.image_source import SourceImage, find_images, load_image
from sameo_ros.messages.conversions import bytes_to_array
from sameo_ros.messages.detections import DetectionMessageTypes, fill_detections
from sameo_ros.ros.executable import read_arguments, ros_until_signal

_TYPES = DetectionMessageTypes(Detection2D, ObjectHypothesisWithPose)
_IDLE_PERIOD_S = 1e6
_PATIENCE_S = 3.0


@dataclass(frozen=True)
class _Frame:
    """An image as messages that need a header; the last two where the image has depth."""

    source: SourceImage
    image: Image
    depth: Image | None
    camera_info: CameraInfo | None


class ReplayNode(Node):
    """Publishes images on `image`, boxes on `detections`, and `depth` with `camera_info`.

    Without a file of boxes there is no detector.

    Attributes:
        is_done: Whether everything has been published.
    """

    def __init__(self, frames: list[_Frame], options: argparse.Namespace) -> None:
        super().__init__("sameo_replay")
        self.is_done = False
        self._options = options
        self._frames = frames
        # A reliable publisher can repeat only what it still keeps.
        reliability = ReliabilityPolicy[options.reliability.upper()]
        qos = QoSProfile(depth=10, reliability=reliability)
        self._images = self.create_publisher(Image, "image", qos)
        self._needed = [self._images]
        if options.boxes:
            self._detections = self.create_publisher(Detection2DArray, "detections", qos)
            self._needed.append(self._detections)
        self._depth_images = self.create_publisher(Image, "depth", qos)
        self._camera_infos = self.create_publisher(CameraInfo, "camera_info", qos)
        self._num_published = 0
        self._started_s = time.monotonic()
        self._in_work: tuple[SourceImage, Header] | None = None
        self._newest: tuple[SourceImage, Header] | None = None
        self._detector = self.create_timer(
            options.detector_delay or _IDLE_PERIOD_S, self._finish_detection
        )
        self._detector.cancel()
        self._camera = self.create_timer(1 / options.rate, self._publish_image)

    def finish(self) -> None:
        """Wait until what was published reliably has arrived."""
        if self._options.reliability == "reliable":
            for publisher in self._needed:
                publisher.wait_for_all_acked(Duration(seconds=5))

    def _publish_image(self) -> None:
        if self._num_published == 0 and not self._has_subscribers():
            self._say_who_is_missing()
            return
        num_wanted = self._options.count or (0 if self._options.loop else len(self._frames))
        if num_wanted and self._num_published >= num_wanted:
            self.is_done = self._in_work is None
            return
        frame = self._frames[self._num_published % len(self._frames)]
        self._num_published += 1
        frame_id = self._options.frame_id.replace("{image}", frame.source.name)
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=frame_id)
        for message, publisher in (
            (frame.image, self._images),
            (frame.depth, self._depth_images),
            (frame.camera_info, self._camera_infos),
        ):
            if message is not None:
                message.header = header
                publisher.publish(message)
        self._newest = frame.source, header
        if self._options.boxes and self._in_work is None:
            self._start_detection()

    def _start_detection(self) -> None:
        self._in_work, self._newest = self._newest, None
        if self._in_work is None:
            return
        if self._options.detector_delay:
            self._detector.reset()
        else:
            self._finish_detection()

    def _finish_detection(self) -> None:
        self._detector.cancel()
        assert self._in_work is not None
        source, header = self._in_work
        message = Detection2DArray()
        fill_detections(message, _TYPES, source.prompts, source.name, header)
        self._detections.publish(message)
        self._start_detection()

    def _say_who_is_missing(self) -> None:
        if time.monotonic() - self._started_s > _PATIENCE_S:
            lonely = [one.topic_name for one in self._needed if not one.get_subscription_count()]
            named = " and ".join(lonely)
            self.get_logger().info(f"waiting for a subscriber of {named}", once=True)

    def _has_subscribers(self) -> bool:
        return all(publisher.get_subscription_count() > 0 for publisher in self._needed)


def main() -> int:
    """Publish until everything is out or a signal comes; return the exit status."""
    options = read_arguments(build_parser())
    try:
        sources = find_images(options.images, options.boxes or None)
        frames = _read_frames(sources)
    except (OSError, ValueError) as error:
        print(f"sameo_replay: {error}", file=sys.stderr)
        return 1
    if not frames:
        return 1
    with ros_until_signal():
        node = ReplayNode(frames, options)
        while not node.is_done:
            rclpy.spin_once(node)
        node.finish()
    return 0 if len(frames) == len(sources) else 1


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="sameo_replay",
        description="Publish images and boxes as a camera and a detector would, once "
        "somebody subscribes to them. For scenes of `sameo_model.synthesize scenes` depth and "
        "camera_info are published as well.",
        epilog="example: ros2 run sameo_ros sameo_replay --images photos --boxes boxes.json --loop "
        "--ros-args -r image:=/camera/image_raw",
    )
    add = parser.add_argument
    add("--images", required=True, type=Path, help="an image, or a folder of images")
    add("--boxes", help='amodal COCO or JSON file, or "x1,y1,x2,y2;..." (default: images alone)')
    add("--rate", type=positive, default=5.0, metavar="HZ", help="images a second (default: 5)")
    add(
        "--detector-delay",
        type=not_negative,
        default=0.0,
        metavar="S",
        help="seconds that the detector takes for an image (default: 0)",
    )
    add("--loop", action="store_true", help="begin again after the last image")
    add("--count", type=count, default=0, metavar="N", help="stop after N images, repeating them")
    add(
        "--frame-id",
        default="camera",
        help="frame_id of the images; {image} stands for the file's name (default: camera)",
    )
    add(
        "--reliability",
        choices=("best_effort", "reliable"),
        default="reliable",
        help="QoS reliability that is offered (default: reliable)",
    )
    return parser


def _read_frames(sources: list[SourceImage]) -> list[_Frame]:
    """Read the images; print a message for each that cannot be read."""
    frames = []
    for source in sources:
        try:
            frames.append(_read_frame(source))
        except (OSError, ValueError) as error:
            print(f"sameo_replay: left out: {error}", file=sys.stderr)
    return frames


def _read_frame(source: SourceImage) -> _Frame:
    image_rgb, depth_mm = load_image(source)
    height, width = image_rgb.shape[:2]
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    image.data = bytes_to_array(image_rgb)
    if source.depth is None or depth_mm is None:
        return _Frame(source, image, None, None)
    return _Frame(source, image, *_depth_messages(depth_mm, source.depth.matrix))


def _depth_messages(
    depth_mm: npt.NDArray[np.uint16], matrix: list[float]
) -> tuple[Image, CameraInfo]:
    height, width = depth_mm.shape
    image = Image(height=height, width=width, encoding="16UC1", step=2 * width)
    image.data = bytes_to_array(depth_mm.astype("<u2").view(np.uint8))
    info = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = matrix
    return image, info


if __name__ == "__main__":
    sys.exit(main())
