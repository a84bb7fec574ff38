r"""How fast everything is on this machine, as one table in Markdown and JSON.

    python -m benchmarks.speed                            # four minutes on two idle cores
    python -m benchmarks.speed --output results/mine      # instead of benchmarks/results
    python -m benchmarks.speed --compare before.json      # measure, and say what changed
    python -m benchmarks.speed --quick                    # does it run? its numbers mean nothing

Contestants take turns, call by call; those of the release before run its own bundle. The ratio
of a row says how many times faster it is than the same weights in PyTorch, eager float32, written
as the reference writes the network; for windows, which the reference lacks, in our own modules.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import whole
from benchmarks.contestants import (
    RUNTIMES,
    contestant_names,
    load_scene,
    open_contestant,
    scatter_boxes,
)
from benchmarks.measure import (
    BASELINE,
    Measurement,
    alternate,
    comparison_table,
    conditions,
    read_rows,
    write_results,
)
from benchmarks.previous_release import RELEASE, write_previous_release
from sameo_model.runtime import Predictor
from sameo_model.runtime.boxes import scale_boxes
from sameo_model.runtime.bundle import find_bundle, load_bundle
from sameo_model.runtime.postprocess import logits_to_crops
from sameo_model.runtime.preprocess import resize_image
from sameo_model.runtime.types import FloatArray, Uint8Array

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
VITT = "efficient_sam_vitt"
SECTIONS = ("models", "post-processing", "node", "processes", "data")
NOTES = (
    "Contestants took turns call by call; the node's and the processes' rows came one after "
    "the other.",
    f"{VITT} has random weights: its speed is that of the official ones, but its masks are noise, "
    "and the post-processing of them inside `predict` takes longer than that of real masks.",
    "f32 rows use neither AMX nor bf16 units: they are what a processor without these gives, "
    "apart from its vector width.",
    "`predict` and node: 640 x 480 image, boxes of about 100 x 100 pixels, 10 for the node.",
)


def measure(model: Path, sections: Sequence[str], *, quick: bool) -> Iterator[list[Measurement]]:
    """Run the sections that were asked for; ``model`` is the bundle of `sameo_lite`.

    Yields:
        The rows of one part after the other, so that an interrupted run leaves results.
    """
    budget_s = 0.0 if quick else 1.0
    if "node" in sections:
        yield whole.measure_node(model, num_frames=2 if quick else 30)
    if "post-processing" in sections:
        yield _measure_postprocessing(budget_s)
    previous = _previous_release() if {"processes", "models"} & set(sections) else None
    if "processes" in sections:
        names = contestant_names(model)[-1:] if quick else contestant_names(model)
        yield whole.measure_processes(model, names)
        if previous is not None:
            yield whole.measure_processes(previous, [name for name in names if name in RUNTIMES])
    if "data" in sections:
        yield whole.measure_data_and_training(quick=quick)
    if "models" in sections:
        yield from _measure_model(model, previous, budget_s, quick=quick)
        for image_size in () if quick else (512, 1024):
            yield from _measure_model(_vitt_bundle(image_size), None, budget_s, quick=quick)


def _previous_release() -> Path | None:
    try:
        return write_previous_release(RESULTS / "bundles" / "sameo_lite_0.1")
    except RuntimeError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return None


def _vitt_bundle(image_size: int) -> Path:
    """Export EfficientSAM with random weights, unless the same sources did so before."""
    sources = [*(ROOT / "sameo_model").glob("modeling/*.py")]
    sources += (ROOT / "sameo_model").glob("export/*.py")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()
    folder = RESULTS / "bundles" / f"{VITT}_{image_size}_{digest[:12]}"
    if not folder.exists():
        import torch

        from sameo_model.export.bundle import export_bundle
        from sameo_model.modeling import build_sameo

        print(f"exporting {folder.name}", file=sys.stderr)
        torch.manual_seed(0)
        export_bundle(build_sameo(VITT, image_size), folder, name=VITT)
    return folder


def _measure_model(
    folder: Path, previous: Path | None, budget_s: float, *, quick: bool
) -> Iterator[list[Measurement]]:
    info = load_bundle(folder).info
    model = f"{info.preset} {info.image_size}"
    players = {name: open_contestant(name, folder) for name in contestant_names(folder)}
    counts: tuple[int, ...] = (10,)
    if all(player.encodes_image for player in players.values()):
        yield from _measure_parts(model, players, budget_s, quick=quick)
    else:
        counts = (1, 10) if quick else (1, 10, 50)
    if previous is not None:
        players |= {
            f"{name}, {RELEASE}": open_contestant(name, previous)
            for name in players
            if name in RUNTIMES
        }
    image = load_scene()
    masks = "amodal and visible" if info.has_visible_decoder else "amodal"
    for number in counts:
        yield alternate(
            f"{model}: predict, {masks} masks of {number} box{'es' if number > 1 else ''}",
            {name: _call(_predict, player, image, number) for name, player in players.items()},
            budget_s=3 * budget_s,
            min_rounds=1 if quick else 3,
            warm_up=previous is not None and not quick,
        )
    for player in players.values():
        player.close()


def _measure_parts(
    model: str, players: dict[str, Predictor], budget_s: float, *, quick: bool
) -> Iterator[list[Measurement]]:
    """Time image encoder and decoder apart."""
    image_size = next(iter(players.values())).image_size
    squashed = resize_image(load_scene(), image_size)
    yield alternate(
        f"{model}: image encoder",
        {name: _call(player.backend.encode, squashed) for name, player in players.items()},
        budget_s=3 * budget_s,
        min_rounds=1 if quick else 3,
    )
    handles = {name: player.backend.encode(squashed) for name, player in players.items()}
    for number in (1, 10) if quick else (1, 10, 50):
        boxes = scale_boxes(scatter_boxes(number), (480, 640), image_size)
        yield alternate(
            f"{model}: amodal decoder, {number} box{'es' if number > 1 else ''}",
            {n: _call(_decode_all, player, handles[n], boxes) for n, player in players.items()},
            budget_s=2 * budget_s,
            min_rounds=1 if quick else 3,
            # Nothing is left to warm up after 10 boxes, and 50 take the reference long.
            warm_up=number <= 10 and not quick,
        )


def _call(function: Any, *arguments: Any) -> Any:
    return lambda: function(*arguments)


def _decode_all(player: Predictor, handle: Any, boxes: FloatArray) -> None:
    step = player.backend.max_boxes
    for start in range(0, len(boxes), step):
        player.backend.decode(handle, boxes[start : start + step], False)


def _predict(player: Predictor, image: Uint8Array, num_boxes: int) -> None:
    player.decode(player.encode(image), scatter_boxes(num_boxes))


def _measure_postprocessing(budget_s: float) -> list[Measurement]:
    """Ten discs of 200 pixels in an image of 1280 x 720, as 128 x 128 logits."""
    import torch
    from torch.nn import functional as F

    centres = np.random.default_rng(0).uniform((110, 110), (1170, 610), (10, 2))
    x = (np.arange(128) + 0.5) * 1280 / 128
    y = (np.arange(128) + 0.5) * 720 / 128
    distances = [np.hypot(x[None] - cx, y[:, None] - cy) for cx, cy in centres]
    logits = (10 - np.stack(distances).astype(np.float32) / 10).astype(np.float32)

    def whole_image() -> FloatArray:
        up = F.interpolate(torch.from_numpy(logits)[None], (720, 1280), mode="bilinear")
        return (up > 0).numpy()

    return alternate(
        "post-processing, 10 masks of 200 x 200 at 1280 x 720",
        {BASELINE: whole_image, "crops": lambda: logits_to_crops(logits, (720, 1280))},
        budget_s=budget_s,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", type=Path, default=RESULTS, help="folder for speed.md and speed.json")
    add("--model", help="bundle of sameo_lite; default: the bundled one")
    add("--compare", type=Path, metavar="BASE", help="an older speed.json")
    add("--new", type=Path, help="compare this one with BASE instead of measuring")
    add("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    add("--quick", action="store_true", help="one round of everything that takes no time")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, print."""
    options = _parser().parse_args(arguments)
    # Before the measuring, which may overwrite the file.
    base = read_rows(options.compare) if options.compare else None
    if base is not None and options.new:
        print("\n".join(comparison_table(base, read_rows(options.new))))
        return 0
    import torch

    settings = {
        **conditions(),
        "threads": f"each library's default; PyTorch {torch.get_num_threads()}",
        "precision": "float32 but where bf16 is named",
        "quick": options.quick,
    }
    started_s = time.perf_counter()
    rows: list[Measurement] = []
    text = ""
    for part in measure(find_bundle(options.model), options.sections, quick=options.quick):
        rows += part
        settings["measured_for_s"] = round(time.perf_counter() - started_s)
        settings["load_after"] = round(os.getloadavg()[0], 2)
        text = write_results(options.output, rows, settings, NOTES)
        print(f"{part[-1].case}: after {settings['measured_for_s']} s", file=sys.stderr)
    print(text)
    if base is not None:
        print("\n".join(comparison_table(base, rows)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
