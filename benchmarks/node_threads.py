"""Threads, decoder streams and pinning of the node beside a detector that wants the same cores.

    python -m benchmarks.node_threads                                 # under four minutes
    python -m benchmarks.node_threads --cases bf16 --rounds 1         # a part, under 80 seconds
    python -m benchmarks.node_threads --output FILE.md

Three processes over DDS: this one is a camera of 640 x 480 at 30 Hz and receives the masks,
`stand_in_detector` runs a real network on the newest image ten times a second and hands out ten
boxes, the node answers with visible masks. The cases take turns, each in a fresh node. "Age" is the
time from an image's stamp to its received masks, the detector's included; "detector" how long the
detector took for an image; "cores busy" the node's own processor time; "answered" how many of the
detector's images got masks. One thread has no second stream, so that case is not there.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import contestant_names, load_scene
from benchmarks.measure import conditions
from benchmarks.own_domain import take_own_domain
from benchmarks.whole import ROOT, processor_time_s

OUTPUT = ROOT / "benchmarks" / "results" / "node_threads.md"
CAMERA_HZ = 30.0
DETECTOR_HZ = 10.0
WARM_UP_S, DRAIN_S = 1.0, 0.5
ALONE = "no node"


@dataclass(frozen=True)
class Case:
    """What the node is told."""

    precision: str
    threads: int
    decoder_streams: int
    pin_threads: str

    @property
    def name(self) -> str:
        """Words for the table."""
        return (
            f"{self.precision}, {_count(self.threads, 'thread')}, "
            f"{_count(self.decoder_streams, 'stream')}, pinning {self.pin_threads}"
        )


@dataclass
class Figures:
    """What was measured of one case, over all its rounds.

    Attributes:
        ages_ms: From the stamp of each answered image to its masks.
        detector_ms: How long the detector took for each image.
        cores_busy: One value for each round.
    """

    ages_ms: list[float] = field(default_factory=list)
    detector_ms: list[float] = field(default_factory=list)
    cores_busy: list[float] = field(default_factory=list)


def list_cases(words: Sequence[str]) -> list[Case]:
    """Return the cases in whose name one of the words stands; all without words."""
    precisions = ("bf16", "f32") if "OpenVINO bf16" in contestant_names() else ("f32",)
    cases = [
        Case(precision, threads, streams, pinning)
        for precision in precisions
        for threads, streams in ((1, 1), (2, 1), (2, 2))
        for pinning in ("on", "off")
    ]
    return [case for case in cases if not words or any(word in case.name for word in words)]


class Detector:
    """`stand_in_detector` in a process of its own."""

    def __init__(self, folder: Path, *, pinned: bool) -> None:
        """Start it; what it says goes to a file in the folder."""
        self._log = folder / "detector.txt"
        command = [sys.executable, "-m", "benchmarks.stand_in_detector", f"--rate={DETECTOR_HZ}"]
        command += ["--pinned"] if pinned else []
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=output)

    def durations_ms(self, from_ns: int, to_ns: int) -> dict[int, float]:
        """Return how long each image took whose stamp lies in a span, by stamp."""
        finished, _, _ = self._log.read_text().rpartition("\n")  # the last line may be half there
        lines = [line.split() for line in finished.splitlines()]
        return {int(stamp): float(ms) for stamp, ms in lines if from_ns <= int(stamp) < to_ns}

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


class Camera:
    """Publishes one picture at `CAMERA_HZ` and notes when masks come."""

    def __init__(self, client: Any) -> None:
        """Take the client of the tests, which publishes and listens."""
        self.received_ns: dict[int, int] = {}
        self._client = client
        self._image = client.image(load_scene())
        self._next_s = time.monotonic()

    def film(self, duration_s: float) -> None:
        """Go on for a while."""
        from sameo_ros.core.stamps import stamp_to_ns

        end_s = time.monotonic() + duration_s
        while (now_s := time.monotonic()) < end_s:
            if now_s >= self._next_s:
                stamp = self._image.header.stamp
                stamp.sec, stamp.nanosec = divmod(time.time_ns(), 1_000_000_000)
                self._client.images.publish(self._image)
                self._next_s = max(self._next_s + 1 / CAMERA_HZ, now_s)
            self._client.executor.spin_once(timeout_sec=max(0.0, self._next_s - time.monotonic()))
            for message in self._client.masks:
                self.received_ns[stamp_to_ns(message.header.stamp)] = time.time_ns()
            self._client.masks.clear()


def measure(
    case: Case | None, options: argparse.Namespace, folder: Path, detector: Detector
) -> Figures:
    """Run one case once; without a case the detector works beside no node."""
    with _start(case, options.model, folder) as (client, pid):
        camera = Camera(client)
        camera.film(WARM_UP_S)
        while not detector.durations_ms(0, time.time_ns()):
            camera.film(DRAIN_S)
        busy_s, from_ns = processor_time_s(pid) if pid else 0.0, time.time_ns()
        camera.film(options.seconds)
        busy_s, to_ns = (processor_time_s(pid) if pid else 0.0) - busy_s, time.time_ns()
        camera.film(DRAIN_S)
    detected = detector.durations_ms(from_ns, to_ns)
    answered = detected.keys() & camera.received_ns.keys()
    return Figures(
        [(camera.received_ns[stamp] - stamp) / 1e6 for stamp in answered],
        list(detected.values()),
        [busy_s / ((to_ns - from_ns) / 1e9)],
    )


@contextmanager
def _start(case: Case | None, model: str, folder: Path) -> Iterator[tuple[Any, int | None]]:
    """Start the node of a case, if any; yield a client and the node's process."""
    from tests.sameo_ros.node_bench import Client, start_node

    node = None
    if case is not None:
        values = {name: getattr(case, name) for name in Case.__dataclass_fields__}
        node = start_node(folder, model, backend="openvino", diagnostics_period_s=1.0, **values)
    client = Client()
    try:
        if node is not None:
            client.until_active()
        yield client, node.popen.pid if node else None
    finally:
        client.close()
        if node is not None:
            node.stop()


def format_table(figures: dict[str, Figures]) -> list[str]:
    """Return the lines of a Markdown table; the least median age of each precision is bold."""
    ages = {name: float(np.median(one.ages_ms)) for name, one in figures.items() if one.ages_ms}
    best = {
        min((name for name in ages if name.startswith(precision)), key=ages.__getitem__)
        for precision in {name.split(",")[0] for name in ages}
    }
    lines = [
        "| node | age p50 / p95, ms | detector p50, ms | node's cores busy | answered |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, one in figures.items():
        age, share, cores = "-", "-", "-"
        if name != ALONE:
            share = f"{len(one.ages_ms)} of {len(one.detector_ms)}"
            cores = f"{np.mean(one.cores_busy):.2f}"
        if name in ages:
            median = f"**{ages[name]:.0f}**" if name in best else f"{ages[name]:.0f}"
            age = f"{median} / {np.percentile(one.ages_ms, 95):.0f}"
        detector = f"{np.median(one.detector_ms):.0f}" if one.detector_ms else "-"
        lines.append(f"| {name} | {age} | {detector} | {cores} | {share} |")
    return lines


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the cases by turns, print the table and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node_threads", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", default="sameo_lite", help="name of a bundle, or its folder")
    parser.add_argument("--seconds", type=float, default=4.0, help="per case and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cases", nargs="*", default=[], help='such as bf16 "2 threads, 2"')
    parser.add_argument("--detector-pinned", action="store_true", help="bind it to a core too")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="Markdown file to write")
    options = parser.parse_args(arguments)
    cases = list_cases(options.cases)
    if not cases:
        parser.error(f"--cases must be words of the table's first column; got {options.cases}")
    take_own_domain()
    state = conditions()
    figures = {name: Figures() for name in (ALONE, *(case.name for case in cases))}
    with tempfile.TemporaryDirectory() as scratch:
        detector = Detector(Path(scratch), pinned=options.detector_pinned)
        try:
            for _ in range(options.rounds):
                for case in (None, *cases):
                    found = measure(case, options, Path(scratch), detector)
                    kept = figures[case.name if case else ALONE]
                    kept.ages_ms += found.ages_ms
                    kept.detector_ms += found.detector_ms
                    kept.cores_busy += found.cores_busy
        finally:
            detector.stop()
    about = (
        f"{state['time']}; {state['cpu']}, {state['cores']} cores; OpenVINO "
        f"{state['libraries']['openvino']}; camera {CAMERA_HZ:g} Hz, detector {DETECTOR_HZ:g} Hz, "
        f"{options.rounds} rounds of {options.seconds:g} s; load average before "
        f"{state['load_before']}, after {os.getloadavg()[0]:.2f}."
    )
    text = "\n".join([about, "", *format_table(figures), ""])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
