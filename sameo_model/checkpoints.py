"""Command line `python -m sameo_model.checkpoints`: fetch, list and show network weights."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sameo_model.modeling.official import (
    DOWNLOAD_FOLDER,
    OFFICIAL,
    SOURCE,
    checkpoint_path,
    fetch_official,
    git_blob_id,
)
from sameo_model.runtime.bundle import bundled_models, load_bundle

EXAMPLES = """examples:
  python -m sameo_model.checkpoints list
  python -m sameo_model.checkpoints fetch efficient_sam_vitt
  python -m sameo_model.checkpoints show efficient_sam_vitt
  python -m sameo_model.checkpoints show runs/lite/model.safetensors

Fetched files go to checkpoints/ in the current folder. They are verified against git's id of the
published file, and a download that broke off is resumed. On a machine without a network, put the
file of the EfficientSAM repository's weights folder there yourself and run fetch: it verifies.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("stopped; run the same command again to resume", file=sys.stderr)
        return 130
    except (OSError, ValueError, RuntimeError) as error:
        print(f"checkpoints {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.checkpoints",
        description="Fetch official EfficientSAM weights; list and describe what is there.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="download official weights and verify them")
    fetch.add_argument("name", choices=OFFICIAL, help="official name of the weights")
    fetch.add_argument("--folder", type=Path, default=DOWNLOAD_FOLDER, help="default: %(default)s")
    fetch.add_argument("--source", default=SOURCE, help="a mirror; default: %(default)s")
    fetch.set_defaults(run=_fetch)
    listing = commands.add_parser("list", help="say which weights are there")
    listing.add_argument(
        "--folder", type=Path, default=DOWNLOAD_FOLDER, help="default: %(default)s"
    )
    listing.set_defaults(run=_list)
    show = commands.add_parser("show", help="describe a checkpoint or bundle")
    show.add_argument("model", help="file, bundle folder or name")
    show.set_defaults(run=_show)
    return parser


def _fetch(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    bars: list[tqdm] = []

    def progress(done: int, total: int | None) -> None:
        if not bars:  # Made late, so that no empty bar precedes an error.
            bars.append(tqdm(desc=options.name, total=total, initial=done, unit="B", unit_scale=1))
        bars[0].update(done - bars[0].n)

    try:
        path = fetch_official(
            options.name, options.folder, source=options.source, progress=progress
        )
    finally:
        for bar in bars:
            bar.close()
    print(f"{path} is there and verified")


def _list(options: argparse.Namespace) -> None:
    print("official EfficientSAM weights")
    for name in OFFICIAL:
        print(f"  {name:20s} {_state(name, options.folder)}")
    print("bundles that came with the package")
    for name in bundled_models():
        info = load_bundle(name).info
        print(f"  {name:20s} {info.preset}, {info.image_size} x {info.image_size}, verified")


def _state(name: str, folder: Path) -> str:
    official = OFFICIAL[name]
    path = folder / official.file_name
    partial = folder / f"{official.file_name}.part"
    if path.exists():
        is_genuine = git_blob_id(path) == official.blob_id
        words = "verified" if is_genuine else "NOT the published file; delete it and fetch again"
        return f"{checkpoint_path(name, folder)}, {words}"
    if partial.exists():
        return f"fetched in part ({partial.stat().st_size / 1e6:.1f} MB)"
    return f"not there; run: python -m sameo_model.checkpoints fetch {name}"


def _show(options: argparse.Namespace) -> None:
    from sameo_model.modeling.checkpoint import describe, load_checkpoint

    model = load_checkpoint(options.model)
    for key, value in describe(model).items():
        print(f"{key:24s} {value}")
    for part, module in model.named_children():
        millions = sum(value.numel() for value in module.parameters()) / 1e6
        print(f"{part:24s} {millions:.2f} million parameters")


if __name__ == "__main__":
    sys.exit(main())
