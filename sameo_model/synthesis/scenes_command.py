"""The command `synthesize scenes`: from parsed arguments to a finished set."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sameo_model.runtime.wording import counted
from sameo_model.synthesis.arrangements import ALL_ARRANGEMENTS
from sameo_model.synthesis.contact_sheet import write_contact_sheet
from sameo_model.synthesis.generation import generate_scenes, open_output
from sameo_model.synthesis.mesh_discovery import Discovery, find_objects
from sameo_model.synthesis.mesh_library import (
    READER_VERSION,
    MeshLibrary,
    describe_reports,
    find_unit,
    open_library,
    prepare_objects,
)
from sameo_model.synthesis.mesh_making import Sizing
from sameo_model.synthesis.photographs import find_photographs
from sameo_model.synthesis.ready_objects import OWN
from sameo_model.synthesis.records import merge_records
from sameo_model.synthesis.scenes import SceneConfig, SceneFactory
from sameo_model.synthesis.settings_file import parse_size
from sameo_model.synthesis.sources import PROCEDURAL, SceneMaterials

DISTRACTORS = 0.2


def make_set(args: argparse.Namespace) -> None:
    """Make the set that the arguments of `synthesize scenes` describe.

    Raises:
        ValueError: If an argument is wrong or no object can be used.
        FileNotFoundError: If a folder or package is missing.
        RuntimeError: If rendering does not work or no scene could be made.
    """
    mesh_roots, own = split_meshes(args.meshes)
    config = _config(args, own)
    discovery = None if own is None else find_objects(own)
    sources = SceneMaterials(
        mesh_roots=mesh_roots,
        photographs=None if args.photographs is None else find_photographs(args.photographs),
    )
    SceneFactory(config, sources)  # says at once what is missing
    mesh_settings: Mapping[str, Any] = {}
    if discovery is not None:
        mesh_settings = {
            "meshes": discovery.digest,
            "mesh_size_m": list(args.mesh_size),
            "mesh_reader": READER_VERSION,
            **({} if args.unit is None else {"unit": args.unit}),
        }
    open_output(args.output, config, sources, mesh_settings)
    if discovery is not None:
        library = _prepare(args, discovery)
        sources = replace(sources, library=library)
    _render(args, config, sources)


def parse_shares(text: str, option: str) -> dict[str, float]:
    """Read "a=0.7,b=0.3" or "a,b" (equal shares).

    Raises:
        ValueError: If a share is not a finite number or a name occurs twice.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        if name in shares:
            raise ValueError(f"{option} must name each once, got '{name}' twice")
        try:
            shares[name] = float(share) if share else 1.0
        except ValueError:
            shares[name] = math.nan
        if not math.isfinite(shares[name]):
            raise ValueError(f"{option} must look like a=0.7,b=0.3, got '{part}'")
    return shares


def split_meshes(values: list[str]) -> tuple[dict[str, Path], Path | None]:
    """Read "family=folder" pairs and at most one folder of the user's own objects.

    Raises:
        ValueError: If there are two such folders.
    """
    own = [Path(value) for value in values if "=" not in value or Path(value).is_dir()]
    if len(own) > 1:
        raise ValueError(
            f"--meshes must name one folder of your own objects, got {own[0]} and {own[1]}; put "
            f"both into one folder (links will do)"
        )
    pairs = [value.split("=", 1) for value in values if Path(value) not in own]
    return {family: Path(folder) for family, folder in pairs}, (own[0] if own else None)


def _config(args: argparse.Namespace, own: Path | None) -> SceneConfig:
    if not 0 < args.mesh_size[0] < args.mesh_size[1] <= 2:
        raise ValueError(
            f"--mesh-size must be 0 < MIN < MAX <= 2 (metres), got {args.mesh_size[0]:g} "
            f"{args.mesh_size[1]:g}"
        )
    families = args.families or (PROCEDURAL if own is None else OWN)
    shares = parse_shares(families, "--families")
    if (OWN in shares) != (own is not None):
        raise ValueError(
            f"family '{OWN}' and --meshes DIR go together, got families {families} and "
            f"{'no folder' if own is None else own}; add or leave out both"
        )
    is_own = own is not None
    if args.unit is not None and not is_own:
        raise ValueError(
            f"--unit is that of your own objects, got {args.unit} without them; add --meshes DIR"
        )
    arrangements = None
    if args.arrangements == "all" or (is_own and args.arrangements is None):
        arrangements = ALL_ARRANGEMENTS
    elif args.arrangements is not None:
        arrangements = parse_shares(args.arrangements, "--arrangements")
    distractors = args.distractors
    if distractors is None and is_own:
        distractors = DISTRACTORS
    return SceneConfig(
        seed=args.seed,
        families=shares,
        views=args.views,
        image_hw=parse_size(args.image_size),
        arrangements=arrangements,
        distractors=distractors or None,
        is_balanced=(is_own if args.balance is None else args.balance) or None,
        has_depth_noise=args.depth_noise or None,
    )


def _prepare(args: argparse.Namespace, discovery: Discovery) -> MeshLibrary:
    low, high = args.mesh_size
    unit = args.unit or find_unit(args.output, discovery, (low, high), args.workers)
    sizing = Sizing((low, high), unit, is_given=args.unit is not None)
    reports = []
    ready = prepare_objects(args.output, discovery, sizing, args.workers)
    for report in tqdm(ready, total=len(discovery.objects), unit="object", desc="objects"):
        reports.append(report)
    for line in describe_reports(reports, discovery.left_out, unit):
        print(line)
    return open_library(args.output, discovery, reports, unit)


def _render(args: argparse.Namespace, config: SceneConfig, sources: SceneMaterials) -> None:
    records = generate_scenes(args.output, config, args.scenes, args.workers, sources)
    failures: Counter[str] = Counter()
    done = len(list((args.output / "records").glob("[0-9]*.json")))
    with tqdm(
        total=args.scenes, initial=min(done, args.scenes), unit="scene", desc="scenes"
    ) as bar:
        for record in records:
            failures.update(record["failures"])
            bar.set_postfix(retries=sum(failures.values()))
            bar.update()
    counts = merge_records(args.output, args.scenes)
    sheet = write_contact_sheet(args.output)
    share = counts["occluded"] / max(counts["annotations"], 1)
    if failures:
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(failures.items()))
        print(f"discarded and made again: {causes}")
    print(
        f"{counted(counts['scenes'], 'scene')}, {counted(counts['images'], 'image')}, "
        f"{counted(counts['annotations'], 'instance')}, {share:.0%} of them occluded; "
        f"look at {sheet}"
    )
