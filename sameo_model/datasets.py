"""Command line for data sets: list, check, stats, convert, show."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from sameo_model.data.arguments import file_name, whole_number
from sameo_model.data.catalogue import CONFIG_DIR, DatasetCard, load_card
from sameo_model.data.checking import ORIENTATION, CheckReport, check_dataset
from sameo_model.data.collection import dataset_names, find_sources, open_dataset
from sameo_model.data.contact_sheet import draw_contact_sheet
from sameo_model.data.conversion import convert_dataset
from sameo_model.data.filters import Removal, apply_rules
from sameo_model.data.index import IndexedDataset
from sameo_model.data.outputs import Output, check_no_image, check_outputs
from sameo_model.data.parallel import default_workers
from sameo_model.data.statistics import (
    DatasetStatistics,
    compare_with_paper,
    compute_statistics,
    draw_histogram,
)
from sameo_model.data.types import DatasetFormatError
from sameo_model.runtime.files import write_json
from sameo_model.runtime.wording import counted

IMAGES = (".png", ".jpg", ".jpeg")
EXAMPLES = """examples:
  # what there is, how to get it, and how its folder must look
  python -m sameo_model.datasets list
  # is my copy complete? decode every image of it, too
  python -m sameo_model.datasets check cocoa data/cocoa --decode -1
  # its row of Table 1 beside the paper's
  python -m sameo_model.datasets stats cocoa data/cocoa --split val --json stats.json
  # one annotation file that `train` and `evaluate` read, in the form of amodal COCO
  python -m sameo_model.datasets convert kins data/kins --output kins.json --images-dir data/kins
  # look at it
  python -m sameo_model.datasets show amodal_coco data/mine --output sheet.png
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return 0, or 1 if a data set is broken or cannot be read."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (OSError, DatasetFormatError, ValueError, RuntimeError) as error:
        print(f"datasets: {error}", file=sys.stderr)
        return 1


def _list(arguments: argparse.Namespace) -> int:
    check_outputs(_outputs(arguments), [arguments.config_dir])
    cards = [load_card(name, arguments.config_dir) for name in dataset_names()]
    for card in cards:
        print(f"{card.name}: {card.title} ({card.type}; {' and '.join(card.modalities)} masks)")
        for title, text in _card_lines(card):
            print(f"  {title:9} {text}")
        print()
    _write_json(arguments.json, [_card_json(card) for card in cards])
    return 0


def _card_lines(card: DatasetCard) -> list[tuple[str, str]]:
    layout = card.layout.rstrip().split("\n")
    return [
        ("paper", card.paper),
        ("licence", card.licence),
        ("obtain", card.obtain),
        ("splits", ", ".join(card.splits) or "-"),
        ("layout", layout[0]),
        *[("", line) for line in layout[1:]],
    ]


def _card_json(card: DatasetCard) -> dict[str, Any]:
    keys = ("name", "title", "paper", "type", "modalities", "licence", "obtain", "layout", "splits")
    return {key: getattr(card, key) for key in keys}


def _check(arguments: argparse.Namespace) -> int:
    dataset = _open(arguments, allow_broken=True)
    num_decoded = None if arguments.decode < 0 else arguments.decode
    report = check_dataset(
        dataset, num_decoded=num_decoded, workers=arguments.workers, progress=True
    )
    _print_check(report)
    _write_json(arguments.json, report.to_json())
    return int(report.verdict == "broken")


def _print_check(report: CheckReport) -> None:
    print(
        f"{report.dataset}: {report.verdict}. "
        f"{counted(report.num_images, 'image')}, {counted(report.num_instances, 'instance')} read, "
        f"{report.num_skipped} skipped, {counted(report.num_decoded, 'image')} decoded"
    )
    for name, entry in report.defects.items():
        print(
            f"  {entry['action']:8} {entry['count']:8}  {name}: {entry['sentence']} "
            f"(e.g. {', '.join(entry['examples'])})"
        )
    for name, problem in report.problems().items():
        if problem.count:
            print(f"  broken   {problem.count:8}  {name} (e.g. {', '.join(problem.examples)})")
    if (turned := report.images_with_orientation).count:
        examples = ", ".join(turned.examples)
        print(
            f"  note     {turned.count:8}  images_with_orientation: {ORIENTATION} (e.g. {examples})"
        )
    if report.fault:
        print(f"  broken             {report.fault}")


def _stats(arguments: argparse.Namespace) -> int:
    card = load_card(arguments.name, arguments.config_dir)
    dataset, removals = _open_clean(arguments, card)
    statistics = compute_statistics(dataset)
    content: dict[str, Any] = {
        "dataset": card.name,
        "split": arguments.split,
        "type": card.type,
        **asdict(statistics),
        **_left_out(dataset, removals),
    }
    if card.table_1 is not None:
        content["paper"] = compare_with_paper(statistics, card.table_1)
    _print_stats(card, statistics, content.get("paper"))
    _print_removals(removals)
    _write_json(arguments.json, content)
    if arguments.plot:
        title = f"{card.title}: {counted(statistics.num_instances, 'instance')}"
        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
        draw_histogram(statistics.histogram, title).savefig(arguments.plot)
    return 0


def _print_stats(
    card: DatasetCard, statistics: DatasetStatistics, paper: dict[str, Any] | None
) -> None:
    print(f"{card.title} ({card.type})")
    print(f"{'':14}{'measured':>12}{'paper':>12}{'difference':>12}")
    for key in ("num_instances", "num_images", "poi", "mean_ror"):
        values = [getattr(statistics, key)]
        if paper is not None:
            values += [paper[key]["paper"], paper[key]["difference"]]
        print(f"{key:14}" + "".join(f"{_format(value):>12}" for value in values))


def _format(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if isinstance(value, float) else str(value)


def _left_out(dataset: IndexedDataset, removals: Sequence[Removal]) -> dict[str, Any]:
    return {"removed": [asdict(item) for item in removals], "defects": dataset.defects}


def _print_removals(removals: Sequence[Removal]) -> None:
    for item in removals:
        options = ", ".join(f"{key} {value}" for key, value in item.options.items())
        print(f"removed by {item.rule}{f' ({options})' if options else ''}: {item.num_removed}")


def _convert(arguments: argparse.Namespace) -> int:
    card = load_card(arguments.name, arguments.config_dir)
    dataset, removals = _open_clean(arguments, card)
    images_dir = arguments.images_dir or arguments.output.parent / "images"
    num_images, num_instances = convert_dataset(
        dataset, arguments.output, images_dir, workers=arguments.workers, progress=True
    )
    _print_removals(removals)
    print(f"wrote {counted(num_images, 'image')}, {counted(num_instances, 'instance')}")
    print(f"to {arguments.output}, file names relative to {images_dir}")
    content = {
        "dataset": card.name,
        "split": arguments.split,
        "num_images": num_images,
        "num_instances": num_instances,
        **_left_out(dataset, removals),
    }
    _write_json(arguments.json, content)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    dataset = _open(arguments, allow_broken=True)
    sheet = draw_contact_sheet(dataset, arguments.num, arguments.seed)
    _write_image(arguments.output, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    print(f"wrote {arguments.output}")
    content = {key: getattr(arguments, key) for key in ("split", "num", "seed")}
    content |= {"dataset": arguments.name, "contact_sheet": str(arguments.output)}
    _write_json(arguments.json, content)
    return 0


def _open(arguments: argparse.Namespace, *, allow_broken: bool = False) -> IndexedDataset:
    outputs = _outputs(arguments)
    sources = find_sources(arguments.name, arguments.root, arguments.split)
    files = [path for source in sources for path in source.files()]
    check_outputs(outputs, [arguments.config_dir, *files])
    dataset = open_dataset(
        arguments.name,
        arguments.root,
        arguments.split,
        allow_broken=allow_broken,
        workers=arguments.workers,
        progress=True,
    )
    check_no_image(outputs, dataset)
    return dataset


def _outputs(arguments: argparse.Namespace) -> list[Output]:
    """Return the files that a subcommand writes."""
    given = {f"--{name}": getattr(arguments, name, None) for name in ("output", "plot", "json")}
    return [(option, path) for option, path in given.items() if path is not None]


def _open_clean(
    arguments: argparse.Namespace, card: DatasetCard
) -> tuple[IndexedDataset, list[Removal]]:
    dataset = _open(arguments)
    return apply_rules(dataset, () if arguments.raw else card.quality_control)


def _write_json(path: Path | None, content: Any) -> None:
    if path is not None:
        write_json(path, content, indent=1)


def _write_image(path: Path, image_bgr: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image_bgr):
        raise ValueError(f"image {path} could not be written; is there room in its folder?")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.datasets",
        description="Check, measure, convert and show data sets of amodal masks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config-dir", type=Path, default=CONFIG_DIR, help="folder of the sets' descriptions"
    )
    common.add_argument("--json", type=Path, help="also write the result to this file")
    one = argparse.ArgumentParser(add_help=False, parents=[common])
    one.add_argument("name", metavar="NAME", choices=dataset_names(), help="see `list`")
    one.add_argument("root", metavar="ROOT", type=Path, help="folder of the original files")
    one.add_argument("--split", help="part of the set, or a+b; default: all labelled parts")
    one.add_argument(
        "--workers",
        type=whole_number(1),
        default=default_workers(),
        help="processes to work in; default: all cores",
    )
    clean = argparse.ArgumentParser(add_help=False)
    clean.add_argument("--raw", action="store_true", help="apply no quality control")

    command = commands.add_parser("list", parents=[common], help="every set and how to get it")
    command.set_defaults(run=_list)
    command = commands.add_parser(
        "check", parents=[one], help="say whether a set is sound, and what is broken"
    )
    command.add_argument(
        "--decode",
        type=whole_number(-1),
        default=200,
        metavar="N",
        help="images to decode; -1: all (default %(default)s)",
    )
    command.set_defaults(run=_check)
    command = commands.add_parser(
        "stats", parents=[one, clean], help="print a set's row of the paper's Table 1"
    )
    command.add_argument(
        "--plot",
        type=file_name(*IMAGES, ".pdf", ".svg"),
        help="chart of the occlusion distribution",
    )
    command.set_defaults(run=_stats)
    command = commands.add_parser(
        "convert", parents=[one, clean], help="write a set as amodal COCO"
    )
    command.add_argument("--output", type=Path, required=True, help="annotation file to write")
    command.add_argument(
        "--images-dir",
        type=Path,
        help="folder that file names are relative to; default: images/ beside OUTPUT",
    )
    command.set_defaults(run=_convert)
    command = commands.add_parser("show", parents=[one], help="contact sheet of random instances")
    command.add_argument(
        "--output", type=file_name(*IMAGES), required=True, help="image file to write"
    )
    command.add_argument(
        "--num", type=whole_number(1), default=12, help="number of instances (default %(default)s)"
    )
    command.add_argument("--seed", type=whole_number(0), default=0, help="chooses the instances")
    command.set_defaults(run=_show)
    return parser


if __name__ == "__main__":
    sys.exit(main())
