"""The subcommand `synthesize walt`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from sameo_model.data.arguments import whole_number
from sameo_model.synthesis.blocks import open_folder
from sameo_model.synthesis.command_line import add_command
from sameo_model.synthesis.settings_file import load_settings
from sameo_model.synthesis.walt import WaltSettings, compose_walt, settings_of_folder

_HELP = """\
Make composites of WALT: whole objects, found from box intersections in a camera's time-lapse
frames, are pasted back into the empty scene layer by layer; objects that are hidden beyond a
threshold are not annotated. WALT's licence forbids passing the result on.

example:
  python -m sameo_model.synthesize walt --walt WALT/data --output DIR --num-images 4000

output: DIR/{images/,annotations.json (amodal COCO),manifest.json,report.json}. Read it as data set
`walt`. The same seed and settings give the same bytes, whatever --workers. An interrupted run
continues when started again.
"""


def add_walt_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    title = "composite time-lapse frames of WALT"
    add = add_command(commands, "walt", run_walt, title=title, description=_HELP)
    number = whole_number(1)
    add("--walt", type=Path, required=True, help="folder of the cameras")
    add("--num-images", type=number, default=3000, help="composites per camera (3000)")
    add("--objects", type=number, default=30, help="most objects per image (30)")
    order = "which object is pasted over others: the one that ends lower, or any (bottom)"
    add("--layer-order", choices=("bottom", "random"), default="bottom", help=order)
    add(
        "--max-occlusion-rate",
        type=float,
        default=0.7,
        help="largest hidden share of an annotated object (0.7)",
    )
    add("--config", type=Path, help="YAML with further settings, as config/synthesis shows")


def run_walt(args: argparse.Namespace) -> None:
    """Run the subcommand."""
    settings = replace(
        load_settings(
            args.config,
            WaltSettings(seed=args.seed, images_per_camera=args.num_images),
            options=(
                *("seed", "images_per_camera", "objects_per_image", "layer_order"),
                "max_occlusion_rate",
            ),
        ),
        objects_per_image=args.objects,
        layer_order=args.layer_order,
        max_occlusion_rate=args.max_occlusion_rate,
    )
    open_folder(args.output, settings_of_folder(args.walt, settings))
    report = compose_walt(args.walt, args.output, settings, workers=args.workers)
    for key, row in report["paper"].items():
        print(f"{key:20} {row['measured']!s:<22} paper {row['paper']}")
    removed = report["num_removed_by_max_occlusion_rate"]
    print(f"removed by max_occlusion_rate {settings.max_occlusion_rate}: {removed}")
