r"""How fast the data layer is: opening a large index, building Amodal-LVIS.

    python -m benchmarks.data_layer index --instances 1000000
    python -m benchmarks.data_layer convert --instances 200000
    python -m benchmarks.data_layer composites --pairs 5000 --json composites.json

All fabricate their data. `composites` builds Amodal-LVIS from 640x480 JPEG photographs and says
how many composites a core makes in a second without and with decoding and encoding, how the rate
grows with workers and how memory does with the number of pictures. Wall time needs a quiet machine;
processor time is given beside it.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sameo_model.data.collection import open_dataset
from sameo_model.data.conversion import convert_dataset
from sameo_model.data.index import IndexedDataset
from sameo_model.data.parallel import default_workers
from sameo_model.data.rle import encode_mask
from sameo_model.synthesis.amodal_lvis import AmodalLvisSettings, choose_pair, compose_shard
from sameo_model.synthesis.complete_objects import (
    NO_MODEL,
    CompletenessRule,
    load_pool,
    score_objects,
)
from sameo_model.synthesis.compositing import compose, cut_out
from tests.sameo_model.synthesis.fabricate_lvis import write_lvis

# The paper's set: composites and twins.
PAPER_IMAGES = 300_000
NIGHT_CORES = 16


def measure_index(num_instances: int, folder: Path) -> dict[str, Any]:
    """Build the index of a fabricated set, then open it in a fresh process."""
    _write_instances(folder / "annotations.json", num_instances)
    environment = {**os.environ, "SAMEO_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "benchmarks.data_layer", "open", str(folder)]
    results = {}
    for title in ("build", "open"):
        output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        results[title] = json.loads(output.stdout)
    size = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
    million = 1e6 / num_instances
    return {
        "num_instances": num_instances,
        "annotations_mb": (folder / "annotations.json").stat().st_size / 1e6,
        "index_mb_per_million": size / 1e6 * million,
        **{
            f"{title}_{key}": value
            for title, item in results.items()
            for key, value in item.items()
        },
    }


def measure_open(folder: Path) -> dict[str, float]:
    """Open a set and decode masks all over it."""
    before_mb = _max_rss_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    dataset = open_dataset("amodal_coco", folder)
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    for index in np.linspace(0, len(dataset) - 1, 1000).astype(int).tolist():
        for instance in dataset[index].instances:
            instance.amodal_mask()
    return {"wall_s": wall_s, "cpu_s": cpu_s, "max_rss_mb": _max_rss_mb(), "before_mb": before_mb}


def measure_convert(num_instances: int, folder: Path) -> dict[str, Any]:
    """Convert a fabricated set with 1 and 2 workers, once its index is built."""
    _write_instances(folder / "annotations.json", num_instances)
    os.environ["SAMEO_CACHE"] = str(folder / "cache")
    dataset = open_dataset("amodal_coco", folder, workers=default_workers())
    results: dict[str, Any] = {"num_instances": num_instances}
    for workers in (1, 2):
        output = folder / f"out{workers}.json"
        spent = _measure(partial(convert_dataset, dataset, output, workers=workers))
        results[f"workers_{workers}_instances_per_s"] = num_instances / spent["wall_s"]
        results[f"workers_{workers}_rss_mb"] = _rss_mb()
    results["same_bytes"] = filecmp.cmp(folder / "out1.json", folder / "out2.json", shallow=False)
    return results


def _write_instances(path: Path, num_instances: int) -> None:
    generator = np.random.default_rng(0)
    masks = []
    for _ in range(200):
        canvas = np.zeros((480, 640), dtype=np.uint8)
        centre = generator.integers((80, 80), (560, 400)).tolist()
        axes = generator.integers(10, 80, 2).tolist()
        cv2.ellipse(canvas, centre, axes, 0, 0, 360, 1, cv2.FILLED)
        amodal = encode_mask(canvas)
        canvas[:, : centre[0] - axes[0] // 2] = 0
        masks.append([_to_text(amodal), _to_text(encode_mask(canvas))])
    per_image = 5
    with path.open("w") as file:
        file.write('{"images":[')
        for number in range(-(-num_instances // per_image)):
            entry = {"id": number + 1, "file_name": f"{number:09d}.jpg", "height": 480}
            file.write(("," if number else "") + json.dumps({**entry, "width": 640}))
        file.write('],"categories":[{"id":1,"name":"ellipse"}],"annotations":[')
        for number in range(num_instances):
            amodal_text, visible_text = masks[number % len(masks)]
            head = f'{{"id":{number + 1},"image_id":{number // per_image + 1},"category_id":1'
            file.write(("," if number else "") + head)
            file.write(f',"segmentation":{amodal_text},"visible_mask":{visible_text}}}')
        file.write("]}")


def _to_text(rle: Any) -> str:
    return json.dumps({"size": rle["size"], "counts": rle["counts"].decode()})


def measure_composites(num_pairs: int, num_photographs: int, folder: Path) -> dict[str, Any]:
    """Measure speed, scaling, memory and the control of occlusion."""
    root = write_lvis(folder / "lvis", num_photographs, hw=(480, 640), objects=5)
    datasets = [open_dataset("lvis", root)]
    rule = CompletenessRule()
    scores = folder / "scores"
    score_objects(datasets, scores, rule=rule, model=NO_MODEL, backend="", workers=1, shard=(0, 1))
    pool = load_pool(datasets, scores, rule, seed=0)
    np.save(folder / "pool.npy", pool)

    def build(name: str, pairs: int, workers: int) -> dict[str, Any]:
        settings = AmodalLvisSettings(seed=0, num_pairs=pairs)
        return compose_shard(
            datasets,
            folder / "pool.npy",
            folder / name,
            settings,
            shard=(0, 1),
            workers=workers,
            manifest={},
        )

    results: dict[str, Any] = {"compose_only": _measure_compose(datasets, pool)}
    for workers in (1, 2):
        spent = _measure(partial(build, f"scaling{workers}", num_pairs, workers))
        results[f"workers_{workers}"] = {
            "pairs_per_s": num_pairs / spent["wall_s"],
            "cpu_ms_per_pair": 1000 * spent["cpu_s"] / num_pairs,
        }
    one, two = (results[f"workers_{n}"]["pairs_per_s"] for n in (1, 2))
    results["scaling_share_of_linear"] = two / one / 2
    results["rss_mb_by_pictures"] = {}
    for pairs in (num_pairs // 10, num_pairs):
        report = build(f"memory{pairs}", pairs, 1)
        results["rss_mb_by_pictures"][2 * pairs] = _rss_mb()
    results["mean_requested_rate"] = report["mean_requested_rate"]
    results["mean_measured_rate"] = report["mean_measured_rate"]
    cpu_s = results["workers_1"]["cpu_ms_per_pair"] / 1000
    hours = PAPER_IMAGES / 2 * cpu_s / NIGHT_CORES / 3600
    results["hours_for_the_papers_set_on_16_cores"] = hours
    return results


def _measure_compose(datasets: list[IndexedDataset], pool: np.ndarray) -> dict[str, float]:
    settings = AmodalLvisSettings(seed=0, num_pairs=200)
    inputs = []
    for pair in range(settings.num_pairs):
        target, occluder, scale, generator = choose_pair(pool, pair, settings)
        images = [datasets[0][int(row["image_index"])] for row in (target, occluder)]
        masks = [
            image.instances[row["instance_index"]].visible_mask()
            for image, row in zip(images, (target, occluder), strict=True)
        ]
        cutout = cut_out(images[1].load_rgb(), masks[1])
        inputs.append((images[0].load_rgb(), masks[0], cutout, scale, generator))
    rule = settings.composite

    def run() -> None:
        for photograph, mask, cutout, scale, generator in inputs:
            compose(photograph, mask, cutout, scale, rule, generator)

    spent = _measure(run)
    return {
        "composites_per_cpu_s": len(inputs) / spent["cpu_s"],
        "composites_per_wall_s": len(inputs) / spent["wall_s"],
    }


def _measure(function: Callable[[], object]) -> dict[str, float]:
    """Return wall time and processor time of a call, its finished child processes included."""
    wall, cpu = time.perf_counter(), _cpu_s()
    function()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": _cpu_s() - cpu}


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _max_rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run one of the measurements and print its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    index = commands.add_parser("index")
    index.add_argument("--instances", type=int, default=1_000_000)
    convert = commands.add_parser("convert")
    convert.add_argument("--instances", type=int, default=200_000)
    opening = commands.add_parser("open")
    opening.add_argument("folder", type=Path)
    composites = commands.add_parser("composites")
    composites.add_argument("--pairs", type=int, default=5000)
    composites.add_argument("--photographs", type=int, default=500)
    for command in (index, convert, composites):
        command.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.command == "open":
        print(json.dumps(measure_open(arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.command == "index":
            results = measure_index(arguments.instances, Path(folder))
        elif arguments.command == "convert":
            results = measure_convert(arguments.instances, Path(folder))
        else:
            results = measure_composites(arguments.pairs, arguments.photographs, Path(folder))
    results["load_average"] = os.getloadavg()[0]
    print(json.dumps(results, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
