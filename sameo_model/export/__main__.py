"""Command line `python -m sameo_model.export`: a network in, files that robots load out."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sameo_model.export.detector import Detector
    from sameo_model.export.records import Record
    from sameo_model.export.tensorrt import ParityRequest
    from sameo_model.runtime.bundle import Bundle

EXAMPLES = """examples:
  # the network that training wrote, as a bundle for OpenVINO and ONNX Runtime
  python -m sameo_model.export --model runs/lite/model.safetensors --format onnx \\
      --output bundles/lite

  # official EfficientSAM weights, smaller input, its decoder kept for visible masks
  python -m sameo_model.checkpoints fetch efficient_sam_vitt
  python -m sameo_model.export --model efficient_sam_vitt --image-size 512 --visible-decoder \\
      --format onnx --output bundles/vitt_512

  # engines for one kind of GPU, built here without it (TensorRT for RTX alone can do that)
  python -m sameo_model.export --model bundles/vitt_512 --format tensorrt-rtx \\
      --compute-capability SM86 --output bundles/vitt_512_sm86

  # on the robot: what would be built for its GPU, and about how long it takes; then build it
  python -m sameo_model.export --model bundles/vitt_512 --format tensorrt --dry-run
  python -m sameo_model.export --model bundles/vitt_512 --format tensorrt --output bundles/robot

  # then run it
  python -m sameo_model.predict --model bundles/vitt_512 --image photo.jpg \\
      --boxes "40,30,300,260" --output out

A bundle is a folder with model.json, weights.safetensors (float16) and the graphs
window_segmenter.onnx (sameo_lite), or image_encoder.onnx, mask_decoder.onnx and, where the network
has a visible decoder, visible_decoder.onnx. Every export compares the graphs with the network on
each installed backend and writes nothing if they disagree in float32. Where this processor's bf16
draws other masks, the bundle records it (`verified` in model.json), and the runtime will not use
bf16 for it.
The TensorRT formats add <graph>.engine beside the graphs. TensorRT takes the precision from the
graphs; every precision but f32 is measured by emulation on the CPU and refused where its masks
differ too much. Only a run on a GPU proves it. A bundle that is exported again keeps its licence,
training record and scores, unless you give others.
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
    formats = ("onnx", "tensorrt", "tensorrt-rtx")
    add("--format", required=True, choices=formats, help="ONNX graphs, or TensorRT engines too")
    add("--output", type=Path, help="folder to write; an old bundle is replaced")
    add("--image-size", type=int, help="side of the model's square input, pixels")
    add(
        "--visible-decoder",
        action="store_true",
        help="keep the decoder of official EfficientSAM weights for visible masks too",
    )
    add(
        "--points",
        action="store_true",
        help="add the graph for boxes with clicks (OpenVINO and ONNX Runtime); the network must "
        "have been trained with them (samples.points), or be official EfficientSAM weights",
    )
    add(
        "--detector",
        type=Path,
        metavar="FILE",
        help="checkpoint of a box detector to include, or the bundle that has it (sameo_lite); "
        "default: a bundle's own, none for a checkpoint",
    )
    add(
        "--detector-record",
        type=Path,
        metavar="JSON",
        help="its min_score, training and scores; default: a bundle's own",
    )
    add("--name", help="name of the model; default: that of the output folder")
    add("--licence", help="terms of the weights; default: a bundle's own, else Apache-2.0")
    add("--training", type=Path, help="JSON file on the training; default: a bundle's own record")
    add("--scores", type=Path, help="JSON file with scores; default: a bundle's own")
    _add_tensorrt_options(parser)
    return parser


def _add_tensorrt_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("precision and TensorRT").add_argument
    add(
        "--precision",
        help="of the graphs: f32, f16, bf16 or mixed (float16, sensitive parts in float32); "
        "default: that of a bundle that has one, else f32 for onnx and mixed for TensorRT",
    )
    add(
        "--min-mask-iou",
        type=float,
        default=0.98,
        help="smallest mean IoU with the masks and boxes of float32 (%(default)s): below it, "
        "graphs of a --precision are rejected, and the runtime does not use OpenVINO's bf16",
    )
    add("--parity-images", type=Path, help="folder of your images to measure a precision on")
    add("--parity-boxes", help="their boxes, as for python -m sameo_model.predict --boxes")
    add("--compute-capability", help="GPU to build for, such as SM86; default: this machine's GPU")
    add(
        "--cache-dir", type=Path, help="folder of the engine cache; default: ~/.cache/sameo/engines"
    )
    add("--dry-run", action="store_true", help="say what TensorRT would build, and write nothing")


def _run(options: argparse.Namespace) -> None:
    _check_options(options)
    precision = _precision(options)
    if options.format == "onnx" and precision == "f32":
        _export_network(options, options.output)
        _say_size(options.output)
        return
    # Imported here so that --help answers at once.
    from sameo_model.export.bundle import replacing
    from sameo_model.export.precision import write_typed_bundle
    from sameo_model.export.records import relabel
    from sameo_model.export.tensorrt import (
        check_machine,
        describe_plan,
        export_engines,
        write_precision,
    )
    from sameo_model.runtime.backends.engine_plan import bundle_precision

    engines = (options.format, options.compute_capability, options.cache_dir)
    if options.format != "onnx" and not options.dry_run:
        check_machine(options.format, options.compute_capability)
    with tempfile.TemporaryDirectory(prefix="sameo-export-") as workplace:
        source = _source_bundle(options, Path(workplace) / _name(options), precision)
        if options.dry_run:
            draft = Path(workplace) / "typed"
            draft.mkdir()
            # Engines beside the bundle count, so a bundle that is typed already is not copied.
            if bundle_precision(source) != precision:
                source = write_typed_bundle(source, draft, precision)
            for line in describe_plan(source, *engines):
                print(line)
            return
        with replacing(options.output) as draft:
            bundle = write_precision(source, draft, precision, _parity_request(options), print)
            bundle = relabel(bundle, _name(options), _record(options))
            if options.format != "onnx":
                export_engines(bundle, *engines, print)
    _say_size(options.output)


def _check_options(options: argparse.Namespace) -> None:
    if options.format == "onnx" and (options.dry_run or options.compute_capability):
        raise ValueError("--dry-run and --compute-capability belong to the formats of TensorRT")
    if options.output is None and not options.dry_run:
        raise ValueError("--output must name the folder to write; only --dry-run needs none")
    if (options.parity_images is None) != (options.parity_boxes is None):
        raise ValueError("--parity-images and --parity-boxes go together; give both or none")
    if not 0 <= options.min_mask_iou <= 1:
        raise ValueError(f"--min-mask-iou must lie from 0 to 1, got {options.min_mask_iou}")


def _precision(options: argparse.Namespace) -> str:
    """Return the precision asked for, that of the bundle, or the format's default."""
    from sameo_model.export.precision import check_precision
    from sameo_model.runtime.backends.engine_plan import bundle_precision

    if options.precision is not None:
        check_precision(options.precision)
        precision = str(options.precision)
    else:
        bundle = _bundle(options.model)
        precision = "f32" if options.format == "onnx" else "mixed"
        if bundle is not None and bundle_precision(bundle) != "f32":
            precision = bundle_precision(bundle)
    if precision != "f32" and options.points:
        raise ValueError(
            f"--points belongs to float32 bundles, whose graphs OpenVINO and ONNX Runtime run; got "
            f"precision {precision}; leave one of them out"
        )
    if precision == "f32" and options.parity_images is not None:
        raise ValueError(
            "--parity-images measure a precision other than f32; give --precision, or leave "
            "them out"
        )
    return precision


def _bundle(model: str) -> Bundle | None:
    """Return the bundle that a model's name or path means, or None if it means a checkpoint."""
    from sameo_model.runtime.bundle import load_bundle

    try:
        return load_bundle(model)
    except FileNotFoundError:
        return None


def _source_bundle(options: argparse.Namespace, folder: Path, precision: str) -> Bundle:
    """Return the bundle to convert: the model itself, or what its weights export to in float32."""
    from sameo_model.runtime.backends.engine_plan import bundle_precision
    from sameo_model.runtime.bundle import load_bundle

    bundle = _bundle(options.model)
    if bundle is not None:
        is_measured = options.parity_images is None or bundle_precision(bundle) == "f32"
        if (
            options.image_size in (None, bundle.info.image_size)
            and (bundle.info.has_visible_decoder or not options.visible_decoder)
            and bundle_precision(bundle) in ("f32", precision)
            and is_measured
        ):
            return bundle
    _export_network(options, folder)
    return load_bundle(folder)


def _wants_points(options: argparse.Namespace) -> bool:
    """Return whether to add the graph for clicks: on request, or as the bundle at hand has it."""
    bundle = _bundle(options.model)
    return options.points or (bundle is not None and bundle.click_graph is not None)


def _detector(options: argparse.Namespace) -> Detector | None:
    """Return the detector to add: the one asked for, or that of the bundle at hand."""
    from sameo_model.export.detector import RECORD_KEYS, Detector
    from sameo_model.modeling.box_checkpoint import load_box_detector

    weights: Path | None = options.detector
    record: dict[str, Any] = {}
    bundle = _bundle(options.model if weights is None else str(weights))
    if bundle is not None and bundle.detector is not None:
        weights, record = bundle.folder, bundle.info.detector
    if options.detector_record is not None:
        record = _json_object(options.detector_record)
        # The size, which a bundle's own record holds too, is the network's.
        if unknown := set(record) - {*RECORD_KEYS, "image_size"}:
            raise ValueError(
                f"{options.detector_record} may hold {', '.join(RECORD_KEYS)}, but holds "
                f"{', '.join(sorted(unknown))}; correct or remove it"
            )
    if weights is None:
        if record:
            raise ValueError("--detector-record needs a detector; give --detector too")
        return None
    return Detector.from_record(load_box_detector(weights), record)


def _name(options: argparse.Namespace) -> str:
    return options.name or (options.output.resolve().name if options.output else "model")


def _record(options: argparse.Namespace) -> Record:
    """Return what the options say of the model, else what its bundle does."""
    from sameo_model.export.records import Record, record_of

    kept = record_of(_bundle(options.model), options.image_size)
    return Record(
        kept.licence if options.licence is None else options.licence,
        kept.training if options.training is None else _json_object(options.training),
        kept.scores if options.scores is None else _json_object(options.scores),
    )


def _parity_request(options: argparse.Namespace) -> ParityRequest:
    from sameo_model.export.tensorrt import ParityRequest

    return ParityRequest(options.parity_images, options.parity_boxes, options.min_mask_iou)


def _export_network(options: argparse.Namespace, folder: Path) -> None:
    """Export a checkpoint as a float32 bundle, verified on the backends of this machine."""
    from sameo_model.export.bundle import export_bundle
    from sameo_model.modeling.checkpoint import load_checkpoint

    record = _record(options)
    model = load_checkpoint(
        options.model,
        image_size=options.image_size,
        visible_decoder=True if options.visible_decoder else None,
    )
    export_bundle(
        model,
        folder,
        name=options.name,
        licence=record.licence,
        training=record.training,
        scores=record.scores,
        points=_wants_points(options),
        detector=_detector(options),
        check=lambda draft: _verify(draft, options.min_mask_iou),
    )


def _verify(draft: Path, min_mask_iou: float) -> None:
    """Verify a draft, write down which precisions hold, and say so."""
    from sameo_model.export.detector import verify_detector
    from sameo_model.export.records import add_scores, verified_scores
    from sameo_model.export.verify import verify_bundle
    from sameo_model.runtime.bundle import load_bundle

    results = verify_bundle(draft, min_bf16_mask_iou=min_mask_iou)
    for line in verify_detector(draft):
        print(line)
    add_scores(load_bundle(draft), verified_scores(results))
    for result in results:
        print(
            f"{result.backend:12s} {result.precision:5s} mean mask IoU {result.mean_mask_iou:.5f}"
            f"  largest logit error {result.max_logit_error:.1e} of the scale"
        )
        if result.fault:
            print(
                f"  {result.precision} does not hold on this processor: {result.fault}; the "
                "bundle says so, and the runtime will not take it"
            )


def _say_size(folder: Path) -> None:
    size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"wrote {folder} ({size_mb:.1f} MB)")


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


if __name__ == "__main__":
    sys.exit(main())
