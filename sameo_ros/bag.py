"""`python -m sameo_ros.bag IN OUT`: run the node's logic over a recorded bag, without ROS.

Every message of IN is copied to OUT, and the masks of each detection message are added; with
--depth and --camera-info the 3D boxes, too. The rules are those of the node, with the time of the
recording as the clock, but nothing is superseded: each detection message is answered before the
next is read.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C during the imports ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import errno
import re
import shutil
import sqlite3
import sys
import time
from pathlib import Path

from sameo_model.runtime import load_predictor
from sameo_ros.bag_source import check_source
from sameo_ros.core.camera_model import RECTIFIED
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.statistics import COUNTERS, Statistics
from sameo_ros.messages.detector_conventions import VISION_TYPE, YOLO_TYPE

try:
    from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin, Writer, WriterError

    from sameo_ros.bag_run import IMAGE_TYPES, BagRun, Topics
except ModuleNotFoundError as error:
    if not str(error.name).startswith("rosbags"):
        raise
    MISSING = (
        "the package rosbags is missing; run `pip install rosbags`, which the extra `bag` of "
        "sameo_model names as well"
    )
else:
    MISSING = ""

_STORAGES = ("mcap", "sqlite3")


def process_bag(options: argparse.Namespace) -> tuple[Statistics, float]:
    """Write the bag `options.target`; nothing is left of it if that fails.

    Returns:
        Counts, and the time that it took, seconds.

    Raises:
        OSError: If a bag cannot be read or written, or the target exists.
        ValueError: If topics are missing, or the model cannot be used.
        RuntimeError: If the backend cannot run here.
    """
    check_source(options.source)
    if options.target.exists():
        raise FileExistsError(f"{options.target} exists already; remove it or give another folder")
    partial = options.target.with_name(options.target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    parameters = SameoParameters(
        model=options.model,
        encode_ahead="off",
        max_age_s=60.0,
        rectified=options.rectified,
        target_frame=options.target_frame,
    )
    started_s = time.monotonic()
    try:
        with (
            Reader(options.source) as reader,
            load_predictor(options.model, options.backend) as predictor,
        ):
            topics = choose_topics(reader, options)
            storage = StoragePlugin[options.storage.upper()]
            with Writer(partial, version=9, storage_plugin=storage) as writer:
                run = BagRun(predictor, parameters, reader, writer, topics)
                run.run()
        partial.rename(options.target)
    except (OSError, sqlite3.OperationalError) as error:
        if not _is_of_disk(error):
            raise
        raise OSError(
            f"{options.target} cannot be written ({getattr(error, 'strerror', error)}); free space "
            "or give another folder"
        ) from error
    except (ReaderError, WriterError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"{options.source} cannot be read as a bag: {reason}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return run.record.statistics, time.monotonic() - started_s


def _is_of_disk(error: OSError | sqlite3.OperationalError) -> bool:
    """Whether there is no room for what is written."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "disk" in str(error)  # database or disk is full; disk I/O error


def choose_topics(reader: Reader, options: argparse.Namespace) -> Topics:
    """Take the topics that were named, else the only ones of their types.

    Raises:
        ValueError: If a topic is not in the bag, or none or several could be meant, or one that is
            to be added is there already.
    """
    by_topic = {one.topic: one.msgtype for one in reader.connections}
    added = {"masks": options.masks}
    if options.depth:
        added["objects"] = options.objects
    for flag, topic in added.items():
        if topic in by_topic or not re.fullmatch(r"(/[A-Za-z_]\w*)+", topic, re.ASCII):
            raise ValueError(
                f"--{flag} must be the full name, such as /sameo/{flag}, of a topic that the bag "
                f"does not have; got {topic}"
            )

    def choose(given: str, types: tuple[str, ...], flag: str) -> str:
        fitting = sorted(topic for topic, kind in by_topic.items() if kind in types)
        if given in fitting or (not given and len(fitting) == 1):
            return given or fitting[0]
        raise ValueError(
            f"--{flag} must name a topic of type {' or '.join(types)}; the bag has "
            f"{', '.join(fitting) or 'none'}"
        )

    topics = Topics(
        image=choose(options.image, IMAGE_TYPES, "image"),
        detections=choose(options.detections, (VISION_TYPE, YOLO_TYPE), "detections"),
        depth=options.depth and choose(options.depth, IMAGE_TYPES[:1], "depth"),
        camera_info=options.camera_info
        and choose(options.camera_info, ("sensor_msgs/msg/CameraInfo",), "camera-info"),
        masks=options.masks,
        objects=options.objects,
    )
    if bool(topics.depth) != bool(topics.camera_info):
        flags = ("--depth", "--camera-info")
        given, missing = flags if topics.depth else flags[::-1]
        raise ValueError(
            f"{given} is given without {missing}: 3D boxes need both; give {missing}, or neither"
        )
    return topics


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = build_parser().parse_args(arguments)
    if MISSING:
        print(f"bag: {MISSING}", file=sys.stderr)
        return 1
    try:
        statistics, duration_s = process_bag(options)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"bag: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # the library raises many kinds for damaged files
        print(f"bag: {options.source} cannot be read as a bag: {error!r}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    published = statistics["masks_published"]
    print(
        f"{published} of {statistics['detections_received']} detection messages are answered in "
        f"{duration_s:.1f} s ({published / duration_s:.1f} a second); {options.target} has them on "
        f"{options.masks}"
    )
    drops = {key: statistics[key] for key in COUNTERS if key.startswith("dropped_")}
    if any(drops.values()):
        counts = ", ".join(f"{number} {key}" for key, number in drops.items() if number)
        print(f"bag: detection messages not answered, by cause: {counts}", file=sys.stderr)
    if statistics["objects_missing"]:
        print(
            f"bag: {statistics['objects_missing']} of {published} answers have no 3D boxes: in the "
            f"bag, no usable depth within {SameoParameters().depth_tolerance_s:g} s of the image, "
            "or no usable camera_info, comes before their boxes (see above)",
            file=sys.stderr,
        )
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_ros.bag",
        description="Add amodal masks to a recorded bag (rosbag2, mcap or sqlite3), as fast as "
        "the machine allows, without ROS.",
    )
    add = parser.add_argument
    add("source", type=Path, metavar="IN", help="folder of the bag, or its .mcap or .db3 alone")
    add("target", type=Path, metavar="OUT", help="folder of the new bag")
    add("--image", default="", metavar="TOPIC", help="default: the only image topic")
    add("--detections", default="", metavar="TOPIC", help="default: the only "
        "vision_msgs/Detection2DArray or yolo_msgs/DetectionArray")  # fmt: skip
    add("--depth", default="", metavar="TOPIC", help="depth registered to the images; "
        "for 3D boxes, with --camera-info (default: none)")  # fmt: skip
    add("--camera-info", default="", metavar="TOPIC", help="calibration of the "
        "images (default: none)")  # fmt: skip
    add("--rectified", choices=RECTIFIED, default="auto", help="whether images are rectified, so "
        "that P of the camera info counts; auto: by the topic's name, then by P "
        "(default: %(default)s)")  # fmt: skip
    add("--target-frame", default="", metavar="FRAME", help="frame of the 3D boxes, by the bag's "
        "transforms (default: the camera's optical frame)")  # fmt: skip
    add("--masks", default="/sameo/masks", metavar="TOPIC", help="default: %(default)s")
    add("--objects", default="/sameo/objects", metavar="TOPIC", help="default: %(default)s")
    add("--model", default="sameo_lite", help="bundled model or folder (default: %(default)s)")
    add("--backend", default="auto", help="default: %(default)s")
    add("--storage", choices=_STORAGES, default="mcap", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a stopped run tidies up
    sys.exit(main())
