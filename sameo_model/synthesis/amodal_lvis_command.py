"""The subcommand `synthesize amodal-lvis`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.data.arguments import whole_number
from sameo_model.data.collection import open_dataset
from sameo_model.data.index import IndexedDataset
from sameo_model.runtime.bundle import load_bundle
from sameo_model.synthesis.amodal_lvis import VERSION, AmodalLvisSettings, compose_shard
from sameo_model.synthesis.blocks import open_folder
from sameo_model.synthesis.command_line import add_command
from sameo_model.synthesis.complete_objects import NO_MODEL, default_rule, load_pool, score_objects
from sameo_model.synthesis.settings_file import load_settings

_HELP = """\
Build Amodal-LVIS from data sets of visible masks: a trained SAMEO finds complete objects, one of a
pair is pasted over the other so that it hides a wanted share of it, and each occluded image comes
with its untouched original.

examples:
  # everything on one machine
  python -m sameo_model.synthesize amodal-lvis --lvis LVIS --model BUNDLE --output DIR
  # on a cluster: first every shard of the search, then every shard of the composition
  python -m sameo_model.synthesize amodal-lvis ... --stage complete --shard $i/64
  python -m sameo_model.synthesize amodal-lvis ... --stage compose --shard $i/64

output: DIR/complete/ (scores of the objects), DIR/shard-*/{images/,annotations.json (amodal COCO),
manifest.json, report.json}. Read it as data set `amodal_lvis`. The same seed and settings give the
same bytes, whatever --workers. An interrupted run continues when started again.
"""


def add_amodal_lvis_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    title = "occlude complete objects of LVIS"
    add = add_command(commands, "amodal-lvis", run_amodal_lvis, title=title, description=_HELP)
    number = whole_number(1)
    model = 'name or folder of a trained bundle; "none": borders and neighbours decide alone'
    annotate = "one instance per image, or the occluder as well"
    add("--lvis", type=Path, help="root of LVIS v1 with COCO's photographs")
    add("--lvis-split", help="train or val; default: both")
    add("--lvvis", type=Path, help="root of LV-VIS")
    add("--lvvis-stride", type=number, default=5, help="take every n-th frame of LV-VIS (5)")
    add("--model", required=True, help=model)
    add("--backend", default="auto", help="backend of the model (auto); on a GPU set --workers 1")
    add("--scores", type=Path, help="folder of the scores (DIR/complete)")
    add("--config", type=Path, help="YAML with further settings, as config/synthesis shows")
    add("--pairs", type=number, default=150_000, help="number of pairs over all shards (150000)")
    add("--annotate", choices=("target", "occluder"), default="target", help=annotate)
    add("--format", choices=("jpg", "png"), default="jpg", help="image files (jpg)")
    stage = "find complete objects, compose pairs of them, or both (all)"
    add("--stage", choices=("all", "complete", "compose"), default="all", help=stage)
    add("--shard", type=parse_shard, default=(0, 1), metavar="i/n", help="part to make (0/1)")


def parse_shard(text: str) -> tuple[int, int]:
    """Read "i/n" with 0 <= i < n.

    Raises:
        ArgumentTypeError: If it has another form.
    """
    try:
        index, count = (int(number) for number in text.split("/"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must look like 0/8, got {text!r}") from error
    if not 0 <= index < count:
        raise argparse.ArgumentTypeError(f"must have 0 <= i < n, got {text!r}")
    return index, count


def run_amodal_lvis(args: argparse.Namespace) -> None:
    """Run the subcommand."""
    datasets = _open_datasets(args)
    settings = replace(
        load_settings(
            args.config,
            AmodalLvisSettings(
                seed=args.seed, num_pairs=args.pairs, complete=default_rule(args.model)
            ),
            options=("seed", "num_pairs", "annotate", "image_format"),
        ),
        annotate=args.annotate,
        image_format=args.format,
    )
    if args.stage == "all" and args.shard != (0, 1):
        raise ValueError("a shard needs every other shard's complete objects; pass --stage as well")
    model = _describe_model(args.model)
    sources = [{"name": dataset.name, "num_images": len(dataset)} for dataset in datasets]
    scores = args.scores or args.output / "complete"
    limits = {key: asdict(settings.complete)[key] for key in ("min_area", "max_image_share")}
    begun = {"version": VERSION, "settings": asdict(settings), "model": model, "sources": sources}
    open_folder(args.output, begun)
    open_folder(scores, {"version": VERSION, "model": model, "sources": sources, "limits": limits})
    if args.stage in ("all", "complete"):
        score_objects(
            datasets,
            scores / "blocks",
            rule=settings.complete,
            model=args.model,
            backend=args.backend,
            workers=args.workers,
            shard=args.shard,
        )
    if args.stage in ("all", "compose"):
        _compose(args, datasets, settings, scores, {"model": model, "sources": sources})


def _compose(
    args: argparse.Namespace,
    datasets: list[IndexedDataset],
    settings: AmodalLvisSettings,
    scores: Path,
    manifest: dict[str, Any],
) -> None:
    pool = load_pool(datasets, scores / "blocks", settings.complete, settings.seed)
    pool_path = args.output / "pool.npy"
    # Every shard writes the same bytes.
    temporary = args.output / f".pool-{args.shard[0]}.npy"
    np.save(temporary, pool)
    temporary.replace(pool_path)
    print(f"{len(pool)} complete objects")
    report = compose_shard(
        datasets,
        pool_path,
        args.output,
        settings,
        shard=args.shard,
        workers=args.workers,
        manifest={**manifest, "num_complete_objects": len(pool)},
    )
    _print_report(report)


def _print_report(report: Mapping[str, Any]) -> None:
    print(f"{report['num_pairs']} pairs, {report['num_failures']} failed")
    for key in ("mean_requested_rate", "mean_measured_rate"):
        print(f"{key:20} {report[key]:.4f}")
    for key, row in report["paper"].items():
        print(f"{key:20} {row['measured']:<12.6g} paper {row['paper']}")


def _open_datasets(args: argparse.Namespace) -> list[IndexedDataset]:
    datasets = []
    options = {"workers": args.workers, "progress": True}
    if args.lvis:
        datasets.append(open_dataset("lvis", args.lvis, args.lvis_split, **options))
    if args.lvvis:
        frames = open_dataset("lvvis", args.lvvis, **options)
        datasets.append(frames.take(slice(None, None, args.lvvis_stride)))
    if not datasets:
        raise ValueError("complete objects must come from somewhere; pass --lvis or --lvvis")
    for dataset in datasets:
        _check_photographs(dataset)
    return datasets


def _check_photographs(dataset: IndexedDataset) -> None:
    """Refuse a set most of whose photographs are elsewhere; their objects would be left out."""
    rows = np.linspace(0, len(dataset) - 1, min(len(dataset), 100)).astype(int)
    paths = [dataset[row].path for row in rows.tolist()]
    missing = [path for path in paths if not path.is_file()]
    if 2 * len(missing) > len(paths):
        raise FileNotFoundError(
            f"photographs of {dataset.name} must lie where its layout says, but {len(missing)} of "
            f"{len(paths)} do not (first: {missing[0]}); check --{dataset.name}"
        )


def _describe_model(model: str) -> dict[str, Any]:
    if model == NO_MODEL:
        return {"name": NO_MODEL}
    info = load_bundle(model).info
    return {"name": info.name, "files": dict(info.files)}
