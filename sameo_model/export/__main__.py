"""Command line `python -m sameo_model.export`: a network in, files that robots load out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  # the network that training wrote, as a bundle for OpenVINO and ONNX Runtime
  python -m sameo_model.export --model runs/lite/model.safetensors --format onnx \\
      --output bundles/lite

  # official EfficientSAM weights, smaller input, its decoder kept for visible masks
  python -m sameo_model.checkpoints fetch efficient_sam_vitt
  python -m sameo_model.export --model efficient_sam_vitt --image-size 512 --visible-decoder \\
      --format onnx --output bundles/vitt_512

  # then run it
  python -m sameo_model.predict --model bundles/vitt_512 --image photo.jpg \\
      --boxes "40,30,300,260" --output out

A bundle is a folder with model.json, weights.safetensors (float16) and the graphs
image_encoder.onnx, mask_decoder.onnx and, where the network has a visible decoder,
visible_decoder.onnx. Every export compares the graphs with the network on each installed backend
and writes nothing if they disagree.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except (OSError, ValueError, RuntimeError, NotImplementedError, ImportError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.export",
        description="Export a network and verify what was written.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", required=True, help="checkpoint file, bundle or fetched official name")
    add("--format", required=True, choices=("onnx", "tensorrt", "tensorrt-rtx"))
    add("--output", required=True, type=Path, help="folder to write; an old bundle is replaced")
    add("--image-size", type=int, help="side of the model's square input, pixels")
    add(
        "--visible-decoder",
        action="store_true",
        help="keep the decoder of official EfficientSAM weights for visible masks too",
    )
    add("--name", help="name of the model; default: that of the output folder")
    add("--licence", default="Apache-2.0", help="terms of the weights (%(default)s)")
    add("--training", type=Path, help="JSON file that says how the weights were trained")
    add("--scores", type=Path, help="JSON file with the model's scores")
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.format != "onnx":
        raise NotImplementedError(
            f"format {options.format} is not available in this version; export with --format onnx"
        )
    # Imported here so that --help answers at once.
    from sameo_model.export.bundle import export_bundle
    from sameo_model.export.verify import Parity, verify_bundle
    from sameo_model.modeling.checkpoint import load_checkpoint

    results: list[Parity] = []
    training, scores = _json_object(options.training), _json_object(options.scores)
    model = load_checkpoint(
        options.model,
        image_size=options.image_size,
        visible_decoder=True if options.visible_decoder else None,
    )
    export_bundle(
        model,
        options.output,
        name=options.name,
        licence=options.licence,
        training=training,
        scores=scores,
        check=lambda folder: results.extend(verify_bundle(folder)),
    )
    for result in results:
        print(
            f"{result.backend:12s} {result.precision:5s} mean mask IoU {result.mean_mask_iou:.5f}"
            f"  largest logit error {result.max_logit_error:.1e} of the scale"
        )
    size_mb = sum(path.stat().st_size for path in options.output.iterdir()) / 1e6
    print(f"wrote {options.output} ({size_mb:.1f} MB)")


def _json_object(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


if __name__ == "__main__":
    sys.exit(main())
