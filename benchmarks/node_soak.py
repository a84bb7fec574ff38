"""Soak the node: thousands of frames at the highest rate, with checks that nothing grows.

    python -m benchmarks.node_soak                        # 20,000 frames, some minutes
    python -m benchmarks.node_soak --frames 2000 --model DIR

Exit status 1 and a sentence if a stamp was not an input's, the counts do not add up, the process
complained of an exception, resident memory grew by more than 2 % after the first quarter, or the
node's overhead more than doubled.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.own_domain import take_own_domain

PROFILE = Path(__file__).parents[1] / "config" / "fastdds.xml"
IMAGE_HW = 480, 640
NUM_BOXES = 8
MAX_GROWTH = 0.02
MAX_SLOWDOWN = 2.0
JITTER_MS = 5.0


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


def main() -> int:
    """Soak, say what is wrong, return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node_soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", type=Path, help="bundle folder (default: a tiny test bundle)")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--frames", type=int, default=20_000)
    options = parser.parse_args()
    take_own_domain()
    # Through the sockets that DDS takes by default, images come late after some 13,000 of them, and
    # what waits for them fills the memory.
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(PROFILE))
    from tests.bundles import make_tiny_bundle

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = options.model or make_tiny_bundle(folder / "tiny")
        complaints = soak(model, options.backend, options.frames, folder)
    for complaint in complaints:
        print(f"soak: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
