"""`evaluate masks`: mask metrics with true boxes as prompts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sameo_model.data.arguments import whole_number
from sameo_model.evaluation.bootstrap import DEFAULT_REPLICATES
from sameo_model.evaluation.data_options import add_data_options, check_amodal, open_truth
from sameo_model.evaluation.mask_metrics import PromptedImages, intervals, score_masks, summarise
from sameo_model.evaluation.model_options import add_model_options, check_model_options, open_model
from sameo_model.evaluation.predictions import Clock
from sameo_model.evaluation.result_files import instances_path, write_instances
from sameo_model.runtime.clicks import MAX_CLICKS
from sameo_model.runtime.files import write_json

BY_SIZE = ("miou_full", "miou_visible", "boundary_f", "boundary_f_visible")

_SUMMARY = "Score the masks of a model whose prompts are true boxes."


def add_parser(commands: Any) -> None:
    """Add the command's options to `argparse` sub-commands."""
    parser = commands.add_parser("masks", help=_SUMMARY, description=_SUMMARY)
    add_data_options(parser)
    add_model_options(parser)
    add = parser.add_argument
    add(
        "--prompts",
        choices=("visible", "amodal"),
        required=True,
        help="which true mask's tight box prompts the model",
    )
    add(
        "--box-noise",
        type=float,
        default=0.0,
        metavar="P",
        help="move each side by up to this share of the box's size (default 0)",
    )
    add(
        "--points",
        type=int,
        default=0,
        choices=range(MAX_CLICKS + 1),
        metavar="N",
        help="clicks for each box, at random places of the true visible part, up to 4 (default "
        "0); for networks that were trained with them",
    )
    seed = whole_number(0)
    add("--seed", type=seed, default=0, help="of noise, clicks and intervals (default 0)")
    add("--json", type=Path, metavar="OUT", help="write the result here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; see `sameo_model.evaluate`."""
    clock = Clock()
    check_model_options(options)
    truth = open_truth(options)
    if options.prompts == "amodal":
        check_amodal(options, truth)
    for note in truth.notes:
        print(f"note: {note}", file=sys.stderr)
    prompted = PromptedImages(
        truth.images, options.prompts, options.box_noise, options.seed, options.points
    )
    with open_model(options, prompted.images, prompted.boxes, clock, prompted.points) as model:
        rows = score_masks(model.predictor, prompted, **model.arguments)
        scores = [score for scores in rows for score in scores]
        result = summarise(scores)
        result["ci"] = intervals(scores, replicates=DEFAULT_REPLICATES, seed=options.seed)
        settings = {
            "command": "masks",
            "annotations": str(options.annotations),
            "images": str(options.images),
            "dataset": options.dataset,
            "prompts": options.prompts,
            "box_noise": options.box_noise,
            "points": options.points,
            "seed": options.seed,
            "limit": options.limit,
            **model.description,
            **clock.settings(),
            "notes": truth.notes,
        }
    print(_table(result))
    if options.json:
        beside = instances_path(options.json)
        write_instances(beside, scores)
        content = {**result, "per_instance": beside.name, "settings": settings}
        write_json(options.json, content, indent=2)
    return 0


def _table(result: dict[str, Any]) -> str:
    lines = [
        f"{name:<38}{_cell(value)}{_interval(result['ci'].get(name))}"
        for name, value in result.items()
        if not isinstance(value, list | dict)
    ]
    if result["num_occluded"] is not None:
        lines.append(f"{'occlusion':<12}{'num':>8}{'miou_full':>12}{'miou_hidden':>14}")
    lines += [
        f"{row['lo']:.1f} to {row['hi']:.1f}  {row['num']:>8}{_cell(row['miou_full']):>12}"
        f"{_cell(row['miou_hidden']):>14}"
        for row in result["bins"]
        if row["num"]
    ]
    lines.append(f"{'side, px':<12}{'num':>8}" + "".join(f"{name:>20}" for name in BY_SIZE))
    lines += [
        f"{_side(row):<12}{row['num']:>8}" + "".join(f"{_cell(row[name]):>20}" for name in BY_SIZE)
        for row in result["sizes"]
        if row["num"]
    ]
    return "\n".join(lines)


def _side(row: dict[str, Any]) -> str:
    return f"{row['lo_px']} to {row['hi_px']}" if row["hi_px"] else f"{row['lo_px']} and up"


def _interval(bounds: list[float] | None) -> str:
    return f"  [{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else ""


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
