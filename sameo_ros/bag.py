"""`python -m sameo_ros.bag IN OUT`: run the node's logic over a recorded bag, without ROS.

Every message of IN is copied to OUT, and the masks of each boxes message are added. The rules are
those of the node, with the time of the recording as the clock, but nothing is superseded: each
boxes message is answered before the next message is read.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin, Writer, WriterError
from rosbags.typesys.store import Typestore

from sameo_model.runtime import Predictor, load_predictor
from sameo_model.runtime.types import ImageHW
from sameo_ros.bag_types import build_typestore, make_message, make_storable
from sameo_ros.conversions import NANOSECONDS, compressed_to_rgb, image_to_rgb, stamp_to_ns
from sameo_ros.depth_cache import DepthCache
from sameo_ros.diagnostics import ProblemLog, Statistics
from sameo_ros.frame_cache import DropCause, Frame, FrameCache
from sameo_ros.messages import Answer, MaskMessageTypes, fill_mask_array
from sameo_ros.model_jobs import Camera, ModelJobs
from sameo_ros.parameters import SameoParameters
from sameo_ros.scene_depth import SceneDepth, read_depth

_IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_BOXES_TYPE = "vision_msgs/msg/Detection2DArray"
_MASKS_TYPE = "sameo_ros/msg/AmodalMaskArray"
_STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


@dataclass(frozen=True)
class Topics:
    """Names of the topics in the bag.

    Attributes:
        image: Camera images, raw or compressed.
        detections: Boxes.
        depth: Depth registered to the images, "" without.
        camera_info: Calibration of the images, "" without.
        masks: Where the answers go.
    """

    image: str
    detections: str
    depth: str
    camera_info: str
    masks: str


class BagRun:
    """Runs one camera of a bag through the model.

    Attributes:
        statistics: What was received, published and dropped.
    """

    def __init__(
        self,
        predictor: Predictor,
        parameters: SameoParameters,
        reader: Reader,
        writer: Writer,
        topics: Topics,
    ) -> None:
        """Open the topics.

        Args:
            predictor: The model.
            parameters: As those of the node.
            reader: The open bag that is read.
            writer: The open bag that is written.
            topics: Names of the topics.
        """
        self.statistics = Statistics()
        self._store = build_typestore()
        self._reader, self._writer, self._topics = reader, writer, topics
        self._parameters = parameters
        self._model = predictor.name
        self._depths = DepthCache()
        self._boxes_ns = 0
        self._problems = ProblemLog(lambda sentence: print(f"bag: {sentence}", file=sys.stderr))
        self._jobs = ModelJobs(predictor, parameters, self._problems, threading.Condition())
        cache = FrameCache(parameters.cache_rules, self._count_drop)
        image_type = next(one.msgtype for one in reader.connections if one.topic == topics.image)
        read_image = image_to_rgb if image_type == _IMAGE_TYPES[0] else compressed_to_rgb
        self._camera = Camera(
            "", read_image, self._read_depth, self._write_masks, self.statistics, cache
        )
        self._types = MaskMessageTypes(
            mask_array=self._maker(_MASKS_TYPE),
            mask=self._maker("sameo_ros/msg/AmodalMask"),
            crop=self._maker("sameo_ros/msg/MaskCrop"),
        )
        self._copies = {
            one.id: _copy_connection(writer, one, self._store) for one in reader.connections
        }
        self._masks = writer.add_connection(topics.masks, _MASKS_TYPE, typestore=self._store)

    def run(self) -> None:
        """Copy the bag and add the masks."""
        handlers: dict[str, Callable[[Any, int], None]] = {
            self._topics.image: self._add_image,
            self._topics.detections: self._add_boxes,
            self._topics.depth: lambda message, _: self._depths.add_image(message),
            self._topics.camera_info: lambda message, _: self._depths.set_camera_info(message),
        }
        for connection, time_ns, data in self._reader.messages():
            self._writer.write(self._copies[connection.id], time_ns, data)
            handler = handlers.get(connection.topic)
            if handler is not None:
                message = self._read(data, connection)
                if message is not None:
                    handler(message, time_ns)
                self._answer(time_ns)
        self._answer(self._reader.end_time + round(60 * NANOSECONDS))

    def _read(self, data: Any, connection: Any) -> Any:
        try:
            return self._store.deserialize_cdr(data, connection.msgtype)
        except Exception as error:  # one damaged message must not end the run
            sentence = f"a message on {connection.topic} is damaged and left out: {error!r}"
            self._problems.report(connection.topic, sentence, time.monotonic())
            return None

    def _add_image(self, message: Any, time_ns: int) -> None:
        self.statistics.count("images_received")
        stamp_ns = stamp_to_ns(message.header.stamp)
        self._camera.cache.add_image(stamp_ns, message, time_ns / NANOSECONDS)

    def _add_boxes(self, message: Any, time_ns: int) -> None:
        self.statistics.count("detections_received")
        stamp_ns = stamp_to_ns(message.header.stamp)
        self._camera.cache.add_boxes(stamp_ns, message, time_ns / NANOSECONDS)

    def _answer(self, time_ns: int) -> None:
        ready = self._camera.cache.take_ready(time_ns / NANOSECONDS)
        if ready is not None:
            self._boxes_ns = time_ns
            self._jobs.answer_boxes(self._camera, *ready, [self._camera], threading.Lock())

    def _read_depth(
        self, frame: Frame, image_hw: ImageHW, parameters: SameoParameters
    ) -> SceneDepth | None:
        try:
            return read_depth(self._depths, frame.stamp_ns, image_hw, parameters.depth_tolerance_s)
        except ValueError as error:
            self._problems.report("depth", str(error), time.monotonic())
            return None

    def _write_masks(self, frame: Frame, answer: Answer, _: SameoParameters) -> None:
        message = self._types.mask_array()
        fill_mask_array(message, self._types, answer, frame.message.header)
        message.model = self._model
        make_storable(self._store, message)
        data = self._store.serialize_cdr(message, _MASKS_TYPE)
        self._writer.write(self._masks, self._boxes_ns, data)

    def _maker(self, name: str) -> Callable[[], Any]:
        return lambda: make_message(self._store, name)

    def _count_drop(self, cause: DropCause, _stamp_ns: int) -> None:
        self.statistics.count(cause.value)


def process_bag(options: argparse.Namespace) -> tuple[Statistics, float]:
    """Write the bag `options.target`; nothing is left of it if that fails.

    Returns:
        Counts, and the time that it took, seconds.

    Raises:
        OSError: If a bag cannot be read or written, or the target exists.
        ValueError: If topics are missing, or the model cannot be used.
        RuntimeError: If the backend cannot run here.
    """
    if not (options.source / "metadata.yaml").is_file():
        raise FileNotFoundError(
            f"{options.source} is not the folder of a rosbag2: it has no metadata.yaml; run "
            "`ros2 bag reindex` if the recording was interrupted"
        )
    if options.target.exists():
        raise FileExistsError(f"{options.target} exists already; remove it or give another folder")
    partial = options.target.with_name(options.target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    parameters = SameoParameters(model=options.model, encode_ahead="off", max_age_s=60.0)
    started_s = time.monotonic()
    try:
        with (
            Reader(options.source) as reader,
            load_predictor(options.model, options.backend) as predictor,
        ):
            topics = choose_topics(reader, options)
            storage = _STORAGES[options.storage]
            with Writer(partial, version=9, storage_plugin=storage) as writer:
                run = BagRun(predictor, parameters, reader, writer, topics)
                run.run()
        partial.rename(options.target)
    except (ReaderError, WriterError) as error:
        raise OSError(f"{options.source} cannot be read as a bag: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return run.statistics, time.monotonic() - started_s


def choose_topics(reader: Reader, options: argparse.Namespace) -> Topics:
    """Take the topics that were named, else the only ones of their types.

    Raises:
        ValueError: If a topic is not in the bag, or none or several could be meant.
    """
    by_topic = {one.topic: one.msgtype for one in reader.connections}

    def choose(given: str, types: tuple[str, ...], flag: str) -> str:
        fitting = sorted(topic for topic, kind in by_topic.items() if kind in types)
        if given in fitting or (not given and len(fitting) == 1):
            return given or fitting[0]
        raise ValueError(
            f"--{flag} must name a topic of type {' or '.join(types)}; the bag has "
            f"{', '.join(fitting) or 'none'}"
        )

    return Topics(
        image=choose(options.image, _IMAGE_TYPES, "image"),
        detections=choose(options.detections, (_BOXES_TYPE,), "detections"),
        depth=options.depth and choose(options.depth, _IMAGE_TYPES[:1], "depth"),
        camera_info=options.camera_info
        and choose(options.camera_info, ("sensor_msgs/msg/CameraInfo",), "camera-info"),
        masks=options.masks,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = build_parser().parse_args(arguments)
    try:
        statistics, duration_s = process_bag(options)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"bag: {error}", file=sys.stderr)
        return 1
    published = statistics["masks_published"]
    print(
        f"{published} of {statistics['detections_received']} boxes messages are answered in "
        f"{duration_s:.1f} s ({published / duration_s:.1f} a second); {options.target} has them on "
        f"{options.masks}"
    )
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_ros.bag",
        description="Add amodal masks to a recorded bag (rosbag2, mcap or sqlite3), as fast as "
        "the machine allows; neither ROS nor a graph is needed.",
    )
    add = parser.add_argument
    add("source", type=Path, metavar="IN", help="folder of the bag")
    add("target", type=Path, metavar="OUT", help="folder of the new bag")
    add("--image", default="", metavar="TOPIC", help="default: the only image topic")
    add("--detections", default="", metavar="TOPIC", help="default: the only Detection2DArray")
    add("--depth", default="", metavar="TOPIC", help="registered depth (default: none)")
    add("--camera-info", default="", metavar="TOPIC", help="calibration (default: none)")
    add("--masks", default="/sameo/masks", metavar="TOPIC", help="default: %(default)s")
    add("--model", default="sameo_lite", help="bundled model or folder (default: %(default)s)")
    add("--backend", default="auto", help="default: %(default)s")
    add("--storage", choices=sorted(_STORAGES), default="mcap", help="default: %(default)s")
    return parser


def _copy_connection(writer: Writer, connection: Any, store: Typestore) -> Any:
    # Bags of older distributions do not carry the definitions of their messages.
    definition = connection.msgdef.data
    types = {"msgdef": definition, "rihs01": connection.digest} if definition else {}
    return writer.add_connection(
        connection.topic,
        connection.msgtype,
        **(types or {"typestore": store}),
        serialization_format=connection.ext.serialization_format,
        offered_qos_profiles=connection.ext.offered_qos_profiles,
    )


if __name__ == "__main__":
    sys.exit(main())
