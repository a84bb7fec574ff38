"""Who runs against whom, and what each of them costs in a process of its own.

As a program (`python -m benchmarks.contestants NAME BUNDLE`) it loads one contestant, answers
once, and says when: `benchmarks.whole` watches it from outside.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.measure import BASELINE, PYTORCH, conditions
from sameo_model.runtime import Predictor, load_predictor
from sameo_model.runtime.bundle import load_bundle
from sameo_model.runtime.types import FloatArray, Uint8Array

SCENE = Path(__file__).parents[1] / "sameo_ros" / "demo_scenes" / "images" / "000000_00.jpg"
BOX_SIDE = 100.0  # pixels
RUNTIMES = {
    "ONNX Runtime": ("onnxruntime", "f32"),
    "OpenVINO": ("openvino", "f32"),
    "OpenVINO bf16": ("openvino", "bf16"),
}


def contestant_names(bundle: Path) -> list[str]:
    """Return the contestants for a bundle on this processor.

    Without bf16 units nobody runs in bf16; the reference has no network for windows.
    """
    has_bf16 = {"avx512_bf16", "amx_bf16"} & set(conditions()["cpu_extensions"])
    runtimes = [name for name in RUNTIMES if has_bf16 or RUNTIMES[name][1] != "bf16"]
    is_window = load_bundle(bundle).framing.is_window
    return [*([] if is_window else [BASELINE]), PYTORCH, *runtimes]


def open_contestant(name: str, bundle: Path) -> Predictor:
    """Load a bundle; the contestants in PyTorch take the same weights from it."""
    if name in RUNTIMES:
        backend, precision = RUNTIMES[name]
        return load_predictor(bundle, backend, precision=precision)
    from benchmarks.reference_style import ReferenceStyle
    from sameo_model.evaluation.torch_predictor import TorchBackend, wrap_model
    from sameo_model.modeling import load_checkpoint

    network = load_checkpoint(bundle)
    if name == PYTORCH:
        return wrap_model(network)
    reference: Any = ReferenceStyle(network)
    return Predictor(TorchBackend(reference), image_size=network.image_size, name=name)


def load_scene() -> Uint8Array:
    """Return a rendered camera image, uint8 (480, 640, 3) RGB."""
    image_bgr = cv2.imread(str(SCENE))
    assert image_bgr is not None
    return np.asarray(image_bgr[..., ::-1], np.uint8)


def scatter_boxes(number: int) -> FloatArray:
    """Return float32 (N, 4) xyxy boxes of about 100 x 100 pixels in an image of 640 x 480."""
    generator = np.random.default_rng(0)
    sides = generator.uniform(0.9 * BOX_SIDE, 1.1 * BOX_SIDE, (number, 2))
    corners = generator.uniform(0, (640, 480) - sides)
    return np.concatenate((corners, corners + sides), axis=1).astype(np.float32)


def _report_from_inside(name: str, bundle: Path) -> None:
    predictor = open_contestant(name, bundle)
    print("loaded", flush=True)
    predictor.decode(predictor.encode(load_scene()), scatter_boxes(10))
    status = Path("/proc/self/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    print(json.dumps({"peak_mib": peak_kib / 1024}), flush=True)


if __name__ == "__main__":
    _report_from_inside(sys.argv[1], Path(sys.argv[2]))
