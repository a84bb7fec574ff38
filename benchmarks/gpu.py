"""Prove and measure SAMEO on an NVIDIA GPU in one command.

    python -m benchmarks.gpu [--model sameo_lite] [--json OUT]

First the tests that need a GPU run, on our CUDA layer over pycuda. Then real half-precision parity
and latency are measured: with PyTorch, beside the reference's structure, where its CUDA build is
installed, and with TensorRT where the backend runs. This has not been run yet.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sameo_model.runtime.backends.engine_check import mask_ious, reference_scene, run_scene
from sameo_model.runtime.files import write_json

PROJECT_ROOT = Path(__file__).resolve().parents[1]
NUM_BOXES = (1, 8, 32)
NUM_WARM_UP, NUM_RUNS = 10, 50
TYPES = ("float32", "float16", "bfloat16")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests, print the table and write it as JSON; return 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sameo_lite", help="bundle, checkpoint or preset name")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--no-tests", action="store_true", help="leave the tests on the GPU out")
    options = parser.parse_args(arguments)
    failed = 0 if options.no_tests else run_gpu_tests()
    rows = measure_torch(options.model) + measure_tensorrt(options.model)
    print("| path | precision | part | boxes | median ms | p95 ms | mask IoU with float32 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    if options.json:
        write_json(options.json, rows, indent=2)
    return 1 if failed or not rows else 0


def run_gpu_tests() -> int:
    """Run the tests that need a GPU; those that cannot run say why. Return pytest's status."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rs", "-q", "tests"]
    return subprocess.run(command, cwd=PROJECT_ROOT, check=False).returncode


def measure_torch(model_name: str) -> list[dict]:
    """Time encoder and decoder, or all of a window network, and compare the types' masks."""
    import torch

    if not torch.cuda.is_available():
        print("PyTorch sees no CUDA GPU; its part is left out", file=sys.stderr)
        return []
    # PyTorch would otherwise compute float32 convolutions with TensorFloat-32.
    torch.backends.cudnn.allow_tf32 = False
    model = _load_network(model_name).cuda()
    image, boxes = reference_scene(model.image_size)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float().cuda() / 255
    side = model.image_size
    rows, expected = [], None
    for name in TYPES:
        kind = getattr(torch, name)
        enabled = kind is not torch.float32
        with torch.no_grad(), torch.autocast("cuda", kind, enabled=enabled):
            embedding = model.encode(pixels)
            logits, _ = model.decode_boxes(
                embedding, torch.from_numpy(boxes)[None].cuda(), (side, side)
            )
            masks = (logits[0] > 0).cpu().numpy()
            expected = masks if expected is None else expected
            iou = float(np.mean(mask_ious(masks, expected)))
            if not model.framing.is_window:
                encode = _graphed(torch, lambda: model.encode(pixels))
                rows.append(_row("PyTorch", name, "encoder", "", encode, iou))
            for count in NUM_BOXES:
                repeated = np.resize(boxes, (count, 4))
                cuda_boxes = torch.from_numpy(repeated).cuda()
                if model.framing.is_window:
                    windows = pixels.expand(count, -1, -1, -1).contiguous()
                    work = partial(_draw_windows, model, windows, cuda_boxes[:, None])
                else:
                    work = partial(model.decode_boxes, embedding, cuda_boxes[None], (side, side))
                part = "windows" if model.framing.is_window else "decoder"
                rows.append(_row("PyTorch", name, part, count, _graphed(torch, work), iou))
    if model.framing.is_window:
        return rows  # the reference sees whole images
    return rows + _measure_reference(torch, model, pixels, boxes)


def _draw_windows(model, windows, boxes):
    """Draw both masks of a box in each window."""
    side = (model.image_size, model.image_size)
    return model.draw_masks(model.encode(windows), boxes, side)


def _measure_reference(torch, model, pixels, boxes: np.ndarray) -> list[dict]:
    """Time the reference's structure as the reference runs it: float32, without CUDA graphs."""
    from benchmarks.reference_style import ReferenceStyle

    reference = ReferenceStyle(model)
    side = (model.image_size, model.image_size)

    def timed(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                work()
            torch.cuda.synchronize()

        return run

    with torch.no_grad():
        embedding = reference.encode(pixels)
    encode = timed(lambda: reference.encode(pixels))
    rows = [_row("reference's structure", TYPES[0], "encoder", "", encode, 1.0)]
    for count in NUM_BOXES:
        repeated = torch.from_numpy(np.resize(boxes, (count, 4)))[None].cuda()
        decode = timed(partial(reference.decode_boxes, embedding, repeated, side))
        rows.append(_row("reference's structure", TYPES[0], "decoder", count, decode, 1.0))
    return rows


def _load_network(name: str):
    from sameo_model.modeling import build_sameo, load_checkpoint
    from sameo_model.modeling.presets import PRESETS

    try:
        return load_checkpoint(name)
    except FileNotFoundError:
        if name not in PRESETS:
            raise
        print(f"no weights of {name} are here; random ones are timed", file=sys.stderr)
        return build_sameo(name)


def _graphed(torch, work: Callable[[], object]) -> Callable[[], None]:
    """Record work as a CUDA graph; running the result also waits for it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def run() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return run


def measure_tensorrt(model_name: str) -> list[dict]:
    """Time the runtime's own backend, copies included."""
    from sameo_model.runtime import BackendUnavailableError
    from sameo_model.runtime.backends.base import build_backend
    from sameo_model.runtime.backends.engine_check import read_reference
    from sameo_model.runtime.bundle import load_bundle

    try:
        bundle = load_bundle(model_name)
        backend = build_backend("tensorrt", bundle)
    except (BackendUnavailableError, FileNotFoundError) as error:
        print(f"TensorRT is left out: {error}", file=sys.stderr)
        return []
    image, boxes = reference_scene(bundle.info.image_size)
    stored = read_reference(bundle.folder)
    found = run_scene(backend, image, boxes).amodal_logits > 0
    iou = float(np.mean(mask_ious(found, stored["amodal"]))) if stored else float("nan")
    path, precision = backend.device.rsplit(", ", 1)
    rows = []
    if backend.encodes_images:
        handle = backend.encode(image)
        rows.append(_row(path, precision, "encoder", "", lambda: backend.encode(image), iou))
    for count in NUM_BOXES:
        repeated = np.resize(boxes, (count, 4))
        if backend.encodes_images:
            work, part = partial(backend.decode, handle, repeated, False), "decoder"
        else:
            work, part = partial(run_scene, backend, image, repeated), "windows"
        rows.append(_row(path, precision, part, count, work, iou))
    backend.close()
    return rows


def _row(
    path: str, precision: str, part: str, boxes: object, work: Callable[[], object], iou: float
) -> dict:
    times_ms = []
    for index in range(NUM_WARM_UP + NUM_RUNS):
        started = time.perf_counter()
        work()
        if index >= NUM_WARM_UP:
            times_ms.append(1000 * (time.perf_counter() - started))
    return {
        "path": path,
        "precision": precision,
        "part": part,
        "boxes": boxes,
        "median_ms": round(statistics.median(times_ms), 3),
        "p95_ms": round(float(np.percentile(times_ms, 95)), 3),
        "mask_iou": round(iou, 5),
    }


if __name__ == "__main__":
    sys.exit(main())
