"""Soak the node: thousands of frames at the highest rate, or minutes in which all is well.

    python -m benchmarks.node_soak                        # 20,000 frames, some minutes
    python -m benchmarks.node_soak --frames 2000 --model DIR
    python -m benchmarks.node_soak --healthy-minutes 10   # a camera with depth at 5 Hz

With `--healthy-minutes` camera and detector do what they should, no message is lost on the way
(reliable subscriptions, else the node's defaults), and every warning in the node's log or on
/diagnostics is an error.

Otherwise these are errors: a stamp that was not an input's, counts that do not add up, an
exception in the log, resident memory that grew by more than 2 % after the first quarter, an
overhead that more than doubled. Errors are listed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.own_domain import take_own_domain

ROOT = Path(__file__).parents[1]
PROFILE = ROOT / "config" / "fastdds.xml"
# Up to Jazzy, and from Kilted on.
PROFILE_VARIABLES = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
SCENES = ROOT / "sameo_ros" / "demo_scenes"
IMAGE_HW = 480, 640
NUM_BOXES = 8
MAX_GROWTH = 0.02
MAX_SLOWDOWN = 2.0
JITTER_MS = 5.0
HEALTHY_HZ = 5.0
DETECTOR_DELAY_S = 0.05


def soak(model: Path, backend: str, num_frames: int, folder: Path) -> list[str]:
    """Send frames and return what is wrong, nothing if all is well."""
    from sameo_ros.core.stamps import stamp_to_ns
    from tests.sameo_ros.node_bench import Client, boxes_for, start_node

    # Few images in the cache: their number follows the load, and memory with it.
    node = start_node(folder, model, backend=backend, max_age_s=0.1, max_wait_s=0.1)
    client = Client()
    memory_mib, overheads_ms, sent, wrong = [], [], set(), 0
    pixels = np.random.default_rng(0).integers(0, 256, (*IMAGE_HW, 3), dtype=np.uint8)
    boxes = [(40 * i, 100, 40 * i + 120, 300) for i in range(NUM_BOXES)]
    try:
        client.until_active()
        for number in range(num_frames):
            image = client.image(pixels)
            sent.add(client.send(image, boxes_for(image, *boxes)))
            client.spin(0.004)
            wrong += sum(stamp_to_ns(one.header.stamp) not in sent for one in client.masks)
            client.masks.clear()
            if number % (num_frames // 100) == 0:
                memory_mib.append(node.resident_mib())
                overheads_ms.append(float(client.values().get("overhead_ms_p50", "nan")))
            if number % (num_frames // 10) == 0:
                published = client.values().get("masks_published", 0)
                print(f"{number} frames, {published} answers, {memory_mib[-1]:.0f} MiB", flush=True)
        client.spin(1.0)
        return list(_complaints(client.values(), memory_mib, overheads_ms, wrong, node.text()))
    finally:
        client.close()
        node.stop()


def _complaints(
    values: dict[str, str], memory_mib: list[float], overheads_ms: list[float], wrong: int, log: str
) -> Any:
    dropped = {key: int(n) for key, n in values.items() if key.startswith("dropped_")}
    received, published = int(values["detections_received"]), int(values["masks_published"])
    early, late = np.median(memory_mib[25:45]), np.median(memory_mib[-20:])
    early_ms, late_ms = np.nanmedian(overheads_ms[25:45]), np.nanmedian(overheads_ms[-20:])
    print(
        f"received {received}, published {published}, {dropped}; memory {early:.1f} MiB, then "
        f"{late:.1f} MiB ({100 * (late / early - 1):+.1f} %); overhead p50 {early_ms:.1f} ms, then "
        f"{late_ms:.1f} ms"
    )
    if wrong:
        yield f"{wrong} answers have a stamp that no image had"
    if received != published + sum(dropped.values()):
        yield "received is not published + dropped"
    if dropped["dropped_failed"] or "Traceback" in log:
        yield f"the node met exceptions:\n{log[-2000:]}"
    if late > early * (1 + MAX_GROWTH):
        yield f"memory grew from {early:.1f} to {late:.1f} MiB"
    if late_ms > early_ms * MAX_SLOWDOWN + JITTER_MS:
        yield f"the overhead grew from {early_ms:.1f} to {late_ms:.1f} ms"


def watch_health(model: Path, backend: str, minutes: float, folder: Path) -> list[str]:
    """Let camera, detector and node run as they should; return the warnings that were seen."""
    from vision_msgs.msg import Detection3DArray

    from tests.sameo_ros.node_bench import Client, NodeProcess

    parameters = ["-p", f"model:={model}", "-p", f"backend:={backend}"]
    for name in ("image", "detections", "depth", "camera_info"):
        parameters += ["-p", f"qos_overrides./{name}.subscription.reliability:=reliable"]
    node = NodeProcess(folder, "node", "--ros-args", *parameters)
    inputs = ["--images", str(SCENES / "images"), "--boxes", str(SCENES / "annotations.json")]
    rhythm = ["--rate", str(HEALTHY_HZ), "--detector-delay", str(DETECTOR_DELAY_S), "--loop"]
    replay = NodeProcess(folder, "replay", *inputs, *rhythm)
    client = Client(image_topic="unused")
    objects: list[Any] = []
    client.node.create_subscription(Detection3DArray, "/sameo/objects", objects.append, 10)
    came: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    try:
        client.until(lambda: client.masks and client.diagnostics)
        for _ in range(round(60 * minutes)):
            for messages in (client.masks, client.diagnostics, objects):
                messages.clear()
            client.spin(1.0)
            came.update(answers=len(client.masks), objects=len(objects))
            came.update(diagnostics=len(client.diagnostics))
            statuses = [array.status[0] for array in client.diagnostics]
            warnings.update(one.message for one in statuses if one.level != b"\0")
    finally:
        client.close()
        replay.stop()
        node.stop()
    print(f"{minutes:g} minutes: {dict(came)}, of these diagnostics {warnings.total()} warnings")
    if not all(came[kind] for kind in ("answers", "objects", "diagnostics")):
        return [f"something did not come, so that nothing was checked:\n{node.text()[-2000:]}"]
    logged = [line for line in node.text().splitlines() if "[WARN]" in line or "[ERROR]" in line]
    named = [f"{number} times on /diagnostics: {text}" for text, number in warnings.items()]
    return named + logged


def main() -> int:
    """Soak, say what is wrong, return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node_soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", type=Path, help="bundle folder (default: a tiny test bundle)")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--healthy-minutes", type=float, metavar="M")
    options = parser.parse_args()
    take_own_domain()
    # Through the sockets that DDS takes by default, images come late after some 13,000 of them, and
    # what waits for them fills the memory.
    for name in PROFILE_VARIABLES:
        os.environ.setdefault(name, str(PROFILE))
    from tests.bundles import make_tiny_bundle

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = options.model or make_tiny_bundle(folder / "tiny")
        if options.healthy_minutes:
            complaints = watch_health(model, options.backend, options.healthy_minutes, folder)
        else:
            complaints = soak(model, options.backend, options.frames, folder)
    for complaint in complaints:
        print(f"soak: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
