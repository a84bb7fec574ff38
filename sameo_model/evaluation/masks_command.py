"""`evaluate masks`: mask metrics with true boxes as prompts."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from sameo_model.evaluation.data_options import add_data_options, open_images
from sameo_model.evaluation.instance_scores import InstanceScore
from sameo_model.evaluation.mask_metrics import score_masks, summarise
from sameo_model.evaluation.predictors import BACKEND_NAMES, open_predictor
from sameo_model.evaluation.result_files import instances_path, write_instances, write_json

SHOWN = (
    "num_instances",
    "num_occluded",
    "miou_full",
    "miou_full_occluded",
    "miou_full_unoccluded",
    "miou_hidden",
    "miou_visible",
    "boundary_f",
    "iou_spearman",
    "baseline_visible_miou_full",
    "baseline_box_miou_full",
    "baseline_hull_miou_full",
    "baseline_visible_miou_full_occluded",
    "baseline_box_miou_full_occluded",
    "baseline_hull_miou_full_occluded",
)


def add_parser(commands: Any) -> None:
    """Add the command's options to `argparse` sub-commands."""
    parser = commands.add_parser("masks", help=__doc__, description=__doc__)
    add_data_options(parser)
    parser.add_argument(
        "--prompts",
        choices=("visible", "amodal"),
        required=True,
        help="which true mask's tight box prompts the model",
    )
    parser.add_argument("--model", help="bundle folder or name, checkpoint file with torch")
    parser.add_argument("--backend", choices=BACKEND_NAMES, default="auto")
    parser.add_argument("--threads", type=int, help="CPU threads of the model")
    parser.add_argument(
        "--box-noise",
        type=float,
        default=0.0,
        metavar="P",
        help="move each side by up to this share of the box's size (default 0)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default 0)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; see `sameo_model.evaluate`."""
    images = open_images(options)
    with open_predictor(options.model, options.backend, options.threads) as predictor:
        started = time.perf_counter()
        rows = score_masks(
            predictor,
            images,
            prompts=options.prompts,
            box_noise=options.box_noise,
            seed=options.seed,
            progress=True,
        )
        scores = [score for scores in rows for score in scores]
        seconds = time.perf_counter() - started
        settings = {
            "command": "masks",
            "annotations": str(options.annotations),
            "images": str(options.images),
            "dataset": options.dataset,
            "model": predictor.name,
            "backend": predictor.backend.name,
            "device": predictor.backend.device,
            "prompts": options.prompts,
            "box_noise": options.box_noise,
            "seed": options.seed,
            "seconds": round(seconds, 3),
        }
    result = summarise(scores)
    print(_table(result))
    if options.json:
        _write(options.json, result, settings, scores)
    return 0


def _write(
    path: Path, result: dict[str, Any], settings: dict[str, Any], scores: list[InstanceScore]
) -> None:
    beside = instances_path(path)
    write_instances(beside, scores)
    write_json(path, {**result, "per_instance": beside.name, "settings": settings})


def _table(result: dict[str, Any]) -> str:
    lines = [f"{name:<38}{_cell(result[name])}" for name in SHOWN]
    lines.append(f"{'occlusion':<12}{'num':>8}{'miou_full':>12}{'miou_hidden':>14}")
    lines += [
        f"{row['lo']:.1f} to {row['hi']:.1f}  {row['num']:>8}{_cell(row['miou_full']):>12}"
        f"{_cell(row['miou_hidden']):>14}"
        for row in result["bins"]
    ]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
