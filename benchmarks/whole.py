"""Whole programs: the node over DDS, fresh processes, rendering of training data, training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contestants import RUNTIMES, contestant_names, load_scene, scatter_boxes
from benchmarks.measure import Measurement
from benchmarks.own_domain import take_own_domain
from sameo_model.runtime.bundle import load_bundle

ROOT = Path(__file__).parents[1]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
WARM_UP_FRAMES = 3
NODE_MEDIANS = {
    "latency_answer_ms_p50": "median of received to published",
    "overhead_ms_p50": "median of that outside the model",
}


def measure_node(model: Path, num_frames: int) -> list[Measurement]:
    """Measure the node, the next frame sent when the answer to the last came."""
    take_own_domain()
    rows = []
    for name in contestant_names(model):
        if name not in RUNTIMES:
            continue
        starts_s = []
        for visible in (False, True):
            start_s, measured = _measure_frames(model, name, visible, num_frames)
            starts_s.append(start_s)
            rows += measured
        rows.append(Measurement.from_samples("node: start until active", name, "s", starts_s))
    return rows


def _measure_frames(
    model: Path, name: str, visible: bool, num_frames: int
) -> tuple[float, list[Measurement]]:
    """Return the seconds until a node of its own is active, and how it answers."""
    from tests.sameo_ros.node_bench import Client, boxes_for, start_node

    backend, precision = RUNTIMES[name]
    pixels, boxes = load_scene(), scatter_boxes(10).tolist()
    latencies_ms = []
    with tempfile.TemporaryDirectory() as folder:
        started_s = time.perf_counter()
        node = start_node(
            Path(folder),
            model,
            backend=backend,
            precision=precision,
            visible=visible,
            diagnostics_period_s=1.0,
        )
        client = Client()
        try:
            client.until_active()
            start_s = time.perf_counter() - started_s
            for frame in range(WARM_UP_FRAMES + num_frames):
                if frame == WARM_UP_FRAMES:
                    busy_s, started_s = processor_time_s(node.popen.pid), time.perf_counter()
                image = client.image(pixels)
                detections = boxes_for(image, *boxes)
                sent_s = time.perf_counter()
                answer = client.answer(image, detections)
                if len(answer.masks) != len(boxes):
                    raise RuntimeError(
                        f"the node must answer {len(boxes)} boxes, got {len(answer.masks)} masks"
                    )
                latencies_ms.append(1000 * (time.perf_counter() - sent_s))
            elapsed_s = time.perf_counter() - started_s
            cores = (processor_time_s(node.popen.pid) - busy_s) / elapsed_s
            values = client.values_now()
        finally:
            client.close()
            node.stop()
    case = f"node, {'amodal and visible' if visible else 'amodal'} masks of 10 boxes"
    return start_s, [
        Measurement.from_samples(
            f"{case}: sent to received", name, "ms", latencies_ms[WARM_UP_FRAMES:]
        ),
        *(
            Measurement.from_samples(f"{case}: {words}", name, "ms", [float(values[key])])
            for key, words in NODE_MEDIANS.items()
        ),
        Measurement.from_samples(f"{case}: cores busy", name, "cores", [cores]),
    ]


def processor_time_s(pid: int) -> float:
    """Return the processor time that a process has had, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def measure_processes(bundle: Path, names: Sequence[str], rounds: int = 2) -> list[Measurement]:
    """Measure start-up and peak memory of `predict` with 10 boxes, each in a fresh process."""
    figures = ("process start to loaded", "process start to first masks", "peak memory")
    units = ("s", "s", "MiB")
    samples: dict[tuple[str, str], list[float]] = {(f, name): [] for f in figures for name in names}
    for _ in range(rounds):
        for name in names:
            for figure, value in zip(figures, _watch_process(bundle, name), strict=True):
                samples[figure, name].append(value)
    info = load_bundle(bundle).info
    return [
        Measurement.from_samples(
            f"{info.preset} {info.image_size}: {figure}", name, unit, samples[figure, name]
        )
        for figure, unit in zip(figures, units, strict=True)
        for name in names
    ]


def _watch_process(bundle: Path, name: str) -> tuple[float, float, float]:
    command = [sys.executable, "-m", "benchmarks.contestants", name, str(bundle)]
    started_s = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        loaded_s = time.perf_counter() - started_s
        last_line = process.stdout.readline()
        answered_s = time.perf_counter() - started_s
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed; its message is above")
    return loaded_s, answered_s, json.loads(last_line)["peak_mib"]


def measure_data_and_training(*, quick: bool) -> list[Measurement]:
    """Render scenes with one process, then train `sameo_lite` on them."""
    num_scenes, num_steps = (2, 2) if quick else (4, 6)
    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder) / "scenes"
        rows = _measure_rendering(scenes, num_scenes)
        side = 64 if quick else 256
        everything = ["image_encoder", "prompt_encoder", "mask_decoder"]
        for parts in (everything, ["mask_decoder"]):
            output = Path(folder) / "_".join(parts)
            rows.append(_measure_training(scenes, output, parts, num_steps, side))
    return rows


def _measure_rendering(output: Path, num_scenes: int) -> list[Measurement]:
    from sameo_model.synthesis.generation import generate_scenes, open_output
    from sameo_model.synthesis.records import merge_records
    from sameo_model.synthesis.scenes import SceneConfig

    config = SceneConfig()
    open_output(output, config)
    instances_per_s, images_per_s = [], []
    finished_s = None
    for record in generate_scenes(output, config, num_scenes, workers=1):
        now_s = time.perf_counter()
        if finished_s is not None:  # the first scene's time includes the start of its process
            num_objects = sum(not one["iscrowd"] for one in record["annotations"])
            instances_per_s.append(num_objects / (now_s - finished_s))
            images_per_s.append(len(record["images"]) / (now_s - finished_s))
        finished_s = now_s
    merge_records(output, num_scenes)
    case = "synthesize scenes, one process"
    return [
        Measurement.from_samples(case, "images of 640 x 480", "1/s", images_per_s),
        Measurement.from_samples(case, "instances", "1/s", instances_per_s),
    ]


def _measure_training(
    scenes: Path, output: Path, trainable: list[str], num_steps: int, side: int
) -> Measurement:
    from sameo_model.modeling import build_sameo
    from sameo_model.training.config_loading import config_from_dict
    from sameo_model.training.run_log import METRICS_NAME
    from sameo_model.training.setup import open_sources
    from sameo_model.training.trainer import train

    config = config_from_dict(
        {
            "train": [{"root": str(scenes)}],
            "preset": "sameo_lite",
            "image_size": side,
            "trainable": trainable,
            "images_per_step": 4,
            "samples": {"boxes_per_image": 8},
            "steps": num_steps,
            "log_interval": 1,
            "checkpoint_interval": num_steps,
            "precision": "bf16-mixed",
            "workers": 1,
            "output": str(output),
        }
    )
    train(config, build_sameo("sameo_lite", side), open_sources(config.train))
    entries = [json.loads(line) for line in (output / METRICS_NAME).read_text().splitlines()]
    rates = [entry["train/instances_per_s"] for entry in entries[1:]]
    case = f"train sameo_lite {side}, bf16, 4 images of at most 8 boxes"
    parts = "decoder alone" if len(trainable) == 1 else "encoders and decoder"
    return Measurement.from_samples(case, parts, "instances/s", rates)
